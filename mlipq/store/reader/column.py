"""One array of a dataset."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import ArraySpec
from mlipq.store.reader.indexing import Index, picked_rows
from mlipq.store.reader.rows import Rows


class Column:
    """One array of a dataset, indexed by structure.

    Of an array with one row a structure, ``column[i]`` is the value of structure ``i``, and a slice, list or mask gives
    ``(structures, …)``. Of an array with one row an atom, ``column[i]`` is ``(atoms of i, …)``, and a slice, list or
    mask gives the rows of these structures one after the other; :meth:`Dataset.batch` tells them apart.
    ``ds["atom_offsets"]`` is indexed as the array it is, of one row more than there are structures.
    """

    def __init__(self, rows: Rows, spec: ArraySpec) -> None:
        self.spec = spec
        self._rows = rows

    def __repr__(self) -> str:
        return f"<Column {self.spec.name}: {self.spec.level} {self.spec.dtype} {self.spec.shape} {self.spec.unit}>"

    def __len__(self) -> int:
        return len(self._rows) + (self.spec.level == "offsets")

    def __getitem__(self, index: Index) -> NDArray:
        if self.spec.level == "offsets":
            return cast(NDArray, self._rows.atom_offsets[index].copy())
        name = self.spec.name
        values = self._rows.take(picked_rows(index, len(self._rows)), [name]).arrays[name]
        one = isinstance(index, int | np.integer)
        return cast(NDArray, values[0]) if one and self.spec.level == "structure" else values
