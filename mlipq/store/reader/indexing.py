"""What picks structures out of a dataset, turned into row numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = int | np.integer | slice | Sequence[int] | NDArray
"""What picks structures: a row (negative from the end), a slice, a list of rows in any order, or a mask."""


def one_row(index: object) -> list[int]:
    """Return the row that a single number picks.

    Raises
    ------
    TypeError
        If it is no whole number.
    """
    if isinstance(index, bool | np.bool_) or not isinstance(index, int | np.integer):
        raise TypeError(f"a structure is picked by a whole number, not {index!r}; for several use batch, or a column")
    return [int(index)]


def picked_rows(index: Index, n: int) -> NDArray[np.int64]:
    """Return the rows that an index picks among ``n``, none negative.

    Raises
    ------
    IndexError
        If a row is out of range, or it is no index.
    """
    if isinstance(index, slice):
        return np.arange(n)[index]
    if isinstance(index, bool | np.bool_):
        raise IndexError(f"a row, slice, list of rows or mask was expected, not {index!r}")
    picked = np.atleast_1d(np.asarray(index))
    if picked.dtype == bool and picked.shape == (n,):
        return np.flatnonzero(picked)
    if picked.size == 0:
        return np.empty(0, dtype=np.int64)
    if picked.ndim != 1 or picked.dtype.kind not in "iu":
        got = f"{picked.dtype} {picked.shape}"
        raise IndexError(f"rows should be whole numbers in one list, or a mask of {n}; not {got}")
    out = (picked < -n) | (picked >= n)
    if out.any():
        raise IndexError(f"row {picked[out][0]} is out of range: there are {n} structures")
    return np.where(picked < 0, picked + n, picked).astype(np.int64)
