"""HDF5 files with one group a molecule, whose arrays have one row a conformation: what ANI-1x and SPICE share.

A mutated HDF5 file can hang the library that reads it: compare a download with its published checksum first.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError

MAX_ARRAY_BYTES = 1 << 32
"""Of one array of one molecule: a file that says more is taken for a forged one."""


class Molecule(NamedTuple):
    """One group of the file, and how much of the file (0 to 1) comes before it and with it."""

    name: str
    group: h5py.Group
    before: float
    done: float

    def done_at(self, row: int, rows: int) -> float:
        """How much of the file is read with conformation ``row`` of ``rows``."""
        return self.before + (self.done - self.before) * (row + 1) / rows


def molecules(path: Path) -> Iterator[Molecule]:
    """Go through the groups of a file, by name."""
    with h5py.File(path, "r") as file:
        names = list(file)
        for number, name in enumerate(names):
            group = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
            if not isinstance(group, h5py.Group):
                raise InputError(f"{path}: {name!r} should be a group, one a molecule")
            yield Molecule(name, group, number / len(names), (number + 1) / len(names))


def array(group: h5py.Group, name: str, shape: tuple[int | None, ...]) -> NDArray:
    """Read an array of numbers of this shape, ``None`` standing for any length.

    Raises
    ------
    InputError
        If it is missing, lies in another file, or has another shape.
    """
    where = f"{group.file.filename}: {group.name}/{name}"
    found = group.get(name) if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if found is None:
        there = ", ".join(sorted(group)[:10]) or "nothing"
        raise InputError(f"{where} is missing; there are {there}. Is this the file's format?")
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise InputError(f"{where} should be an array in this file")
    fits = len(found.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, found.shape, strict=True))
    if not fits or found.dtype.kind not in "biuf" or found.nbytes > MAX_ARRAY_BYTES:
        words = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"{where} should hold numbers in the shape ({words}), but holds {found.dtype} {found.shape}")
    return np.asarray(found[()])


def first_text(group: h5py.Group, name: str) -> str:
    """Read the text, or the first of the texts, of this name; empty where there is none."""
    found = group.get(name) if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or not found.size:
        return ""
    value = found[()] if found.shape == () else found[(0,) * len(found.shape)]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
