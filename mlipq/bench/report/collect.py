"""The results of one suite, made sure to be comparable, and paired by seed and by test structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.results import (
    LabelsFrom,
    Result,
    Structures,
    SuiteRecord,
    read_results,
    read_structures,
    read_suite_record,
    run_id,
)
from mlipq.errors import CheckError, IncompleteError

Column = tuple[str, int]
"""A mode at a size."""


@dataclass(frozen=True, eq=False)
class Paired:
    """Errors of some columns at the seeds that all have, on the test structures that all predict.

    Attributes
    ----------
    seeds
        Which.
    rows
        ``(structures,)`` places of the test structures.
    errors
        ``(seeds, columns, structures)``, signed.
    units
        ``(structures,)``: structures of one unit are resampled together.
    """

    seeds: list[int]
    rows: NDArray[np.int64]
    errors: NDArray[np.float64]
    units: NDArray

    def __bool__(self) -> bool:
        return bool(self.errors.size)


@dataclass(frozen=True, eq=False)
class Collected:
    """What a suite has come to so far.

    Attributes
    ----------
    folder
        Where it was read from.
    record, structures
        The suite as it was understood, and its test structures.
    results
        By mode, size and seed; at least one.
    baseline
        The mode that all others are compared with: the suite's first without xTB labels.
    """

    folder: Path
    record: SuiteRecord
    structures: Structures
    results: dict[tuple[str, int, int], Result]
    baseline: str

    @property
    def first(self) -> Result:
        """Any result, for what all have in common: dataset, target, unit."""
        return next(iter(self.results.values()))

    @cached_property
    def modes(self) -> list[str]:
        """Modes with results, in the suite's order."""
        found = {mode for mode, _, _ in self.results}
        return [*(mode for mode in self.record.modes if mode in found), *sorted(found - set(self.record.modes))]

    @cached_property
    def sizes(self) -> list[int]:
        """Sizes with results, ascending."""
        return sorted({size for _, size, _ in self.results})

    @property
    def n_test(self) -> int:
        """How many test structures there are."""
        return len(self.structures.identities)

    def labels_from(self, mode: str) -> LabelsFrom:
        """Return where a mode has its xTB labels from."""
        return next(result.labels_from for (name, _, _), result in self.results.items() if name == mode)

    def seeds(self, *columns: Column) -> list[int]:
        """Return the seeds at which all of these columns have results."""
        having = [{seed for mode, size, seed in self.results if (mode, size) == column} for column in columns]
        return sorted(set.intersection(*having))

    def runs(self, mode: str, size: int, seeds: Sequence[int]) -> list[Result]:
        """Return the results of a column at these seeds."""
        return [self.results[mode, size, seed] for seed in seeds]

    def paired(self, *columns: Column) -> Paired:
        """Return the errors of columns, paired; empty where no seed or no structure is common to all."""
        seeds = self.seeds(*columns)
        errors = np.array(
            [[self.results[mode, size, seed].errors for mode, size in columns] for seed in seeds], dtype=np.float64
        ).reshape(len(seeds), len(columns), self.n_test)
        rows = np.flatnonzero(np.isfinite(errors).all(axis=(0, 1)))
        return Paired(seeds, rows, errors[:, :, rows], self.units[rows])

    @cached_property
    def units(self) -> NDArray:
        """What the test split drew: groups, where it holds whole groups out, else structures."""
        return np.array(self.structures.group) if self.structures.groups_held_out else np.arange(self.n_test)

    @property
    def missing(self) -> list[str]:
        """Names of runs that the suite names, and that have no result yet."""
        return [
            run_id(mode, size, seed)
            for mode in self.record.modes
            for size in self.record.sizes
            for seed in self.record.seeds
            if (mode, size, seed) not in self.results
        ]


def collect(folder: Path) -> Collected:
    """Read what a suite left in its folder.

    Raises
    ------
    InputError
        If the folder holds no results, or one is damaged.
    IncompleteError
        If none is of a mode without xTB labels.
    CheckError
        If results cannot be compared: of other data, another target, another test split, or drawn otherwise at the same seed.
    """
    found = read_results(folder)
    record, structures = read_suite_record(folder), read_structures(folder)
    _refuse_incomparable(folder, found, structures)
    results = {(result.mode, result.size, result.seed): result for result in found}
    plain = {result.mode for result in found if result.labels_from == "none"}
    baseline = next((mode for mode in [*record.modes, *sorted(plain)] if mode in plain), None)
    if baseline is None:
        raise IncompleteError(
            f"{folder}: no run without xTB labels has ended yet, so there is nothing to compare with; "
            "run the suite on, with the mode energy among its modes"
        )
    return Collected(folder, record, structures, results, baseline)


_COMMON = ("dataset_sha256", "target", "unit", "level_of_theory")
"""What all results of a suite have in common."""


def _refuse_incomparable(folder: Path, results: Sequence[Result], structures: Structures) -> None:
    first, n_test = results[0], len(structures.identities)
    draws: dict[tuple[int, int], Result] = {}
    for result in results:
        for told in (len(result.errors), len(result.distance)):
            if told != n_test:
                problem = f"it tells of {told:,} test structures, structures.json of {n_test:,}"
                raise _incomparable(folder, result, problem)
        like = draws.setdefault((result.size, result.seed), result)
        pairs = [(key, getattr(result, key), getattr(first, key), first) for key in _COMMON]
        pairs.append(("test split", result.splits.get("test"), first.splits.get("test"), first))
        for part in ("train", "validation"):  # a seed draws them for all modes alike: without that nothing is paired
            pairs.append((f"{part} part", result.splits.get(part), like.splits.get(part), like))
        for what, ours, theirs, other in pairs:
            if ours != theirs:
                raise _incomparable(folder, result, f"its {what} is {ours}, that of {other.id} is {theirs}")


def _incomparable(folder: Path, result: Result, problem: str) -> CheckError:
    return CheckError(
        f"{folder}: {result.id} cannot be compared with the other runs: {problem}. "
        "Delete the results that do not belong here, then run the suite again"
    )
