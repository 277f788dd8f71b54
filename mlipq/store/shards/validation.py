"""Does a table obey the schema? One list of sentences, empty where it does."""

import math
from collections.abc import Iterator

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.schema import KNOWN_ARRAYS, PARTIAL_ARRAYS, STRUCTURE_ARRAYS, ArraySpec
from mlipq.store.columns import STORED_DTYPES, UNSTORABLE, dtype_name, present_values
from mlipq.store.names import is_array_name
from mlipq.store.table import Table

MAX_ROW_VALUES = 1 << 26
"""Values in one row of an array."""

_MAY_BE_NAN = {"gfn1/homo_lumo_gap", "pbe/homo_lumo_gap"}


def table_problems(table: Table) -> list[str]:
    """Return what is wrong with a table, one sentence an item.

    Checked: every array that must be there is; arrays of the schema have its level, shape, dtype and unit; values
    agree with their specification; the offsets start at 0, rise and end at the number of atoms; every array
    has a row for each structure or atom; and numbers are finite, except that labels beyond the schema and the
    HOMO-LUMO gap may be NaN, and ``info/`` arrays anything. Of a method whose labels structures may lack, each structure has all
    or none.
    """
    missing = [f"array {s.name} is missing" for s in STRUCTURE_ARRAYS if not s.optional and s.name not in table.arrays]
    if ("cell" in table.arrays) != ("pbc" in table.arrays):
        missing.append("cell and pbc belong together, but only one of them is there")
    if missing:
        return [*missing, *(problem for name in table.arrays for problem in _array_problems(table, name, {}))]
    return array_problems(table, len(table.arrays["atomic_numbers"]))


def array_problems(table: Table, n_atoms: int) -> list[str]:
    """Return what is wrong with some arrays of a shard that has ``n_atoms``, ``atom_offsets`` among them."""
    offsets = offset_problems(table.arrays["atom_offsets"], n_atoms)
    rows = {} if offsets else {"structure": len(table), "atom": table.n_atoms, "offsets": len(table) + 1}
    problems = [*offsets, *(problem for name in table.arrays for problem in _array_problems(table, name, rows))]
    return problems or list(_partial_problems(table))


def spec_problems(spec: ArraySpec) -> list[str]:
    """Return what is wrong with the specification of an array, wherever it stands."""
    known = KNOWN_ARRAYS.get(spec.name)
    if not is_array_name(spec.name):
        return [f"array {spec.name!r} is not in the schema; others are named <source>/<name>"]
    if known is not None and _layout(spec) != _layout(known):
        return [f"array {spec.name} should be {_words(known)}, but is {_words(spec)}"]
    if known is None and spec.level == "offsets":
        return [f"array {spec.name} should have rows for structures or atoms"]
    if spec.dtype not in STORED_DTYPES or min(spec.shape, default=0) < 0 or math.prod(spec.shape) > MAX_ROW_VALUES:
        return [f"array {spec.name} has rows {spec.shape} {spec.dtype}, which no shard holds"]
    return []


def offset_problems(offsets: NDArray, n_atoms: int) -> list[str]:
    """Return what is wrong with ``atom_offsets`` of a shard whose atom arrays have ``n_atoms`` rows."""
    if offsets.ndim != 1 or offsets.dtype.kind != "i" or len(offsets) == 0:
        return [f"atom_offsets should be (structures + 1,) i8, but is {offsets.shape} {offsets.dtype}"]
    problems = []
    if offsets[0] != 0:
        problems.append(f"atom_offsets should start at 0, but starts at {offsets[0]}")
    if offsets[-1] != n_atoms:
        problems.append(f"atom_offsets should end at {n_atoms}, the number of atoms, but ends at {offsets[-1]}")
    counts = np.diff(offsets)
    for wrong, problem in ((counts < 0, "never fall, but does"), (counts == 0, "rise by an atom, but stands")):
        if wrong.any():
            problems.append(f"atom_offsets should {problem} after structure {np.flatnonzero(wrong)[0]}")
    return problems


def _array_problems(table: Table, name: str, rows: dict[str, int]) -> Iterator[str]:
    values, spec = table.arrays[name], table.specs[name]
    yield from spec_problems(spec)
    if values.shape[1:] != spec.shape or dtype_name(values.dtype) != spec.dtype:
        yield f"array {name} should have rows {spec.shape} {spec.dtype}, but has {values.shape[1:]} {values.dtype}"
    elif rows and len(values) != rows[spec.level]:
        yield f"array {name} should have {rows[spec.level]} rows, one a {spec.level}, but has {len(values)}"
    yield from _value_problems(name, values, KNOWN_ARRAYS.get(name))


def _partial_problems(table: Table) -> Iterator[str]:
    """Yield where a structure has labels of a method, but not all of them; ``table`` has no other problems."""
    there = {name: _labelled(table, name) for name in sorted(PARTIAL_ARRAYS & table.arrays.keys())}
    for method in dict.fromkeys(name.partition("/")[0] for name in there):
        own = {name: found for name, found in there.items() if name.startswith(f"{method}/")}
        labelled = np.logical_or.reduce([some for some, _ in own.values()])
        for name, (_, whole) in own.items():
            rows = np.flatnonzero(labelled & ~whole)
            if len(rows) and name not in _MAY_BE_NAN:
                yield f"structure {rows[0]} has labels of {method}, but {name} lacks some or all of its values"


def _labelled(table: Table, name: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which structures have some values of an array, and which have all: two ``(structures,)``."""
    values, spec = table.arrays[name], table.specs[name]
    present = present_values(spec, values).reshape(len(values), math.prod(spec.shape))
    some, whole = np.asarray(present.any(axis=1)), np.asarray(present.all(axis=1))
    if spec.level == "structure" or not len(table):
        return some, whole
    starts = table.arrays["atom_offsets"][:-1]
    return np.logical_or.reduceat(some, starts), np.logical_and.reduceat(whole, starts)


def _layout(spec: ArraySpec) -> tuple[object, ...]:
    return spec.level, spec.shape, spec.dtype, spec.unit


def _words(spec: ArraySpec) -> str:
    return " ".join(str(word) for word in _layout(spec) if word != "")


def _value_problems(name: str, values: NDArray, known: ArraySpec | None) -> Iterator[str]:
    if values.dtype == object:
        for row, text in enumerate(values.ravel()):
            if not isinstance(text, str) or UNSTORABLE.search(text):
                yield f"array {name} should hold text without NUL and lone surrogates, but holds {text!r} at {row}"
                return
    elif name == "atomic_numbers":
        rows = np.flatnonzero((values == 0) | (values >= len(chemical_symbols)))
        if len(rows):
            yield f"array {name} should hold elements, 1 to {len(chemical_symbols) - 1}, but holds {values[rows[0]]} in row {rows[0]}"
    elif values.dtype.kind == "f" and not name.startswith("info/"):
        may_be_nan = known is None or name in _MAY_BE_NAN or name in PARTIAL_ARRAYS
        bad = np.isinf(values) if may_be_nan else ~np.isfinite(values)
        if bad.any():
            row = np.argwhere(bad)[0][0]
            yield f"array {name} should be finite, but is {values[row]} in row {row}"
