"""Each mode against the baseline: errors and how much lower they are, labels saved, and what equal time gives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlipq.bench.efficiency import DataEfficiency, data_efficiency
from mlipq.bench.report.collect import Collected
from mlipq.bench.results import Result
from mlipq.bench.statistics import Estimate, holm, log_ratio, paired_reduction


@dataclass(frozen=True)
class Comparison:
    """A mode against the baseline, at one size.

    Attributes
    ----------
    mode, size
        Which.
    seeds
        Of both.
    structures
        Test structures that all these runs predict.
    mae, mae_low, mae_high
        Mean over the seeds, and the least and the largest of them.
    mae_baseline
        Mean over the same seeds and structures.
    reduction
        By what fraction ``mae`` is below ``mae_baseline``; ``None`` for the baseline itself.
    p_holm
        The p-value of the reduction, corrected for the number of modes compared at this size.
    """

    mode: str
    size: int
    seeds: list[int]
    structures: int
    mae: float
    mae_low: float
    mae_high: float
    mae_baseline: float
    reduction: Estimate | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Efficiency:
    """How many times fewer labels a mode needs than the baseline; see :class:`~mlipq.bench.efficiency.DataEfficiency`."""

    mode: str
    size: int
    seeds: list[int]
    sizes: list[int]
    found: DataEfficiency


@dataclass(frozen=True)
class EqualTime:
    """A mode given the time that the baseline's run took, pretraining included; means over the seeds.

    Attributes
    ----------
    seconds
        That time.
    baseline, mode_then, mode_end
        Least validation error of the baseline's run, of the mode's by that time (``None`` where it had none yet), and in all of its run.
    mode_seconds
        All of the mode's run.
    ratio
        Geometric mean over the seeds of ``mode_then`` over ``baseline``.
    """

    mode: str
    size: int
    seeds: list[int]
    seconds: float
    baseline: float
    mode_then: float | None
    mode_end: float
    mode_seconds: float
    ratio: float | None


def compare(suite: Collected) -> list[Comparison]:
    """Compare every mode with the baseline at every size that both have; p-values are corrected over the modes of a size."""
    comparisons: list[Comparison] = []
    for size in suite.sizes:
        found = [made for mode in suite.modes if (made := _comparison(suite, mode, size))]
        tested = [made for made in found if made.reduction is not None and made.reduction.p is not None]
        corrected = holm([made.reduction.p for made in tested if made.reduction and made.reduction.p is not None])
        p_holm = {made.mode: p for made, p in zip(tested, corrected, strict=True)}
        comparisons += [replace(made, p_holm=p_holm.get(made.mode)) for made in found]
    return comparisons


def _comparison(suite: Collected, mode: str, size: int) -> Comparison | None:
    paired = suite.paired((suite.baseline, size), (mode, size))
    if not paired:
        return None
    plain, own = (np.abs(paired.errors[:, column]).mean(axis=1) for column in (0, 1))
    return Comparison(
        mode=mode,
        size=size,
        seeds=paired.seeds,
        structures=len(paired.rows),
        mae=float(own.mean()),
        mae_low=float(own.min()),
        mae_high=float(own.max()),
        mae_baseline=float(plain.mean()),
        reduction=None
        if mode == suite.baseline
        else paired_reduction(paired.errors[:, 0], paired.errors[:, 1], paired.units),
    )


def efficiencies(suite: Collected) -> list[Efficiency]:
    """Return the data-efficiency factor of every mode at every size, on all of the mode's seeds.

    The baseline's curve is of those sizes at which it has all of these seeds.
    """
    found = []
    for mode in suite.modes:
        for size in suite.sizes if mode != suite.baseline else []:
            seeds = set(suite.seeds((mode, size)))
            sizes = [other for other in suite.sizes if seeds <= set(suite.seeds((suite.baseline, other)))]
            paired = suite.paired(*((suite.baseline, other) for other in sizes), (mode, size))
            if seeds and paired and len(sizes) > 1:
                factor = data_efficiency(sizes, paired.errors[:, :-1], paired.errors[:, -1], size, paired.units)
                found.append(Efficiency(mode, size, paired.seeds, sizes, factor))
    return found


def at_equal_time(suite: Collected) -> list[EqualTime]:
    """Read off the validation curves what each mode had reached when the baseline's run of that seed ended."""
    found = []
    for mode in suite.modes:
        for size in suite.sizes if mode != suite.baseline else []:
            seeds = suite.seeds((suite.baseline, size), (mode, size))
            pairs = list(zip(suite.runs(suite.baseline, size, seeds), suite.runs(mode, size, seeds), strict=True))
            if seeds:
                found.append(_equal_time(mode, size, seeds, pairs))
    return found


def _equal_time(mode: str, size: int, seeds: list[int], pairs: Sequence[tuple[Result, Result]]) -> EqualTime:
    plain = [_least(baseline) for baseline, _ in pairs]
    then = [_least_by(own, total_seconds(baseline)) for baseline, own in pairs]
    reached = [error for error in then if error is not None]
    complete = len(reached) == len(pairs)
    return EqualTime(
        mode=mode,
        size=size,
        seeds=seeds,
        seconds=float(np.mean([total_seconds(baseline) for baseline, _ in pairs])),
        baseline=float(np.mean(plain)),
        mode_then=float(np.mean(reached)) if complete else None,
        mode_end=float(np.mean([_least(own) for _, own in pairs])),
        mode_seconds=float(np.mean([total_seconds(own) for _, own in pairs])),
        ratio=float(np.exp(np.mean(log_ratio(np.array(reached), np.array(plain))))) if complete else None,
    )


def total_seconds(result: Result) -> float:
    """Return what a run took in all: its own training, and all of the pretraining that it started from."""
    return result.seconds + result.pretraining_seconds


def _least(result: Result) -> float:
    return min(error for _, _, error in result.curve)


def _least_by(result: Result, seconds: float) -> float | None:
    """The least validation error that a run had measured by a time, counted from the start of its pretraining."""
    seen = [error for _, at, error in result.curve if at + result.pretraining_seconds <= seconds]
    return min(seen, default=None)
