"""One shard file: what its two formats share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError, MlipqError
from mlipq.schema import KNOWN_ARRAYS, ArraySpec, Level
from mlipq.store.chunks import ChunkCache
from mlipq.store.columns import dtype_name, numpy_dtype
from mlipq.store.commit import Json
from mlipq.store.names import is_array_name
from mlipq.store.table import Table, gather
from mlipq.store.validation import array_problems, offset_problems, table_problems

FORMAT_ATTRIBUTES: dict[str, str | int] = {"format": "mlipq-shard", "format_version": 1}
"""What every shard says of itself, beside what its writer adds."""

CHUNK_VALUES = 16_384
"""Values in a chunk, about: large enough to compress well, small enough to read one structure quickly (measured in
``benchmarks/storage``)."""

MAX_CHUNK_BYTES = 1 << 26
"""Larger chunks are neither written nor read: a forged one could claim all memory."""

STORED_DTYPES = {"bool", "str", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"}


class Shard(ABC):
    """A shard open for reading; arrays stay on disk until asked for.

    Use :func:`mlipq.store.files.open_shard`. Subclasses fill the attributes and implement :meth:`_read` and :meth:`close`.

    Attributes
    ----------
    path
        The file.
    attributes
        What the writer said of the whole shard.
    specs
        Array name to specification, as the file states it.
    rows, chunk_rows
        Array name to its number of rows, and of rows in a chunk.
    cache
        Chunks that :meth:`read_rows` decoded; the shards of a dataset share one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stat = path.stat()
        self._version = stat.st_ino, stat.st_mtime_ns  # a file that takes the place of this one has other chunks
        self.attributes: dict[str, Json] = {}
        self.specs: dict[str, ArraySpec] = {}
        self.rows: dict[str, int] = {}
        self.chunk_rows: dict[str, int] = {}
        self.cache = ChunkCache()

    @abstractmethod
    def _read(self, name: str, start: int, stop: int) -> NDArray: ...

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        if "atom_offsets" not in self.rows:
            raise CheckError(f"{self.path}: array atom_offsets is missing")
        return self.rows["atom_offsets"] - 1

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The whole ``atom_offsets`` array, checked."""
        offsets = self.read("atom_offsets", 0, len(self) + 1)
        problems = offset_problems(offsets, self.rows.get("atomic_numbers", 0))
        if problems:
            raise CheckError(f"{self.path}: {listed(problems)}")
        return offsets

    def read(self, name: str, start: int, stop: int) -> NDArray:
        """Return rows ``start`` to ``stop`` of an array.

        Raises
        ------
        CheckError
            If a chunk is damaged; the message names file and array.
        """
        with damage_named(self.path, f"array {name}"):
            return self._read(name, start, stop)

    def read_rows(self, name: str, rows: NDArray[np.int64]) -> NDArray:
        """Return these rows of an array in this order; the chunks that hold them are kept for the next call."""
        if not len(rows):
            return self.read(name, 0, 0)
        n = self.chunk_rows[name]
        first, last = rows.min() // n, rows.max() // n
        if first == last:
            values: NDArray = self._chunk(name, int(first))[rows - first * n]
            return values
        values = np.empty((len(rows), *self.specs[name].shape), numpy_dtype(self.specs[name]))
        order = np.argsort(rows, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(rows[order] // n)) + 1):
            number = int(rows[places[0]]) // n
            values[places] = self._chunk(name, number)[rows[places] - number * n]
        return values

    def _chunk(self, name: str, number: int) -> NDArray:
        n = self.chunk_rows[name]
        stop = min((number + 1) * n, self.rows[name])
        return self.cache.get((self.path, self._version, name, number), lambda: self.read(name, number * n, stop))

    def take(self, rows: NDArray[np.int64], names: list[str]) -> Table:
        """Return these structures, in this order, with the named arrays and ``atom_offsets``."""
        return gather(rows, self.offsets, [self.specs[name] for name in names], self.read_rows)

    def load(self, names: Sequence[str] | None = None) -> tuple[Table, list[str]]:
        """Return the whole shard and what is wrong with it; a damaged array is named, not returned.

        With ``names`` these arrays alone are read, and checked, with ``atom_offsets``.
        """
        wanted = list(self.rows if names is None else dict.fromkeys(["atom_offsets", *names]))
        table, damage = Table(specs={name: self.specs[name] for name in wanted if name in self.specs}), []
        for name in wanted:
            try:
                table.arrays[name] = self.read(name, 0, self.rows.get(name, 0))
            except CheckError as error:
                damage.append(str(error))
        if damage:
            return table, damage
        if names is None:
            return table, table_problems(table)
        return table, array_problems(table, self.rows.get("atomic_numbers", 0))


@contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a storage library raises on damaged bytes into one error that names file and place."""
    try:
        yield
    except CheckError as error:
        if str(path) in str(error):
            raise
        raise CheckError(f"{path}: {error}") from error
    except MlipqError:
        raise
    except Exception as error:  # zipfile, zarr, numcodecs, h5py and json each raise several kinds
        reason = str(error) or type(error).__name__
        raise CheckError(f"{path}: {what} cannot be read, it is damaged or cut off ({reason})") from error


def stored_spec(name: str, shape: tuple[int, ...], dtype: np.dtype, attributes: Mapping[str, object]) -> ArraySpec:
    """Return the specification of a stored array from its layout and attributes.

    Raises
    ------
    CheckError
        If the name or the dtype is none that mlipq stores, or an attribute is missing or odd.
    """
    if not is_array_name(name):
        raise CheckError(f"array {name!r} is not in the schema; others are named <source>/<name>")
    said = {key: attributes.get(key, "") for key in ("level", "unit", "description", "kind", "level_of_theory")}
    if said["level"] not in get_args(Level) or not all(isinstance(value, str) for value in said.values()):
        raise CheckError(f"array {name} should say its level, unit and description in its attributes, but says {said}")
    if dtype_name(dtype) not in STORED_DTYPES or not shape:
        raise CheckError(f"array {name} has shape {shape} and dtype {dtype}, which no shard holds")
    known = KNOWN_ARRAYS.get(name)
    return ArraySpec(
        name,
        cast(Level, said["level"]),
        shape[1:],
        dtype_name(dtype),
        unit=cast(str, said["unit"]),
        description=cast(str, said["description"]),
        kind=cast(str, said["kind"]),
        level_of_theory=cast(str, said["level_of_theory"]),
        optional=known is not None and known.optional,
    )


def check_format(path: Path, attributes: Mapping[str, object]) -> None:
    """Refuse a file that is not a shard, or one of another format version."""
    expected, found = FORMAT_ATTRIBUTES["format"], attributes.get("format")
    if found != expected:
        raise CheckError(f"{path} is not an mlipq shard: its attribute format should be {expected!r}, but is {found!r}")
    expected, found = FORMAT_ATTRIBUTES["format_version"], attributes.get("format_version")
    if found != expected:
        raise CheckError(f"{path} has format version {found!r}; this mlipq reads {expected}: use the one that wrote it")


def chunk_shape(name: str, values: NDArray) -> tuple[int, ...]:
    """Cut an array along its rows into even chunks of about :data:`CHUNK_VALUES` values.

    Raises
    ------
    CheckError
        If one row alone is larger than :data:`MAX_CHUNK_BYTES`.
    """
    n_rows, row = values.shape[0], values.shape[1:]
    row_values = max(1, math.prod(row))
    row_bytes = row_values * _longest(values)
    if row_bytes > MAX_CHUNK_BYTES:
        limit = f"a shard holds rows of {MAX_CHUNK_BYTES:,} at most: leave this array out"
        raise CheckError(f"array {name} has rows of up to {row_bytes:,} bytes; {limit}")
    rows_a_chunk = max(1, min(CHUNK_VALUES // row_values, MAX_CHUNK_BYTES // row_bytes))
    n_chunks = max(1, -(-n_rows // rows_a_chunk))
    return (max(1, -(-n_rows // n_chunks)), *row)


def _longest(values: NDArray) -> int:
    """Return how many bytes a value takes at most, stored and decoded; of texts the longest, with its length or a pointer."""
    return 8 + 4 * max(map(len, values.flat), default=0) if values.dtype == object else values.itemsize


def check_chunk(name: str, chunk: tuple[int, ...], itemsize: int) -> None:
    """Refuse a chunk that would claim too much memory."""
    if math.prod(chunk) * itemsize > MAX_CHUNK_BYTES:
        raise CheckError(f"array {name} has chunks {chunk}, larger than {MAX_CHUNK_BYTES} bytes")


def listed(problems: list[str], limit: int = 5) -> str:
    """Join problems for a message, the first few in words."""
    more = f"; and {len(problems) - limit} more" if len(problems) > limit else ""
    return "; ".join(problems[:limit]) + more
