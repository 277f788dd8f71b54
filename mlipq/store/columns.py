"""Types of the columns that users bring: how they are inferred, joined, filled and turned into text.

This is the one place for these rules:

- a value is a boolean, an integer (i8), a float (f8), text, or an array of one of these; integers beyond ±2**53,
  which a float cannot hold, are text, so that no join or gap takes their digits;
- types join upwards, bool → i8 → f8 → str, so a column holds the widest type among its values;
- a missing value is NaN in a float column and ``""`` in a text column; a boolean or integer column with gaps
  becomes f8 with NaN;
- arrays with one row an atom in every structure that has them are an atom-level column; arrays of one common shape are
  a structure-level column of that shape; where shapes or levels differ, each value becomes text (arrays as JSON);
- text cannot hold NUL or lone surrogates, which neither file format stores: they become U+FFFD.

The same joins apply between the values of one shard and between the shards of one dataset.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.schema import KNOWN_ARRAYS, NO_ATTEMPT, PARTIAL_ARRAYS, ArraySpec
from mlipq.store.table import Table

FROM_INPUT = "As the input file gave it"
EXACT_INTEGERS = 2**53
"""Up to here every integer is a float of its own."""
STORED_DTYPES = {"bool", "str", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"}
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def numpy_dtype(spec: ArraySpec) -> np.dtype:
    """Return the dtype of the array in memory: ``object`` for text."""
    return np.dtype(object if spec.dtype == "str" else spec.dtype)


def dtype_name(dtype: np.dtype) -> str:
    """Return the name that :class:`~mlipq.schema.ArraySpec` uses: ``f8``, ``u1``, ``bool``, ``str``."""
    if dtype.kind in "OTU":
        return "str"
    return "bool" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize}"


def storable_text(text: str) -> str:
    """Replace the characters that no shard can hold by U+FFFD."""
    return UNSTORABLE.sub("\ufffd", text)


def as_text(value: object) -> str:
    """Return a value as text: whole numbers without a point, arrays as JSON, a missing number as ``""``."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        if np.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bool | int):
        return str(value)
    return storable_text(json.dumps(value, default=str))


def infer_column(name: str, values: Sequence[object], counts: Sequence[int]) -> tuple[ArraySpec, NDArray]:
    """Choose the type of a column and fill it.

    Parameters
    ----------
    name
        Name of the array, with its prefix: ``info/smiles``.
    values
        One value a structure, ``None`` where it is missing; at least one is not.
    counts
        Atoms of each structure.

    Returns
    -------
    tuple[ArraySpec, NDArray]
        The specification, and the values: ``(structures, *shape)`` or ``(atoms, *shape)``.
    """
    scalars = _scalar_column(values)
    if scalars is not None:
        return ArraySpec(name, "structure", (), dtype_name(scalars.dtype), "", FROM_INPUT), scalars
    cells = [None if value is None else _as_array(value) for value in values]
    present = [(cell, count) for cell, count in zip(cells, counts, strict=True) if cell is not None]
    if all(cell.ndim and len(cell) == count for cell, count in present) and len({c.shape[1:] for c, _ in present}) == 1:
        spec = ArraySpec(name, "atom", present[0][0].shape[1:], "bool", "", FROM_INPUT)
    elif len({cell.shape for cell, _ in present}) == 1:
        spec = ArraySpec(name, "structure", present[0][0].shape, "bool", "", FROM_INPUT)
    else:
        cells = [None if cell is None else np.array(as_text(cell), dtype=object) for cell in cells]
        spec = ArraySpec(name, "structure", (), "str", "", FROM_INPUT)
    dtypes = (dtype_name(cell.dtype) for cell in cells if cell is not None)
    spec = replace(spec, dtype=reduce(_wider, dtypes, spec.dtype))
    if len(present) < len(cells):
        spec = with_gaps(spec)
    rows = [1 if spec.level == "structure" else count for count in counts]
    parts = [
        missing_rows(spec, n) if cell is None else _cast(cell, spec).reshape(n, *spec.shape)
        for cell, n in zip(cells, rows, strict=True)
    ]
    return spec, np.concatenate(parts)


def _scalar_column(values: Sequence[object]) -> NDArray | None:
    """Return the column of values of one scalar type, which most are; ``None`` for any other."""
    types = set(map(type, values))
    if types <= {float, NoneType}:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    if types <= {str, NoneType}:
        return _objects([storable_text(str(value or "")) for value in values], (len(values),))
    if types == {bool}:
        return np.array(values)
    if types == {int} and max(map(abs, values)) <= EXACT_INTEGERS:  # type: ignore[arg-type]
        return np.array(values, dtype=np.int64)
    return None


def missing_rows(spec: ArraySpec, n_rows: int) -> NDArray:
    """Return ``n_rows`` rows of nothing: NaN, ``""``, no rung of a ladder, and no cell for molecules among crystals."""
    shape = (n_rows, *spec.shape)
    if spec.dtype == "str":
        return np.full(shape, "", dtype=object)
    return np.full(shape, _nothing(spec), dtype=numpy_dtype(spec))


def _nothing(spec: ArraySpec) -> float:
    if spec.name in PARTIAL_ARRAYS:
        return np.nan if spec.dtype.startswith("f") else NO_ATTEMPT
    return 0 if spec.name in KNOWN_ARRAYS else np.nan


def empty_table(specs: Mapping[str, ArraySpec]) -> Table:
    """Return a table of no structures with these arrays."""
    arrays = {name: missing_rows(spec, 1 if spec.level == "offsets" else 0) for name, spec in specs.items()}
    return Table(arrays, dict(specs))


def is_missing(values: NDArray) -> bool:
    """True where every value is NaN or ``""``."""
    if values.dtype.kind == "f":
        return bool(np.isnan(values).all())
    return values.dtype == object and all(value == "" for value in values.ravel())


def present_values(spec: ArraySpec, values: NDArray) -> NDArray[np.bool_]:
    """Return which values of an array of :data:`~mlipq.schema.PARTIAL_ARRAYS` are there, in its shape."""
    return np.asarray(~np.isnan(values) if spec.dtype.startswith("f") else values != NO_ATTEMPT)


def is_nothing(spec: ArraySpec, values: NDArray) -> bool:
    """True where every value is what :func:`missing_rows` writes for a structure that lacks this label or information."""
    if spec.name in PARTIAL_ARRAYS:
        return not present_values(spec, values).any()
    return spec.name not in KNOWN_ARRAYS and is_missing(values)


def with_gaps(spec: ArraySpec) -> ArraySpec:
    """Return the specification of the same column when some of its values are missing."""
    has_none = numpy_dtype(spec).kind in "biu" and spec.name not in PARTIAL_ARRAYS
    return replace(spec, dtype="f8") if has_none else spec


def join_specs(
    shards: Sequence[Mapping[str, ArraySpec]], empty: Sequence[Mapping[str, ArraySpec]] = ()
) -> dict[str, ArraySpec]:
    """Return the specifications of many shards read as one dataset.

    Parameters
    ----------
    shards
        Specifications of each shard that holds structures.
    empty
        Specifications of each shard that holds none: they count only where no shard holds any.

    Returns
    -------
    dict[str, ArraySpec]
        By array name, in order of first appearance.

    Raises
    ------
    CheckError
        If labels of one name differ in unit, level of theory, level or shape: they are not the same quantity.
    """
    shards = shards or empty
    joined = {}
    for name in dict.fromkeys(name for specs in shards for name in specs):
        present = [specs[name] for specs in shards if name in specs]
        spec = reduce(_join, present)
        joined[name] = with_gaps(spec) if len(present) < len(shards) and name not in KNOWN_ARRAYS else spec
    return joined


def conform(table: Table, specs: Mapping[str, ArraySpec]) -> Table:
    """Return the table with exactly these arrays: widened, turned into text, or filled where it lacks one.

    Raises
    ------
    CheckError
        If the table lacks an array that cannot be missing, or holds one that cannot become what ``specs`` says.
    """
    counts = np.diff(table.arrays["atom_offsets"])
    arrays = {}
    for name, spec in specs.items():
        if name in table.arrays:
            arrays[name] = _convert(table.arrays[name], counts, table.specs[name], spec)
        elif not _may_be_missing(spec) and (len(table) or name in KNOWN_ARRAYS):
            raise CheckError(f"array {name} is missing; every shard of this dataset must have it")
        else:
            arrays[name] = missing_rows(spec, table.n_atoms if spec.level == "atom" else len(table))
    return Table(arrays, dict(specs))


def _may_be_missing(spec: ArraySpec) -> bool:
    """True where nothing has a value: no optional array of the schema, no label that some structures lack, NaN, or no text."""
    known = KNOWN_ARRAYS.get(spec.name)
    if known:
        return known.optional or spec.name in PARTIAL_ARRAYS
    return numpy_dtype(spec).kind not in "biu"


def _convert(values: NDArray, counts: NDArray, source: ArraySpec, target: ArraySpec) -> NDArray:
    if _join(target, source) != target:
        raise CheckError(f"array {source.name} is {_words(source)}, which cannot be read as {_words(target)}")
    if source.level == target.level and source.shape == target.shape:
        return _cast(values, target)
    rows: Iterable[NDArray] = values
    if source.level == "atom":
        rows = np.split(values, np.cumsum(counts)[:-1]) if len(counts) else []
    return _objects(["" if is_missing(np.asarray(row)) else as_text(row) for row in rows], (len(counts),))


def _join(one: ArraySpec, other: ArraySpec) -> ArraySpec:
    joined = replace(one, dtype=_wider(one.dtype, other.dtype))
    if replace(other, dtype=joined.dtype, description=joined.description, optional=joined.optional) == joined:
        return joined
    if not one.name.startswith("info/"):
        raise CheckError(
            f"array {one.name} is {_words(one)} in one shard and {_words(other)} in another; "
            "give different quantities different names"
        )
    return replace(one, level="structure", shape=(), dtype="str")


def _words(spec: ArraySpec) -> str:
    said = [spec.level, spec.dtype, str(spec.shape), spec.unit, spec.kind, spec.level_of_theory]
    return " ".join(word for word in said if word)


def _wider(one: str, other: str) -> str:
    if "str" in (one, other):
        return "str"
    return dtype_name(np.result_type(one, other))


def _cast(values: NDArray, spec: ArraySpec) -> NDArray:
    if spec.dtype != "str" or values.dtype == object:
        return values.astype(numpy_dtype(spec), copy=False)
    return _objects([as_text(value) for value in values.ravel()], values.shape)


def _as_array(value: object) -> NDArray:
    """Return a value as a bool, i8, f8 or object-of-str array; text where it is none of these."""
    if isinstance(value, str) or not isinstance(value, np.ndarray | np.generic | int | float):
        return np.array(as_text(value), dtype=object)
    array = np.asarray(value)
    if array.size and array.dtype.kind in "biuf":
        wanted = {"b": "bool", "f": "f8"}.get(array.dtype.kind, "i8")
        if wanted != "i8" or (array.min() >= -EXACT_INTEGERS and array.max() <= EXACT_INTEGERS):
            return array.astype(wanted)
    if array.size and (array.dtype.kind == "U" or all(isinstance(item, str) for item in array.ravel())):
        return _objects([storable_text(str(item)) for item in array.ravel()], array.shape)
    return np.array(as_text(value), dtype=object)


def _objects(items: Sequence[str], shape: tuple[int, ...]) -> NDArray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)
