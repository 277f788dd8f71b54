"""A shard in memory: arrays by name, ragged by ``atom_offsets``, each with its specification."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import KNOWN_ARRAYS, ArraySpec


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
        offsets = self.arrays["atom_offsets"]
        return gather(
            np.asarray(rows, dtype=np.int64), offsets, self.specs.values(), lambda name, rows: self.arrays[name][rows]
        )

    @classmethod
    def concatenate(cls, tables: Sequence["Table"]) -> "Table":
        """Return the structures of all tables, in order; all have the same arrays, and there is at least one table."""
        arrays = {name: np.concatenate([table.arrays[name] for table in tables]) for name in tables[0].arrays}
        counts = [np.diff(table.arrays["atom_offsets"]) for table in tables]
        arrays["atom_offsets"] = offsets_from(np.concatenate(counts))
        return cls(arrays, dict(tables[0].specs))


def gather(
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    specs: Iterable[ArraySpec],
    read_rows: Callable[[str, NDArray[np.int64]], NDArray],
) -> Table:
    """Collect some structures into a table, in the order of ``rows``.

    Parameters
    ----------
    rows
        Structures, in any order.
    offsets
        ``atom_offsets`` of where they come from.
    specs
        Arrays to collect; ``atom_offsets`` of the collected structures come along in any case.
    read_rows
        Returns these rows of the array of this name.
    """
    specs = list(specs)
    starts = offsets[rows]
    counts = offsets[rows + 1] - starts
    atoms = ragged_rows(starts, counts) if any(spec.level == "atom" for spec in specs) else rows
    table = Table({"atom_offsets": offsets_from(counts)}, {"atom_offsets": KNOWN_ARRAYS["atom_offsets"]})
    for spec in specs:
        table.specs[spec.name] = spec
        if spec.level != "offsets":
            table.arrays[spec.name] = read_rows(spec.name, atoms if spec.level == "atom" else rows)
    return table


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
