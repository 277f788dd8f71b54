"""Frames of extended XYZ in its common form, parsed to exactly what ASE makes of them, in a fraction of the time.

Common means: a comment of ``key=value`` and ``key="value"`` pairs, columns that ``Properties`` describes, and nothing
wrong. For whatever else a frame may hold, and to say what is wrong with it, there is ASE's own parser; the tests compare
the two.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.extxyz import SPECIAL_3_3_KEYS, UNPROCESSED_KEYS, parse_properties, set_calc_and_arrays

PLAIN = "species:S:1:pos:R:3"
"""What the columns are where a comment does not say."""

_PAIR = re.compile(r"""([A-Za-z_][A-Za-z0-9_.-]*)=(?:"([^"\\]*)"|([^\s"'\\{}\[\]=]+))(?:\s+|$)""")
_BOOLEANS = {
    **dict.fromkeys(("T", "True", "true", "TRUE"), True),
    **dict.fromkeys(("F", "False", "false", "FALSE"), False),
}
_NUMBER_TYPES: tuple[tuple[Any, Any], ...] = ((np.int64, int), (np.float64, float))


class UncommonError(Exception):
    """This frame is for ASE's own parser."""


def parse_frame(lines: Sequence[str]) -> Atoms:
    """Make ASE's ``Atoms`` of one frame.

    Parameters
    ----------
    lines
        Number of atoms, comment, one line an atom.

    Raises
    ------
    UncommonError, ValueError, KeyError, OverflowError
        If the frame is not of the common form; ASE may be able to read it all the same.
    """
    info = parse_comment(lines[1])
    cell = info.pop("Lattice", None)
    pbc = info.pop("pbc", None if cell is None else [True] * 3)
    arrays = _columns(info.pop("Properties", PLAIN), lines[2:])
    symbols = arrays.pop("symbols", None)
    numbers = arrays.pop("numbers", None)
    if numbers is not None and numbers.dtype.kind != "i":  # ASE refuses them, or reads symbols
        raise UncommonError
    if numbers is None and symbols is not None:
        numbers = [_atomic_number(symbol) for symbol in symbols]
    atoms = Atoms(
        numbers=numbers,
        positions=arrays.pop("positions", None),
        charges=arrays.pop("initial_charges", None),
        cell=None if cell is None else cell.T,
        pbc=pbc,
        info=info,
    )
    set_calc_and_arrays(atoms, arrays)
    return atoms


@lru_cache(maxsize=1024)
def _atomic_number(symbol: str) -> int:
    return int(atomic_numbers[symbol.capitalize()])


def parse_comment(comment: str) -> dict[str, Any]:
    """Read the pairs of a comment into numbers, booleans, arrays of these, and text.

    Raises
    ------
    UncommonError
        If there is anything but pairs in it.
    """
    comment = comment.strip()
    fields = {}
    end = 0
    while pair := _PAIR.match(comment, end):
        key, quoted, bare = pair.groups()
        fields[key] = _value(key, bare if quoted is None else quoted)
        end = pair.end()
    if end < len(comment):
        raise UncommonError
    return fields


def _value(key: str, text: str) -> Any:
    words = text.replace(",", " ").split()
    if not words or words[0] == "_JSON" or key.lower() in UNPROCESSED_KEYS:
        raise UncommonError
    if key in SPECIAL_3_3_KEYS:
        value = _numbers(words)
        if np.shape(value) != (9,):
            raise UncommonError
        return value.reshape((3, 3), order="F")
    booleans = [_BOOLEANS.get(word) for word in words]
    if None not in booleans:
        return booleans if len(booleans) > 1 else booleans[0]
    value = _numbers(words)
    return text if value is None else value


def _numbers(words: list[str]) -> Any:
    """Return an integer or a float of NumPy, an array of several, or ``None`` where a word is no number."""
    for dtype, convert in _NUMBER_TYPES:
        if dtype is np.int64 and "." in words[0]:
            continue
        with suppress(ValueError, OverflowError):
            return dtype(convert(words[0])) if len(words) == 1 else np.array(words, dtype=dtype)
    return None


def _columns(properties: str, lines: Sequence[str]) -> dict[str, Any]:
    """Read the atoms' lines into one array a property, by ASE's names."""
    layout = _layout(properties)
    columns = list(zip(*[line.split() for line in lines], strict=True))
    if len(columns) != sum(width for _, width, _, _ in layout):
        raise UncommonError
    arrays: dict[str, Any] = {}
    start = 0
    for name, width, dtype, convert in layout:
        words = columns[start] if width == 1 else chain.from_iterable(columns[start : start + width])
        values = np.array(list(map(convert, words)), dtype=dtype)
        arrays[name] = values if width == 1 else values.reshape(width, -1).T
        start += width
    return arrays


@lru_cache(maxsize=64)
def _layout(properties: str) -> list[tuple[str, int, np.dtype, Callable[[str], Any]]]:
    """Name, number of columns, type, and what converts a word, of each property."""
    names, _, dtype, converters = parse_properties(properties)
    layout, start = [], 0
    for name, width in names.values():
        if name in ("move_mask", ""):  # ASE makes constraints of the one, and refuses the other
            raise UncommonError
        layout.append((name, width, dtype[start], converters[start]))
        start += width
    return layout
