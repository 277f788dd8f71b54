"""The data-efficiency factor: exact on power laws, silent outside what was measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipq.bench.efficiency import data_efficiency

SIZES = [100, 300, 1000, 3000]


def power_law(exponent, sizes, *, seeds=3, structures=40, seed=0):
    """Errors ``(seeds, sizes, structures)`` that fall with the number of labels, each structure with its own size of error."""
    own = np.random.default_rng(seed).lognormal(size=structures)
    law = np.array(sizes, dtype=float) ** -exponent
    return np.broadcast_to(law[None, :, None] * own, (seeds, len(sizes), structures))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 1.2), st.floats(0.4, 9.0))
def test_an_exact_power_law_gives_the_exact_factor(exponent, factor):
    energy = power_law(exponent, SIZES)
    mode = power_law(exponent, [300 * factor])[:, 0]
    found = data_efficiency(SIZES, energy, mode, 300)
    assert found.factor == pytest.approx(factor)
    assert [found.low, found.high] == pytest.approx([factor, factor])  # nothing was left to chance


def test_a_curve_of_several_slopes_is_followed_piece_by_piece():
    energy = np.array([100.0, 60.0, 20.0, 15.0])[None, :, None] * np.ones((3, 4, 10))
    found = data_efficiency(SIZES, energy, np.full((3, 10), np.sqrt(60 * 20)), 300)
    assert found.factor == pytest.approx(np.sqrt(300 * 1000) / 300)


@pytest.mark.parametrize(("factor", "outside"), [(0.3, "above"), (10.4, "below")])
def test_nothing_is_extrapolated(factor, outside):
    found = data_efficiency(SIZES, power_law(0.5, SIZES), power_law(0.5, [300 * factor])[:, 0], 300)
    assert (found.factor, found.low, found.high, found.outside) == (None, None, None, outside)
    assert found.limits == (pytest.approx(1 / 3), pytest.approx(10))


def test_an_end_of_the_interval_outside_is_not_given():
    rng = np.random.default_rng(2)
    noise = np.exp(0.1 * rng.standard_normal((5, 5, 1)))
    energy, mode = power_law(0.5, SIZES, seeds=5), power_law(0.5, [2900], seeds=5)
    found = data_efficiency(SIZES, energy * noise[:, :4], (mode * noise[:, 4:])[:, 0], 300)
    assert found.factor is None or found.high is None
    within = data_efficiency(SIZES, energy * noise[:, :4], (power_law(0.5, [900], seeds=5) * noise[:, 4:])[:, 0], 300)
    assert within.low < within.factor < within.high


def test_where_the_curve_rises_again_the_first_crossing_counts():
    energy = np.array([100.0, 40.0, 60.0, 20.0])[None, :, None] * np.ones((2, 4, 10))
    found = data_efficiency(SIZES, energy, np.full((2, 10), 50.0), 100)
    assert found.factor == pytest.approx(np.exp(np.log(3) * np.log(2) / np.log(2.5)))


def test_the_interval_covers_the_truth():
    rng, sizes, covered, times = np.random.default_rng(4), [100, 300, 1000, 3000], 0, 100
    for _ in range(times):
        logs = -0.5 * np.log([*sizes, 300 * 3.0])[None, :, None] + 0.7 * rng.standard_normal(150)
        logs = logs + 0.03 * rng.standard_normal((5, 5, 1)) + 0.2 * rng.standard_normal((5, 150))
        errors = np.exp(logs + 0.4 * rng.standard_normal((5, 5, 150)))
        found = data_efficiency(sizes, errors[:, :4], errors[:, 4], 300)
        covered += found.low <= 3.0 <= found.high
    assert 0.88 <= covered / times <= 1.0
