"""A shard in memory: arrays by name, ragged by ``atom_offsets``, each with its specification."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import ArraySpec


@dataclass(slots=True)
class Table:
    """Structures, and whatever is known of them, as flat arrays.

    Parameters
    ----------
    arrays
        Array name to values: one row a structure, one row an atom, or ``atom_offsets`` itself. Strings are object
        arrays.
    specs
        Array name to its specification; the same keys as ``arrays``.
    """

    arrays: dict[str, NDArray] = field(default_factory=dict)
    specs: dict[str, ArraySpec] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrays["atom_offsets"]) - 1

    @property
    def n_atoms(self) -> int:
        """Atoms in all structures together."""
        return int(self.arrays["atom_offsets"][-1])

    def atoms_of(self, row: int) -> slice:
        """Rows of the atom arrays that belong to structure ``row``."""
        offsets = self.arrays["atom_offsets"]
        return slice(int(offsets[row]), int(offsets[row + 1]))

    def take(self, rows: Sequence[int] | NDArray) -> "Table":
        """Return a table with only these structures, in this order."""
        rows = np.asarray(rows, dtype=np.int64)
        offsets = self.arrays["atom_offsets"]
        counts = offsets[rows + 1] - offsets[rows]
        new_offsets = offsets_from(counts)
        atoms = ragged_rows(offsets[rows], counts)
        taken = {}
        for name, values in self.arrays.items():
            level = self.specs[name].level
            taken[name] = new_offsets if level == "offsets" else values[atoms if level == "atom" else rows]
        return Table(taken, dict(self.specs))

    @classmethod
    def concatenate(cls, tables: Sequence["Table"]) -> "Table":
        """Return the structures of all tables, in order; all have the same arrays, and there is at least one table."""
        arrays = {name: np.concatenate([table.arrays[name] for table in tables]) for name in tables[0].arrays}
        counts = [np.diff(table.arrays["atom_offsets"]) for table in tables]
        arrays["atom_offsets"] = offsets_from(np.concatenate(counts))
        return cls(arrays, dict(tables[0].specs))


def offsets_from(counts: NDArray) -> NDArray[np.int64]:
    """Return where each run of ``counts[i]`` rows starts, and after the last one where it ends: ``(n + 1,)``."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def ragged_rows(starts: NDArray, counts: NDArray) -> NDArray[np.int64]:
    """Return the concatenated index ranges ``starts[i], …, starts[i] + counts[i] - 1``."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    shifts: NDArray[np.int64] = np.repeat(np.asarray(starts) - (ends - counts), counts)
    return np.arange(total, dtype=np.int64) + shifts
