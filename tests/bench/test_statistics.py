"""Intervals against known truth, closed forms and other people's bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlipq.bench.statistics import LEVEL, MOST_UNITS, contrast, holm, mean_errors, paired_reduction, reduction

TRUTH = 0.3


def simulated(rng, *, seeds=5, structures=400, by_seed=0.05, by_structure=0.8, by_both=0.6, truth=TRUTH, per_unit=1):
    """Log-normal errors of two modes, ``(seeds, 2, structures)``, whose expectations are as 1 to 1 − truth."""
    shape = (seeds, 2, structures)
    units = structures // per_unit
    common = np.repeat(rng.standard_normal(units), per_unit)
    own = np.repeat(rng.standard_normal((2, units)), per_unit, axis=1)
    logs = by_structure * (common + 0.5 * own)
    logs = logs + by_seed * (rng.standard_normal((seeds, 1, 1)) + rng.standard_normal((seeds, 2, 1))) / np.sqrt(2)
    logs = logs + by_both * rng.standard_normal(shape)
    return np.exp(logs + np.log([1.0, 1 - truth])[None, :, None])


def coverage(times, units=None, seed=0, **how) -> tuple[float, float]:
    """How often the interval holds the truth, and how often equality is refused at 5 %."""
    rng = np.random.default_rng(seed)
    found = [
        paired_reduction(errors[:, 0], errors[:, 1], units) for errors in (simulated(rng, **how) for _ in range(times))
    ]
    truth = how.get("truth", TRUTH)
    covered = np.mean([e.low <= truth <= e.high for e in found])
    return float(covered), float(np.mean([e.p < 1 - LEVEL for e in found]))


SUITES = {
    "mostly structures": {"by_seed": 0.02, "by_structure": 1.0, "by_both": 0.8},
    "structures and seeds": {"by_seed": 0.08, "by_structure": 1.0, "by_both": 0.8},
    "mostly seeds": {"by_seed": 0.25, "by_structure": 0.7, "by_both": 0.5},
    "three seeds": {"seeds": 3, "by_seed": 0.08},
    "ten seeds": {"seeds": 10, "by_seed": 0.08},
}


@pytest.mark.parametrize("name", ["structures and seeds", "mostly seeds"])
def test_intervals_cover_the_truth(name):
    covered, _ = coverage(120, structures=150, **{**SUITES[name], "by_structure": 0.7})
    assert 0.89 <= covered <= 0.995  # 95 % of 120 is 114 ± 2.4


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_intervals_cover_the_truth_in_a_thousand_suites(name):
    covered, _ = coverage(1000, **SUITES[name])
    print(f"{name}: {covered:.1%}")
    assert 0.93 <= covered <= 0.985


@pytest.mark.slow
def test_equal_modes_are_told_apart_as_often_as_the_level_says():
    _, refused = coverage(1000, truth=0.0)
    print(f"refused: {refused:.1%}")
    assert 0.03 <= refused <= 0.07


def test_structures_that_belong_together_are_drawn_together():
    units = np.arange(200) // 4
    how = {"structures": 200, "per_unit": 4, "by_both": 0.3, "by_seed": 0.02}
    together, _ = coverage(120, units, **how)
    alone, _ = coverage(120, **how)
    assert together > 0.88 > alone  # four of a kind counted as four: far too sure


def test_the_part_of_the_structures_is_that_of_scipys_bootstrap():
    rng = np.random.default_rng(1)
    one = simulated(rng, seeds=1)[0]
    ours = paired_reduction(*(np.repeat(one[k][None], 5, axis=0) for k in (0, 1)))  # five seeds that do not differ
    theirs = stats.bootstrap(
        (one[0], one[1]),
        lambda a, b, axis=-1: np.log(b.mean(axis) / a.mean(axis)),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=2,
    )
    low, high = -np.expm1([theirs.confidence_interval.high, theirs.confidence_interval.low])
    assert [ours.low, ours.high] == pytest.approx([low, high], abs=0.15 * (high - low))


def test_the_part_of_the_seeds_is_students_t():
    rng = np.random.default_rng(3)
    factors = np.exp(0.1 * rng.standard_normal(6))
    a = np.full((6, 50), 2.0)
    found = paired_reduction(a, a * factors[:, None])  # all structures alike: seeds alone differ
    mean, error = factors.mean(), stats.sem(factors)
    expected = 1 - np.exp(np.log(mean) + stats.t.interval(LEVEL, 5, scale=error / mean))
    assert found.value == pytest.approx(1 - mean)
    assert [found.high, found.low] == pytest.approx(expected, abs=2e-3)
    assert found.p == pytest.approx(stats.ttest_1samp(factors, 1.0).pvalue, abs=0.02)


def test_few_structures_are_students_t_too():
    rng = np.random.default_rng(8)
    a = np.exp(0.3 * rng.standard_normal(5))
    found = paired_reduction(np.full((5, 5), 2.0), np.tile(2 * a, (5, 1)))  # seeds alike: five structures alone differ
    half = stats.t.ppf((1 + LEVEL) / 2, 4) * stats.sem(a) / a.mean()
    assert np.log((1 - found.low) / (1 - found.high)) == pytest.approx(2 * half, rel=0.12)


def test_one_seed_gives_no_interval_and_equal_errors_no_difference():
    errors = simulated(np.random.default_rng(0))
    one = paired_reduction(errors[:1, 0], errors[:1, 1])
    assert (one.low, one.high, one.p) == (None, None, None)
    alone = paired_reduction(errors[:, 0], errors[:, 1], np.zeros(errors.shape[2]))  # all of one group
    assert (alone.low, alone.high, alone.p) == (None, None, None) and alone.value > 0
    same = paired_reduction(errors[:, 0], errors[:, 0])
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_pairing_is_what_makes_it_sharp():
    rng = np.random.default_rng(5)
    errors = simulated(rng, by_seed=0.02, by_both=0.1)
    paired = paired_reduction(errors[:, 0], errors[:, 1])
    unpaired = paired_reduction(errors[:, 0], rng.permuted(errors[:, 1], axis=1))
    assert paired.high - paired.low < 0.7 * (unpaired.high - unpaired.low)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(2, 30), st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_units_of_errors_and_orders_make_no_difference(seeds, structures, scale, random):
    rng = np.random.default_rng(random.randrange(1000))
    a, b = rng.lognormal(size=(2, seeds, structures))
    signs = rng.choice([-1, 1], (seeds, structures))
    whole, scaled = paired_reduction(a, b), paired_reduction(scale * a * signs, scale * b)
    order = rng.permutation(seeds)
    shuffled = paired_reduction(a[order], b[order])
    for other in (scaled, shuffled):
        assert [whole.value, whole.low, whole.p] == pytest.approx([other.value, other.low, other.p], rel=1e-9, abs=1e-9)
    back = paired_reduction(b, a)
    assert (1 - whole.value) * (1 - back.value) == pytest.approx(1)
    assert (1 - whole.low) * (1 - back.high) == pytest.approx(1)
    assert (whole.p < 1 - LEVEL) == (not whole.low <= 0 <= whole.high)


def test_more_units_than_are_resampled_one_by_one_give_the_same_interval():
    errors = simulated(np.random.default_rng(7), structures=2 * MOST_UNITS)
    found = paired_reduction(errors[:, 0], errors[:, 1])
    means = errors.mean(axis=0)  # the closed form, by the delta method; seeds hardly count here
    influence = means[1] / means[1].mean() - means[0] / means[0].mean()
    by_structures = influence.std() / np.sqrt(2 * MOST_UNITS)
    assert np.log((1 - found.low) / (1 - found.high)) >= 2 * 1.9 * by_structures
    units = np.arange(2 * MOST_UNITS) // 2
    assert paired_reduction(errors[:, 0], errors[:, 1], units).value == pytest.approx(found.value)


def test_parts_of_the_structures_are_compared_by_themselves():
    errors = simulated(np.random.default_rng(9), structures=300)
    errors[:, 1, :100] *= 2
    inside = np.arange(300) < 100
    parts = [np.where(members, errors[:, k], np.nan) for members in (inside, ~inside) for k in (0, 1)]
    found = mean_errors(np.stack(parts, axis=1))
    alone = paired_reduction(errors[:, 0, :100], errors[:, 1, :100])
    assert reduction(found, 0, 1).value == pytest.approx(alone.value)
    change = contrast(found, first=(0, 1), last=(2, 3))
    expected = (found.all[3] / found.all[2]) / (found.all[1] / found.all[0])
    assert change.value == pytest.approx(expected)
    assert change.low < 0.5 < change.high and change.p < 0.01


@pytest.mark.parametrize(
    ("given_p", "expected"),
    [
        (
            [0.01, 0.04, 0.03, 0.005],
            [0.03, 0.06, 0.06, 0.02],
        ),  # by hand: 4·0.005, 3·0.01, 2·0.03, and never less than before
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(given_p, expected):
    assert holm(given_p) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_refuses_what_its_step_down_procedure_refuses(p_values):
    corrected = holm(p_values)
    refused = [False] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] * (len(p_values) - place) > 0.05:
            break
        refused[index] = True
    assert [p <= 0.05 for p in corrected] == refused
