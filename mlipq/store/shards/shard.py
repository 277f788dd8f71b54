"""One shard file: what its two formats share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError, MlipqError
from mlipq.schema import KNOWN_ARRAYS, ArraySpec, Level
from mlipq.store.columns import dtype_name, numpy_dtype
from mlipq.store.commit import Json
from mlipq.store.shards.chunks import ChunkCache
from mlipq.store.shards.validation import array_problems, offset_problems, spec_problems, table_problems
from mlipq.store.table import Table, gather

FORMAT_ATTRIBUTES: dict[str, str | int] = {"format": "mlipq-shard", "format_version": 1}
"""What every shard says of itself, beside what its writer adds."""

CHUNK_VALUES = 16_384
"""Values in a chunk, about: large enough to compress well, small enough to read one structure quickly (measured in
``benchmarks/storage``)."""

MAX_CHUNK_BYTES = 1 << 26
"""Larger chunks are neither written nor read: a forged one could claim all memory."""

MAX_SHARD_BYTES = 1 << 31
"""Larger shards, decoded, are neither written nor read: a file of a few kilobytes could claim all memory."""

MESSAGE = 1000
"""Characters of a message about damage."""

TEXT_BYTES = 64
"""What a text takes in memory, about, beside its letters."""


class Shard(ABC):
    """A shard open for reading; arrays stay on disk until asked for.

    Use :func:`mlipq.store.shards.files.open_shard`. Subclasses fill the attributes and implement :meth:`_read` and :meth:`close`.

    Attributes
    ----------
    name
        What messages call the file: its path or URL.
    attributes
        What the writer said of the whole shard.
    specs
        Array name to specification, as the file states it.
    rows, chunk_rows
        Array name to its number of rows, and of rows in a chunk.
    cache
        Chunks that :meth:`read_rows` decoded; the shards of a dataset share one.
    """

    def __init__(self, name: str, version: Hashable) -> None:
        self.name = name
        self._version = version  # a file that takes the place of this one has other chunks
        self.attributes: dict[str, Json] = {}
        self.specs: dict[str, ArraySpec] = {}
        self.rows: dict[str, int] = {}
        self.chunk_rows: dict[str, int] = {}
        self.cache = ChunkCache()
        self._decoded: dict[str, int] = {}

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
            raise CheckError(f"{self.name}: array atom_offsets is missing")
        return self.rows["atom_offsets"] - 1

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The whole ``atom_offsets`` array, checked."""
        offsets = self.read("atom_offsets", 0, len(self) + 1)
        problems = offset_problems(offsets, self.rows.get("atomic_numbers", 0))
        if problems:
            raise CheckError(f"{self.name}: {listed(problems)}")
        return offsets

    def read(self, name: str, start: int, stop: int) -> NDArray:
        """Return rows ``start`` to ``stop`` of an array.

        Raises
        ------
        CheckError
            If a chunk is damaged; the message names file and array.
        """
        with damage_named(self.name, f"array {name}"):
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

    def _add_array(self, spec: ArraySpec, rows: int, chunk_rows: int) -> None:
        """Note an array of the file."""
        self.specs[spec.name], self.rows[spec.name], self.chunk_rows[spec.name] = spec, rows, chunk_rows
        self._claim(spec.name)

    def _claim(self, name: str, letters: int = 0) -> None:
        """Note how large an array is in memory, of texts as far as known, and refuse more than a shard holds."""
        spec = self.specs[name]
        self._decoded[name] = self.rows[name] * math.prod(spec.shape) * value_bytes(spec.dtype) + letters
        total = sum(self._decoded.values())
        if total > MAX_SHARD_BYTES:
            raise CheckError(f"its arrays claim {total:,} bytes or more; a shard holds {MAX_SHARD_BYTES:,} at most")

    def _chunk(self, name: str, number: int) -> NDArray:
        n = self.chunk_rows[name]
        stop = min((number + 1) * n, self.rows[name])
        return self.cache.get(self._chunk_key(name, number), lambda: self.read(name, number * n, stop))

    def _chunk_key(self, name: str, number: int) -> Hashable:
        return self.name, self._version, name, number

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
                damage.append(str(error).removeprefix(f"{self.name}: "))
        if damage:
            return table, damage
        if names is None:
            return table, table_problems(table)
        return table, array_problems(table, self.rows.get("atomic_numbers", 0))


@contextmanager
def damage_named(file: object, what: str) -> Iterator[None]:
    """Turn whatever a storage library raises on damaged bytes into one error that names file and place.

    What the file says may stand in the message, and be of any length: it is cut.
    """
    try:
        yield
    except CheckError as error:
        said = str(error) if len(str(error)) <= MESSAGE else f"{str(error)[:MESSAGE]} …"
        raise CheckError(said if str(file) in said else f"{file}: {said}") from error
    except MlipqError:
        raise
    except Exception as error:  # zipfile, zarr, numcodecs, h5py and json each raise several kinds
        reason = str(error)[:MESSAGE] or type(error).__name__
        raise CheckError(f"{file}: {what} cannot be read, it is damaged or cut off ({reason})") from error


def stored_spec(name: str, shape: tuple[int, ...], dtype: np.dtype, attributes: Mapping[str, object]) -> ArraySpec:
    """Return the specification of a stored array from its layout and attributes.

    Raises
    ------
    CheckError
        If it is none that mlipq stores, or an attribute is missing or odd.
    """
    said = {key: attributes.get(key, "") for key in ("level", "unit", "description", "kind", "level_of_theory")}
    lacking = {"level", "unit", "description"} - attributes.keys()
    odd = said["level"] not in get_args(Level) or not all(isinstance(value, str) for value in said.values())
    if lacking or odd:
        raise CheckError(f"array {name} should say its level, unit and description in its attributes, but says {said}")
    if not shape:
        raise CheckError(f"array {name} is one value; a shard's have rows")
    known = KNOWN_ARRAYS.get(name)
    spec = ArraySpec(
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
    problems = spec_problems(spec)
    if problems:
        raise CheckError("; ".join(problems))
    return spec


def check_format(file: str, attributes: Mapping[str, object]) -> None:
    """Refuse a file that is not a shard, or one of another format version."""
    expected, found = FORMAT_ATTRIBUTES["format"], attributes.get("format")
    if found != expected:
        raise CheckError(f"{file} is not an mlipq shard: its attribute format should be {expected!r}, but is {found!r}")
    expected, found = FORMAT_ATTRIBUTES["format_version"], attributes.get("format_version")
    if found != expected:
        raise CheckError(f"{file} has format version {found!r}; this mlipq reads {expected}: use the one that wrote it")


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
    """Return how many bytes a value takes at most, stored and decoded; of texts the longest."""
    return TEXT_BYTES + 4 * max(map(len, values.flat), default=0) if values.dtype == object else values.itemsize


def value_bytes(dtype: str) -> int:
    """Return what a value takes in memory, a text without its letters."""
    return TEXT_BYTES if dtype == "str" else np.dtype(dtype).itemsize


def check_size(table: Table) -> None:
    """Refuse a table that no shard holds."""
    total = sum(
        values.nbytes if values.dtype != object else TEXT_BYTES * values.size + 4 * sum(map(len, values.flat))
        for values in table.arrays.values()
    )
    if total > MAX_SHARD_BYTES:
        raise CheckError(
            f"its arrays take {total:,} bytes; a shard holds {MAX_SHARD_BYTES:,} at most: cut it into several"
        )


def check_chunk(name: str, chunk: tuple[int, ...], dtype: str) -> None:
    """Refuse a chunk that would claim too much memory."""
    if math.prod(chunk) * value_bytes(dtype) > MAX_CHUNK_BYTES:
        raise CheckError(f"array {name} has chunks {chunk}, larger than {MAX_CHUNK_BYTES} bytes")


def listed(problems: list[str], limit: int = 5) -> str:
    """Join problems for a message, the first few in words."""
    more = f"; and {len(problems) - limit} more" if len(problems) > limit else ""
    return "; ".join(problems[:limit]) + more
