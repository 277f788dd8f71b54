"""Energies of elements: against NumPy's own least squares, with as much of them as the compositions determine."""

import numpy as np
import pytest
from ase.data import atomic_numbers as number_of
from hypothesis import given
from hypothesis import strategies as st

from mlipq.errors import InputError
from mlipq.training.tasks import references
from mlipq.training.tasks.references import fit_references, given_references, sum_structures

ELEMENTS = [1, 6, 7, 8, 26, 79]
structures = st.lists(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=6), min_size=1, max_size=12)


def flat(molecules):
    return np.concatenate(molecules), np.concatenate([[0], np.cumsum([len(molecule) for molecule in molecules])])


def counts_of(molecules):
    """The matrix that the fit has no need of, counted in another way."""
    return np.array([[list(molecule).count(z) for z in ELEMENTS] for molecule in molecules], dtype=float)


def formula(text):
    """Atomic numbers of ``C1 H4``."""
    return [number_of[part[0]] for part in text.split() for _ in range(int(part[1:]))]


@given(structures, st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 20_000]))
def test_the_fit_is_that_of_least_squares_and_least_norm(molecules, seed, block):
    rng = np.random.default_rng(seed)
    energies = rng.normal(0, 1e4, len(molecules))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references, "BLOCK", block)
        found = fit_references(*flat(molecules), energies)
    matrix = counts_of(molecules)
    expected, _, rank, _ = np.linalg.lstsq(matrix, energies)
    present = matrix.any(axis=0)
    assert found.rank == rank == np.linalg.matrix_rank(matrix)
    assert found.elements == tuple(np.array(ELEMENTS)[present])
    np.testing.assert_allclose(found.values[list(found.elements)], expected[present], rtol=1e-6, atol=1e-5)
    assert np.isnan(np.delete(found.values, list(found.elements))).all()
    left = energies - matrix @ expected
    assert found.residual == pytest.approx(np.sqrt(np.mean(left**2)), rel=1e-6, abs=1e-5)
    assert found.structures == len(molecules)


@given(structures, st.integers(0, 2**32 - 1))
def test_an_element_is_undetermined_where_it_can_change_without_a_sum_changing(molecules, seed):
    """Oracle: an element is determined where its unit vector is a combination of compositions."""
    found = fit_references(*flat(molecules), np.random.default_rng(seed).normal(size=len(molecules)))
    matrix = counts_of(molecules)
    rank = np.linalg.matrix_rank(matrix)
    unit = np.eye(len(ELEMENTS))
    free = [
        z
        for z, row in zip(ELEMENTS, unit, strict=True)
        if z in found.elements and np.linalg.matrix_rank(np.vstack([matrix, row])) > rank
    ]
    assert list(found.undetermined) == free
    assert bool(free) == (found.rank < len(found.elements))


def test_a_molecule_alone_leaves_its_elements_undetermined_but_not_their_sum():
    """As rMD17 does: one molecule, many conformations."""
    molecules = [formula("C2 H6 O1")] * 5
    energies = -4211.25 + np.array([0.0, 0.1, -0.1, 0.2, -0.2])
    found = fit_references(*flat(molecules), energies)
    assert (found.rank, found.undetermined) == (1, (1, 6, 8))
    np.testing.assert_allclose(found.energies(*flat(molecules)), -4211.25, rtol=1e-14)
    assert found.residual == pytest.approx(np.std(energies))


def test_an_element_of_its_own_is_determined_beside_those_that_come_together():
    molecules = [formula("C1 H4"), formula("C2 H8"), formula("C1 H4 O1")]
    found = fit_references(*flat(molecules), np.array([-10.0, -20.0, -17.0]))
    assert (found.rank, found.undetermined) == (2, (1, 6))
    assert found.values[8] == pytest.approx(-7.0, rel=1e-14)


def test_total_energies_of_heavy_elements_keep_their_digits():
    rng = np.random.default_rng(1)
    exact = rng.uniform(-1e5, -10, len(ELEMENTS))
    molecules = [rng.choice(ELEMENTS, rng.integers(1, 60)) for _ in range(300)]
    found = fit_references(*flat(molecules), counts_of(molecules) @ exact)
    np.testing.assert_allclose(found.values[ELEMENTS], exact, atol=1e-8)
    assert found.residual < 1e-6


def test_structures_without_an_energy_count_for_nothing():
    molecules = [formula("H2 O1"), formula("H2"), formula("H1 N1"), formula("C1 O2")]
    found = fit_references(*flat(molecules), np.array([-12.0, -2.0, np.nan, np.inf]))
    assert found.elements == (1, 8) and found.structures == 2
    assert found.by_symbol() == pytest.approx({"H": -1.0, "O": -10.0})
    assert np.isnan(found.energies(*flat(molecules))).tolist() == [False, False, True, True]


def test_given_energies_are_taken_as_they_are():
    molecules = [formula("H2 O1"), formula("N2")]
    energies = np.array([-12.5, np.nan])
    found = given_references({"O": -10.0, "H": -1.0, "Au": -3.0}, *flat(molecules), energies, "energy")
    assert found.by_symbol() == {"H": -1.0, "O": -10.0}
    assert (found.rank, found.undetermined, found.residual) == (2, (), 0.5)


@pytest.mark.parametrize(
    ("given_energies", "message"),
    [
        (
            {"H": -1.0},
            r"task energy: the training structures have O, whose energies are not among the references \(H\)",
        ),
        ({"H": -1.0, "Ox": -2.0}, "should be by symbol of an element, such as C, got Ox"),
    ],
)
def test_given_energies_that_do_not_do(given_energies, message):
    with pytest.raises(InputError, match=message):
        given_references(given_energies, *flat([formula("H2 O1")]), np.array([-12.0]), "energy")


@given(structures)
def test_sums_over_structures(molecules):
    numbers, offsets = flat(molecules)
    np.testing.assert_array_equal(sum_structures(numbers, offsets), [sum(molecule) for molecule in molecules])
