"""NumPy's ``.npz``: only the arrays that are asked for, only numbers, never larger than the file says.

``numpy.load`` believes the shape in an array's header and takes the memory first; a forged file could ask for any.
"""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mlipq.errors import InputError

MAX_ARRAY_BYTES = 1 << 32
"""Of one array: an archive that unpacks to more is taken for a forged one."""

Shape = tuple[str | int, ...]
"""Shape of an array; lengths of one name are the same in all arrays."""


def read_arrays(path: Path, shapes: Mapping[str, Shape]) -> dict[str, NDArray]:
    """Read these arrays of numbers.

    Parameters
    ----------
    shapes
        Array name to what its shape must be, as ``("frames", 3)``.

    Raises
    ------
    InputError
        If an array is missing, cut off, of another shape, or no numbers.
    Exception
        Whatever :mod:`zipfile` and :mod:`zlib` raise on a file that is damaged or no such archive.
    """
    lengths: dict[str, int] = {}
    with zipfile.ZipFile(path) as archive:
        arrays = {name: _read_array(path, archive, name) for name in shapes}
    for name, shape in shapes.items():
        expected = tuple(lengths.get(length, length) if isinstance(length, str) else length for length in shape)
        found = arrays[name].shape
        if len(found) != len(shape) or any(isinstance(e, int) and e != n for e, n in zip(expected, found, strict=True)):
            words = f"({', '.join(map(str, expected))})"
            raise InputError(f"{path}: array {name} should have the shape {words}, but has {found}")
        lengths |= {length: n for length, n in zip(shape, found, strict=True) if isinstance(length, str)}
    return arrays


def _read_array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        there = ", ".join(archive.namelist()[:10]) or "nothing"
        raise InputError(f"{path}: array {name} is missing; the file holds {there}") from None
    with archive.open(member) as raw:
        file = cast(BinaryIO, raw)
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if dtype.kind not in "biuf":
            raise InputError(f"{path}: array {name} should hold numbers, but holds {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if size != member.file_size - file.tell() or size > MAX_ARRAY_BYTES:
            raise InputError(
                f"{path}: array {name} says it has {size:,} bytes, and the file holds {member.file_size - file.tell():,} "
                f"for it (at most {MAX_ARRAY_BYTES:,} are read); download the file again"
            )
        data = file.read()
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
