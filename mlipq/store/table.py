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
        Array name to values: one row a structure, one row an atom, or ``atom_offsets`` itself. Strings are object arrays.
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
        new_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        atoms = ragged_rows(offsets[rows], counts)
        taken = {}
        for name, values in self.arrays.items():
            level = self.specs[name].level
            taken[name] = new_offsets if level == "offsets" else values[atoms if level == "atom" else rows]
        return Table(taken, dict(self.specs))


def ragged_rows(starts: NDArray, counts: NDArray) -> NDArray[np.int64]:
    """Return the concatenated index ranges ``starts[i], …, starts[i] + counts[i] - 1``."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(np.asarray(starts) - (ends - counts), counts)
