"""Controls keep what charges are like and lose what they say; Δ is a difference of energies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import TARGET, molecules
from scipy import stats

from mlipq.bench.prepared.derived import (
    CHARGES,
    CONTROL_SPECS,
    delta_spec,
    gaussian,
    shuffled,
    with_controls,
    with_delta,
)
from mlipq.store.labels import is_energy

ELEMENTS = (1, 6, 8, 16, 26)
SHELLS = {1: 1, 6: 2, 8: 2, 16: 3, 26: 3}


@pytest.fixture(scope="module")
def atoms() -> tuple[np.ndarray, np.ndarray]:
    """Charges of 20,000 atoms of five elements, shells correlated, each element in its own way."""
    rng = np.random.default_rng(7)
    numbers = rng.choice(ELEMENTS, 20_000).astype("u1")
    charges = np.zeros((len(numbers), 3), dtype="f4")
    for z in ELEMENTS:
        own, n = numbers == z, SHELLS[z]
        mixing = rng.normal(size=(n, n))
        charges[own, :n] = rng.exponential(size=(own.sum(), n)) @ mixing + rng.normal(size=n)
    return charges, numbers


@pytest.mark.parametrize("control", [shuffled, gaussian])
def test_shells_that_an_element_lacks_stay_lacking(atoms, control):
    charges, numbers = atoms
    found = control(charges, numbers)
    for z in ELEMENTS:
        assert not found[numbers == z, SHELLS[z] :].any()
    assert found.dtype == np.float32 and found[numbers == 1, 0].any()


@pytest.mark.parametrize("control", [shuffled, gaussian])
def test_the_same_seed_gives_the_same_and_another_one_another(atoms, control):
    assert control(*atoms).tobytes() == control(*atoms).tobytes()
    assert control(*atoms).tobytes() != control(*atoms, seed=1).tobytes()


@pytest.mark.parametrize("control", [shuffled, gaussian])
def test_nothing_is_left_of_what_an_atom_had(atoms, control):
    charges, numbers = atoms
    found = control(charges, numbers)
    for z in ELEMENTS:
        own = numbers == z
        for shell in range(SHELLS[z]):
            correlation = np.corrcoef(charges[own, shell], found[own, shell])[0, 1]
            assert abs(correlation) < 4 / np.sqrt(own.sum())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(ELEMENTS), st.integers(-100, 100)), max_size=20))
def test_shuffling_exchanges_whole_rows_within_an_element(rows):
    numbers = np.array([z for z, _ in rows], dtype="u1")
    charges = np.array([[q, q + 0.5, q + 0.25][: SHELLS[z]] + [0] * (3 - SHELLS[z]) for z, q in rows], dtype="f4")
    charges = charges.reshape(-1, 3)
    found = shuffled(charges, numbers)
    for z in set(numbers.tolist()):
        assert sorted(found[numbers == z].tolist()) == sorted(charges[numbers == z].tolist())


def test_random_charges_have_the_mean_and_covariance_of_each_element(atoms):
    charges, numbers = atoms
    found = gaussian(charges, numbers)
    for z in ELEMENTS:
        own, n = numbers == z, SHELLS[z]
        expected, drawn = charges[own, :n].astype("f8"), found[own, :n].astype("f8")
        covariance, count = np.cov(expected.T).reshape(n, n), own.sum()
        spread = np.sqrt(covariance.diagonal())
        assert np.all(np.abs(drawn.mean(0) - expected.mean(0)) < 4 * spread / np.sqrt(count))
        # the standard error of a covariance of normal numbers: Var(s_ij) = (s_ii s_jj + s_ij²) / n
        errors = np.sqrt((np.outer(spread, spread) ** 2 + covariance**2) / count)
        assert np.all(np.abs(np.cov(drawn.T).reshape(n, n) - covariance) < 4 * errors)


def test_random_charges_are_normal_and_those_they_stand_for_are_not(atoms):
    charges, numbers = atoms
    own = numbers == 1
    found = gaussian(charges, numbers)
    for values, normal in ((charges[own, 0], False), (found[own, 0], True)):
        scaled = (values - values.mean()) / values.std()
        assert (stats.kstest(scaled, "norm").pvalue > 1e-3) == normal


def test_a_single_atom_of_an_element_has_no_spread():
    charges, numbers = np.array([[0.3, -0.1, 0.0]], dtype="f4"), np.array([6], dtype="u1")
    assert np.allclose(gaussian(charges, numbers), charges, atol=1e-7)


def test_controls_are_the_same_however_structures_are_cut_into_tables():
    table = molecules()
    whole = {name: made.arrays[name] for made in with_controls([molecules()], table) for name in CONTROL_SPECS}
    pieces = [molecules().take(rows) for rows in np.array_split(np.arange(len(table)), 7)]
    made = list(with_controls(pieces, table))
    for name, spec in CONTROL_SPECS.items():
        assert np.array_equal(np.concatenate([one.arrays[name] for one in made]), whole[name])
        assert made[0].specs[name] == spec
    exchanged = (whole["control/shuffled_charges"] != table.arrays[CHARGES]).any(axis=1)
    assert exchanged.mean() > 0.9


def test_delta_is_target_less_gfn1_energy_and_missing_where_either_is():
    table = molecules()
    table.arrays[TARGET][3] = np.nan
    spec = table.specs[TARGET]
    (made,) = with_delta([table], spec)
    expected = table.arrays[TARGET] - table.arrays["gfn1/energy"]
    assert np.array_equal(made.arrays["delta/energy"], expected, equal_nan=True)
    assert np.isnan(expected[3]) and np.isfinite(np.delete(expected, 3)).all()
    assert is_energy(delta_spec(spec)) and delta_spec(spec).level_of_theory == "PBE0 minus GFN1-xTB"
