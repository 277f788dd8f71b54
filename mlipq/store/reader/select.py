"""A part of a dataset, chosen by what a few small arrays say: elements, sizes, flags, splits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlipq.store.columns import empty_table
from mlipq.store.elements import bits_of
from mlipq.store.reader.rows import Rows
from mlipq.store.splits import Parts
from mlipq.store.table import Table, offsets_from


@dataclass(frozen=True, eq=False)
class Criteria:
    """What all structures of a selection have in common; ``None`` leaves a matter open.

    Parameters
    ----------
    contains, only
        ``(2,)`` u8 bits of elements (see :mod:`mlipq.store.elements`): those that must all occur, and those besides which
        none may.
    max_atoms
        Atoms at most.
    quality
        Flags that a structure may carry.
    split
        A split, and the part of it to which a structure must belong.
    """

    contains: NDArray[np.uint64] | None = None
    only: NDArray[np.uint64] | None = None
    max_atoms: int | None = None
    quality: int | None = None
    split: tuple[Parts, str] | None = None

    @property
    def names(self) -> list[str]:
        """Arrays to read, beside ``atom_offsets``."""
        read = {
            "elements": self.contains is not None or self.only is not None,
            "quality": self.quality is not None,
            "identity": self.split is not None,
        }
        return [name for name in read if read[name]]

    def within(self, elements: Iterable[str]) -> "Criteria | None":
        """Return what is left to ask of structures that have these elements between them; ``None`` where none matches."""
        bits = bits_of(elements)
        if self.contains is not None and np.any(self.contains & ~bits):
            return None
        if self.only is not None and not np.any(self.only & bits):
            return None  # every structure has an element
        return self if self.only is None or np.any(bits & ~self.only) else replace(self, only=None)

    def mask(self, table: Table) -> NDArray[np.bool_]:
        """Return which structures of a table with the arrays :attr:`names` match."""
        match = np.ones(len(table), dtype=bool)
        if self.contains is not None:
            match &= np.all(self.contains & ~table.arrays["elements"] == 0, axis=1)
        if self.only is not None:
            match &= np.all(table.arrays["elements"] & ~self.only == 0, axis=1)
        if self.max_atoms is not None:
            match &= np.diff(table.arrays["atom_offsets"]) <= self.max_atoms
        if self.quality is not None:
            match &= (table.arrays["quality"] & np.uint32(~self.quality & 0xFFFFFFFF)) == 0
        if self.split is not None:
            parts, part = self.split
            match &= parts.of(table.arrays["identity"]) == part
        return match


def matching(rows: Rows, criteria: Criteria, elements: Sequence[Iterable[str]] | None) -> NDArray[np.int64]:
    """Return the rows that match, ascending.

    Parameters
    ----------
    rows
        Where to look; of each shard the arrays are read that decide, of one that its elements rule out, none.
    criteria
        What is asked.
    elements
        Those of each shard, where they are known.
    """
    chosen = [np.empty(0, dtype=np.int64)]
    for number, (start, stop) in enumerate(zip(rows.starts[:-1], rows.starts[1:], strict=True)):
        asked = criteria.within(elements[number]) if elements else criteria
        if asked is not None and start < stop:
            here = np.arange(start, stop)
            chosen.append(here[asked.mask(rows.take(here, asked.names))])
    return np.concatenate(chosen)


class SelectedRows(Rows):
    """Some of the structures that are kept elsewhere; those of a selection are looked up where it was made from.

    Parameters
    ----------
    parent
        Where they are kept.
    chosen
        Rows there, ascending.
    """

    parent: Rows
    chosen: NDArray[np.int64]

    def __init__(self, parent: Rows, chosen: NDArray[np.int64]) -> None:
        if isinstance(parent, SelectedRows):
            chosen = parent.chosen[chosen]
            parent = parent.parent
        super().__init__(np.diff(np.searchsorted(chosen, parent.starts)).tolist(), parent.specs)
        self.parent = parent
        self.chosen = chosen

    @property
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``, made from those of all structures."""
        return offsets_from(np.diff(self.parent.atom_offsets)[self.chosen])

    def take(self, rows: NDArray[np.int64], names: list[str]) -> Table:
        """Return these structures, from where they are kept."""
        return self.parent.take(self.chosen[rows], names)

    def table(self, number: int, names: list[str]) -> Table:
        """Return the chosen structures of one shard, which is not opened where it has none."""
        start, stop = self.starts[number : number + 2]
        if start == stop:
            return empty_table(self.specs_of(names))
        return self.parent.take(self.chosen[start:stop], names)
