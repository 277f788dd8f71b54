"""How many times fewer DFT labels: read off the learning curve of the energy-only model, inside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlipq.bench.statistics import MeanErrors, estimate, log_ratio, mean_errors

Outside = Literal["", "above", "below"]
"""Where a mode's error lies, where the curve does not reach it: above the error of the smallest size, or below that of the largest."""


@dataclass(frozen=True)
class DataEfficiency:
    """How many times more labels the energy-only model needs for the same error.

    Attributes
    ----------
    factor
        N* / N, where the energy-only model reaches with N* labels the error that the mode has with N. ``None`` where no N* that was
        measured, or lies between two that were, does.
    low, high
        Ends of the 95 % interval; ``None`` where the end lies outside the measured range, or there is no interval, as with a single seed.
    outside
        Why there is no factor. It says on which side the means lie, not how sure that is.
    limits
        The least and the largest factor that the measured sizes can show at this N.
    """

    factor: float | None
    low: float | None
    high: float | None
    outside: Outside
    limits: tuple[float, float]


def data_efficiency(
    sizes: Sequence[int],
    errors_energy: ArrayLike,
    errors_mode: ArrayLike,
    size: int,
    units: ArrayLike | None = None,
) -> DataEfficiency:
    """Return how many times fewer labels a mode needs than the energy-only model, at the error that it has with ``size`` of them.

    Between two neighbouring sizes the energy-only error follows a power law of the number of labels (a straight line on
    logarithmic axes), so an exact power law gives the exact factor. N* is the least number of labels with that error, where the
    curve goes up and down. Nothing is extrapolated: a factor, or an end of its interval, outside the measured range is not given.

    Parameters
    ----------
    sizes
        ``(K,)``, ascending, at least two.
    errors_energy
        ``(seeds, K, structures)`` errors of the energy-only model.
    errors_mode
        ``(seeds, structures)`` of the mode, paired with them.
    size
        Labels that the mode had.
    units
        As for :func:`~mlipq.bench.statistics.mean_errors`.
    """
    energy, mode = np.asarray(errors_energy, dtype=np.float64), np.asarray(errors_mode, dtype=np.float64)
    return efficiency_of(mean_errors(np.concatenate([energy, mode[:, None]], axis=1), units), sizes, size)


def efficiency_of(errors: MeanErrors, sizes: Sequence[int], size: int) -> DataEfficiency:
    """Return the factor; the columns are the energy-only model at each of ``sizes``, then the mode at ``size``."""
    numbers = np.asarray(sizes, dtype=np.float64)
    limits = (float(numbers[0] / size), float(numbers[-1] / size))
    curve, reached = errors.all[:-1], errors.all[-1]
    if reached > curve[0]:
        return DataEfficiency(None, None, None, "above", limits)
    if reached < curve.min():
        return DataEfficiency(None, None, None, "below", limits)
    found = estimate(errors, lambda maes: log_factor(numbers, maes[..., :-1], maes[..., -1]) - np.log(size))
    low, high = (_within(end, limits) for end in (found.low, found.high))
    return DataEfficiency(float(np.exp(found.value)), low, high, "", limits)


def log_factor(
    sizes: NDArray[np.float64], curve: NDArray[np.float64], reached: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ln N*, where curves first come down to an error.

    Beyond both ends it goes on along the outermost line, so that resampled values spread as they should; nobody is shown a value from there.

    Parameters
    ----------
    sizes
        ``(K,)``.
    curve
        ``(..., K)`` errors at these sizes.
    reached
        ``(...,)`` errors to reach.
    """
    descending = np.minimum.accumulate(curve, axis=-1)
    above = (descending > reached[..., None]).sum(axis=-1)  # how many sizes are not enough
    left = np.clip(above - 1, 0, len(sizes) - 2)
    upper, lower = (np.take_along_axis(descending, (left + k)[..., None], axis=-1)[..., 0] for k in (0, 1))
    fall = np.maximum(log_ratio(upper, lower), 1e-9)  # a flat piece at an end of a resampled curve: far away
    share = log_ratio(upper, reached) / fall
    logs = np.log(sizes)
    return np.asarray(logs[left] + share * (logs[left + 1] - logs[left]))


def _within(end: float | None, limits: tuple[float, float]) -> float | None:
    if end is None or not np.log(limits[0]) <= end <= np.log(limits[1]):
        return None
    return float(np.exp(end))
