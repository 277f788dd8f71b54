"""Counts of values that come in pieces, in bins that widen as the values spread: flat memory, whatever comes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WHOLE = 2.0**52
"""Bin numbers stay below it, where floats still tell whole numbers apart."""


class Histogram:
    """Counts in bins of equal width, a power of two: the smallest that ``bins`` bins can cover the values with.

    The width follows from the least and the largest value alone, and every edge is a multiple of it, so the counts do not
    depend on the order or the pieces in which the values came.

    Parameters
    ----------
    bins
        How many bins there may be.
    finest
        Power of two that the width starts with; 0 is for whole numbers, and quantiles are then whole too.
    """

    def __init__(self, bins: int = 2048, finest: int = -24) -> None:
        self.power = finest
        self.whole = finest == 0
        self.first = 0
        self.counts: NDArray[np.int64] = np.zeros(bins, dtype=np.int64)
        self.total = 0
        self.minimum, self.maximum = np.inf, -np.inf

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(2.0**self.power)

    def add(self, values: NDArray) -> None:
        """Count the finite ones among more values."""
        finite = values[np.isfinite(values)].astype(np.float64)
        if not len(finite):
            return
        self.minimum, self.maximum = min(self.minimum, float(finite.min())), max(self.maximum, float(finite.max()))
        self._cover()
        numbers = np.floor(finite / self.width).astype(np.int64) - self.first
        self.counts += np.bincount(numbers, minlength=len(self.counts))
        self.total += len(finite)

    def quantile(self, share: float) -> float:
        """Return the value that this share of all lies below, to within a bin; there must be values."""
        below = np.cumsum(self.counts)
        number = int(np.searchsorted(below, share * self.total, side="left"))
        before = int(below[number - 1]) if number else 0
        whole = self.whole and self.power == 0
        inside = 0.0 if whole else (share * self.total - before) / max(int(self.counts[number]), 1)
        return float(np.clip((self.first + number + inside) * self.width, self.minimum, self.maximum))

    def spread(self) -> float:
        """Return 1.4826 times the median distance from the median: the standard deviation of a bell curve."""
        centre, edges = self.quantile(0.5), (self.first + np.arange(len(self.counts)) + 0.5) * self.width
        distances = np.abs(edges - centre)
        order = np.argsort(distances, kind="stable")
        half = int(np.searchsorted(np.cumsum(self.counts[order]), self.total / 2, side="left"))
        return 1.4826 * float(distances[order][half])

    def bars(self, low: float, high: float, most: int) -> "Bars":
        """Return the counts from ``low`` to ``high`` in at most ``most`` bars, each of whole bins."""
        start, stop = int(np.floor(low / self.width)), int(np.floor(high / self.width)) + 1
        each = -(-(stop - start) // most)
        start -= start % each
        n_bars = -(-(stop - start) // each)
        numbers = self.first + np.flatnonzero(self.counts)
        counts = self.counts[numbers - self.first]
        shown = (numbers >= start) & (numbers < start + n_bars * each)
        heights = np.bincount((numbers[shown] - start) // each, weights=counts[shown], minlength=n_bars)
        below, above = counts[numbers < start].sum(), counts[numbers >= start + n_bars * each].sum()
        return Bars(start * self.width, each * self.width, heights.astype(np.int64), int(below), int(above))

    def _cover(self) -> None:
        """Widen and move the bins so that they hold the least and the largest value."""
        power = self.power
        while max(-self.minimum, self.maximum) / 2.0**power > _WHOLE:
            power += 1
        while np.floor(self.maximum / 2.0**power) - np.floor(self.minimum / 2.0**power) >= len(self.counts):
            power += 1
        first = int(np.floor(self.minimum / 2.0**power))
        if (power, first) != (self.power, self.first):
            filled = np.flatnonzero(self.counts)
            counts = np.zeros_like(self.counts)
            np.add.at(counts, ((filled + self.first) >> (power - self.power)) - first, self.counts[filled])
            self.power, self.first, self.counts = power, first, counts


@dataclass(frozen=True)
class Bars:
    """Part of a histogram as it is drawn: bar ``i`` starts at ``start + i * width``; what lies outside is counted too."""

    start: float
    width: float
    heights: NDArray[np.int64]
    below: int
    above: int

    @property
    def stop(self) -> float:
        """Where the last bar ends."""
        return self.start + self.width * len(self.heights)
