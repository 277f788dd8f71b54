"""A dataset counted in two passes, in flat memory, and its most suspicious structures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from mlipq.hub.inspect.parts import Charges, Energy, Flags, Forces, Gap, Makeup, Part, Reason, Rungs
from mlipq.schema import ArraySpec
from mlipq.store import Dataset
from mlipq.store.labels import is_energy, is_forces
from mlipq.store.table import Table

BLOCK_ATOMS = 1 << 17
BLOCK_STRUCTURES = 1 << 13
"""Read at a time, whatever the shards hold."""

SUSPECTS = 24
"""Structures shown."""

Progress = Callable[[int, int], None]
"""Called with the number of structures read, and how many are to be read in both passes together."""


@dataclass(frozen=True)
class Suspect:
    """A structure that sticks out: its number, all that is known of it, and why."""

    row: int
    table: Table
    reasons: list[Reason]


@dataclass(frozen=True)
class Survey:
    """What the page shows of a dataset."""

    makeup: Makeup
    flags: Flags
    energies: list[Energy]
    forces: list[Forces]
    charges: list[Charges]
    gaps: list[Gap]
    rungs: list[Rungs]
    suspects: list[Suspect]


def survey_dataset(dataset: Dataset, progress: Progress = lambda done, total: None) -> Survey:
    """Count a dataset and find what sticks out in it.

    Parameters
    ----------
    dataset
        Any dataset, labelled or not, also one without structures.
    progress
        Called after each block.

    Raises
    ------
    CheckError
        If a shard is damaged.
    """
    specs = list(dataset.specs.values())
    makeup, flags = Makeup(), Flags()
    energies = [Energy(spec) for spec in specs if is_energy(spec)]
    forces = [Forces(spec) for spec in specs if is_forces(spec)]
    charges = [Charges(spec) for spec in specs if _is_charges(spec)]
    gaps = [Gap(spec) for spec in specs if spec.name == "gfn1/homo_lumo_gap"]
    rungs = [Rungs(spec) for spec in specs if spec.name == "gfn1/scf_attempt"]
    parts: list[Part] = [makeup, *energies, *forces, *charges, *gaps, flags, *rungs]
    total = 2 * len(dataset)
    for rows, table in _blocks(dataset, [name for part in parts for name in part.reads]):
        for part in parts:
            part.add(rows, table)
        progress(int(rows[-1]) + 1, total)
    again = [part for part in parts if part.reads_again]
    for rows, table in _blocks(dataset, [name for part in again for name in part.reads_again]):
        for part in again:
            part.add_again(rows, table)
        progress(len(dataset) + int(rows[-1]) + 1, total)
    return Survey(makeup, flags, energies, forces, charges, gaps, rungs, _suspects(dataset, parts))


def _is_charges(spec: ArraySpec) -> bool:
    if spec.name == "gfn1/orbital_charges":
        return True
    return spec.kind == "charges" and spec.level == "atom" and spec.shape == () and spec.dtype.startswith("f")


def _blocks(dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Table]]:
    """Yield all structures in order, so many at a time as fit into memory."""
    offsets, start = dataset.atom_offsets, 0
    wanted = list(dict.fromkeys(names))
    while start < len(dataset) and wanted:
        stop = int(np.searchsorted(offsets, offsets[start] + BLOCK_ATOMS, side="right")) - 1
        stop = min(max(stop, start + 1), start + BLOCK_STRUCTURES, len(dataset))
        yield np.arange(start, stop), dataset.take(slice(start, stop), wanted)
        start = stop


def _suspects(dataset: Dataset, parts: list[Part]) -> list[Suspect]:
    """The first by each kind of measure, then the second by each …; those with the most reasons come first."""
    by_kind: dict[str, list[Part]] = {}
    for part in parts:
        by_kind.setdefault(part.kind, []).append(part)
    kinds = list(by_kind.values())
    chosen = _in_turn([_in_turn([part.ranking.rows.tolist() for part in kind]) for kind in kinds])[:SUSPECTS]
    suspects = []
    for row in chosen:
        table = dataset.take([row])
        ranked = [[part for part in kind if row in part.ranking.rows] for kind in kinds]
        suspects.append(Suspect(row, table, [_reason(kind, table) for kind in ranked if kind]))
    return sorted(suspects, key=lambda suspect: -len(suspect.reasons))


def _in_turn(rankings: list[list[int]]) -> list[int]:
    """The first of each, then the second of each …, every row once."""
    return list(dict.fromkeys(row for place in zip_longest(*rankings) for row in place if row is not None))


def _reason(parts: list[Part], table: Table) -> Reason:
    """The reason of the first part; that others of its kind agree, a dataset with many energies, say, is said in few words."""
    reason = parts[0].reason(table)
    others = len(parts) - 1
    agree = f"; {others} more array{'s rank' if others > 1 else ' ranks'} it too" if others else ""
    return replace(reason, text=reason.text + agree)
