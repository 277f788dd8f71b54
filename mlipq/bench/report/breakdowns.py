"""Where a mode helps: its errors against the baseline's by size, element, distance from training, and errors of xTB's charges."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.report.collect import Collected
from mlipq.bench.statistics import Estimate, contrast, mean_errors, reduction

MOST_BINS = 5
LEAST_STRUCTURES = 10
"""In a bin, or with an element, for a figure of its own."""


@dataclass(frozen=True)
class Bin:
    """Some of the test structures.

    Attributes
    ----------
    label
        The element, or the range of values: ``5 to 11``.
    structures
        How many.
    """

    label: str
    structures: int


@dataclass(frozen=True)
class Cell:
    """A mode in a bin: mean absolute errors of both, and by what fraction the mode's is lower."""

    mae: float
    mae_baseline: float
    reduction: Estimate


@dataclass(frozen=True)
class Breakdown:
    """The test structures divided by one property.

    Attributes
    ----------
    kind
        ``size``, ``element``, ``distance`` or ``deviation``.
    size
        Labels that the runs had.
    bins
        Ascending; elements, the most frequent first.
    cells
        Of each mode, one a bin; ``None`` where none of its structures is predicted by both.
    trends
        Of each mode: the factor by which the ratio of errors (mode over baseline) changes from the first bin to the last; above 1, the mode
        helps less there. None for elements, nor where a mode lacks either bin.
    """

    kind: str
    size: int
    bins: list[Bin]
    cells: dict[str, list[Cell | None]]
    trends: dict[str, Estimate]

    def baseline(self, place: int) -> float | None:
        """Return the baseline's mean absolute error in a bin: at the seeds and structures of the first mode that has them."""
        return next((cell.mae_baseline for cells in self.cells.values() if (cell := cells[place]) is not None), None)


def break_down(suite: Collected, modes: Sequence[str], size: int) -> list[Breakdown]:
    """Divide the test structures in every way that they allow, and compare these modes with the baseline in each bin."""
    found = []
    for kind, (bins, members) in _divisions(suite, size).items():
        cells, trends = {}, {}
        for mode in modes:
            if suite.seeds((suite.baseline, size), (mode, size)):
                cells[mode], trend = _compare(suite, mode, size, members, ordered=kind != "element")
                if trend is not None:
                    trends[mode] = trend
        if cells:
            found.append(Breakdown(kind, size, bins, cells, trends))
    return found


def usual_size(suite: Collected) -> int:
    """Return the size at which most runs have ended, the largest of several: where modes are compared in detail."""
    counts = Counter(size for _, size, _ in suite.results)
    return max(counts, key=lambda size: (counts[size], size))


def _compare(
    suite: Collected, mode: str, size: int, members: NDArray[np.bool_], ordered: bool
) -> tuple[list[Cell | None], Estimate | None]:
    """A mode's cells, and, of bins in order, its trend."""
    paired = suite.paired((suite.baseline, size), (mode, size))
    inside = members[:, paired.rows]
    filled = np.flatnonzero(inside.any(axis=1))
    if not len(filled):
        return [None] * len(members), None
    # two columns a bin, the baseline's and the mode's; elsewhere NaN
    columns = [np.where(inside[place], paired.errors[:, k], np.nan) for place in filled for k in (0, 1)]
    errors = mean_errors(np.stack(columns, axis=1), paired.units)
    cells: list[Cell | None] = [None] * len(members)
    for place, plain in zip(filled.tolist(), range(0, len(columns), 2), strict=True):
        maes = errors.all[plain : plain + 2].tolist()
        cells[place] = Cell(maes[1], maes[0], reduction(errors, plain, plain + 1))
    if not ordered or cells[0] is None or cells[-1] is None:
        return cells, None
    return cells, contrast(errors, first=(0, 1), last=(len(columns) - 2, len(columns) - 1))


def _divisions(suite: Collected, size: int) -> dict[str, tuple[list[Bin], NDArray[np.bool_]]]:
    """Bins, and which structures are in each: ``(bins, structures)``."""
    structures = suite.structures
    runs = suite.runs(suite.baseline, size, suite.seeds((suite.baseline, size)))
    values = {
        "size": np.array(structures.n_atoms, dtype=np.float64),
        "distance": np.mean([run.distance for run in runs], axis=0) if runs else np.array([]),
        "deviation": np.array(structures.charge_deviation, dtype=np.float64),
    }
    divisions = {kind: _by_value(numbers) for kind, numbers in values.items() if len(numbers)}
    divisions["element"] = _by_element(structures.elements)
    return {kind: found for kind, found in divisions.items() if len(found[0]) > 1}


def _by_value(values: NDArray[np.float64]) -> tuple[list[Bin], NDArray[np.bool_]]:
    """Up to five bins of about equally many structures, none of fewer than ten; those without a value are in none."""
    known = np.sort(values[np.isfinite(values)])
    n_bins = min(MOST_BINS, len(known) // LEAST_STRUCTURES)
    if n_bins < 2:
        return [], np.zeros((0, len(values)), dtype=bool)
    inner = np.unique(np.quantile(known, np.linspace(0, 1, n_bins + 1)[1:-1], method="inverted_cdf"))
    edges = _wide_enough(known, inner)
    place = np.searchsorted(edges, values, side="left")  # a bin takes in its upper edge
    members = np.array([(place == one) & np.isfinite(values) for one in range(len(edges) + 1)])
    return [Bin(_range(values[chosen]), int(chosen.sum())) for chosen in members], members


def _wide_enough(known: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of the edges that leave enough structures in each bin: where many values are equal, some have hardly any."""
    edges, below = [], 0
    for edge, count in zip(inner, np.searchsorted(known, inner, side="right").tolist(), strict=True):
        if count - below >= LEAST_STRUCTURES and len(known) - count >= LEAST_STRUCTURES:
            edges.append(edge)
            below = count
    return np.array(edges)


def _by_element(elements: Sequence[Sequence[str]]) -> tuple[list[Bin], NDArray[np.bool_]]:
    counts = Counter(symbol for of_one in elements for symbol in set(of_one))
    symbols = [symbol for symbol, count in counts.most_common() if count >= LEAST_STRUCTURES]
    members = np.array([[symbol in of_one for of_one in elements] for symbol in symbols], dtype=bool)
    return [Bin(symbol, counts[symbol]) for symbol in symbols], members


def _range(values: NDArray[np.float64]) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"
