"""The linear part of an energy, against ridge regression written out, and against structures really left out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipq.training.models.layers import N_ELEMENTS
from mlipq.training.tasks import readout
from mlipq.training.tasks.readout import PENALTIES, fit_readout

ELEMENTS = (1, 6, 8)


def molecules(seed: int, n: int = 40, channels: int = 6, noise: float = 0.05):
    """Features, numbers, offsets and energies of molecules whose energies are linear but for some noise."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 12, n))])
    numbers = rng.choice(ELEMENTS, offsets[-1])
    features = rng.normal(size=(offsets[-1], channels)) * rng.uniform(0.1, 10, channels)
    weights = np.zeros((N_ELEMENTS, channels))
    weights[list(ELEMENTS)] = rng.normal(size=(3, channels)) / features.std(axis=0)
    atoms = (features * weights[numbers]).sum(axis=1) + numbers * 10.0
    return features, numbers, offsets, np.add.reduceat(atoms, offsets[:-1]) + noise * rng.normal(size=n)


def columns(features, numbers, offsets):
    """Sums of features by element, and counts of elements: loops, not what is tested."""
    sums = [
        np.concatenate([features[a:b][numbers[a:b] == z].sum(axis=0) for z in ELEMENTS])
        for a, b in itertools.pairwise(offsets)
    ]
    counts = [[(numbers[a:b] == z).sum() for z in ELEMENTS] for a, b in itertools.pairwise(offsets)]
    return np.array(sums), np.array(counts, dtype=float)


def solved(sums, counts, energies, penalty, spread):
    """Ridge regression by its normal equations; the last columns are free."""
    x = np.hstack([sums / spread, counts])
    penalties = np.diag([penalty] * sums.shape[1] + [0.0] * counts.shape[1])
    return np.linalg.solve(x.T @ x + penalties, x.T @ energies)


def test_the_penalty_is_the_one_that_predicts_structures_left_out_best():
    features, numbers, offsets, energies = molecules(seed=1, n=24, noise=0.5)
    sums, counts = columns(features, numbers, offsets)
    spread = sums.std(axis=0)
    errors = []
    for penalty in PENALTIES:
        left_out = []
        for k in range(len(energies)):
            others = np.arange(len(energies)) != k
            w = solved(sums[others], counts[others], energies[others], penalty, spread)
            left_out.append(abs(np.hstack([sums[k] / spread, counts[k]]) @ w - energies[k]))
        errors.append(np.mean(left_out))
    best = PENALTIES[int(np.argmin(errors))]
    expected = (solved(sums, counts, energies, best, spread)[: sums.shape[1]] / spread).reshape(3, -1)
    assert fit_readout(features, numbers, offsets, energies)[list(ELEMENTS)] == pytest.approx(expected, rel=1e-6)


def test_what_is_linear_is_found():
    features, numbers, offsets, energies = molecules(seed=2, n=200, noise=0.0)
    weights = fit_readout(features, numbers, offsets, energies)
    atoms = (features * weights[numbers]).sum(axis=1)
    left = energies - np.add.reduceat(atoms, offsets[:-1])
    counts = columns(features, numbers, offsets)[1]
    left -= counts @ np.linalg.lstsq(counts, left, rcond=None)[0]
    assert np.abs(left).mean() < 0.01 * np.abs(energies - energies.mean()).mean()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_elements_without_an_energy_have_no_weights_and_no_number_is_ever_bad(seed, n):
    """Of very few structures too, of which each has a composition of its own."""
    features, numbers, offsets, energies = molecules(seed, n=n)
    features[:, 0] = 3.0  # tells nothing
    energies[0] = np.nan
    weights = fit_readout(features, numbers, offsets, energies)
    assert weights.shape == (N_ELEMENTS, features.shape[1]) and np.isfinite(weights).all()
    seen = np.unique(numbers[offsets[1] :])
    assert not weights[np.setdiff1d(np.arange(N_ELEMENTS), seen)].any()


def test_the_order_of_atoms_does_not_matter():
    features, numbers, offsets, energies = molecules(seed=3)
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in itertools.pairwise(offsets)])
    assert fit_readout(features[order], numbers[order], offsets, energies) == pytest.approx(
        fit_readout(features, numbers, offsets, energies), rel=1e-9
    )


def test_structures_that_only_composition_fits_do_not_choose_the_penalty(monkeypatch):
    """One with an element that no other has is fitted exactly whatever the penalty; left out, it tells nothing."""
    features, numbers, offsets, energies = molecules(seed=4, noise=0.5)
    numbers[offsets[5]] = 16
    energies[5] += 1000.0
    without = np.delete(np.arange(len(energies)), 5)
    kept = np.concatenate([np.arange(offsets[k], offsets[k + 1]) for k in without])
    lengths = np.diff(offsets)[without]
    chosen = []
    real = readout._ridge
    monkeypatch.setattr(readout, "_ridge", lambda *given: chosen.append(real(*given)) or chosen[-1])
    fit_readout(features, numbers, offsets, energies)
    fit_readout(features[kept], numbers[kept], np.concatenate([[0], np.cumsum(lengths)]), energies[without])
    assert np.linalg.norm(chosen[0][: len(chosen[1])] - chosen[1]) < 0.2 * np.linalg.norm(chosen[1])
