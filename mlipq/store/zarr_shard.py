"""A shard as one Zarr v3 zip: entries stored, sorted and dated 1980, every chunk with a CRC-32C."""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.store.commit import Json
from mlipq.store.shard import (
    FORMAT_ATTRIBUTES,
    Shard,
    check_chunk,
    check_format,
    chunk_shape,
    damage_named,
    stored_spec,
)
from mlipq.store.table import Table
from mlipq.store.zarr_array import ZarrArray, array_of, group_metadata

_METADATA = "zarr.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def encode(table: Table, attributes: Mapping[str, Json]) -> bytes:
    """Return a table as the bytes of a ``.zarr.zip`` shard; equal tables give equal bytes."""
    entries = {_METADATA: group_metadata({**attributes, **FORMAT_ATTRIBUTES})}
    for name, values in table.arrays.items():
        array = array_of(values, chunk_shape(name, values), table.specs[name].attributes())
        entries[f"{name}/{_METADATA}"] = array.metadata()
        for number in range(array.n_chunks):
            entries[f"{name}/{array.chunk_key(number)}"] = array.encode(values, number)
        if "/" in name:
            entries[f"{name.split('/')[0]}/{_METADATA}"] = group_metadata({})
    return _zipped(entries)


def _zipped(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    return file.getvalue()


class ZarrShard(Shard):
    """A ``.zarr.zip`` shard open for reading."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._entries = _entries(path)
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed in close(), or with the last reference
        try:
            self._arrays = dict(self._described())
            self._check_chunks()
        except BaseException:
            self.close()
            raise

    def _described(self) -> Iterator[tuple[str, ZarrArray]]:
        """Read what the file says of itself and of its arrays."""
        root = json.loads(self._metadata(""))
        check_format(self.path, root["attributes"])
        said = cast(dict[str, Json], root["attributes"])
        self.attributes = {key: value for key, value in said.items() if key not in FORMAT_ATTRIBUTES}
        names = sorted(name.removesuffix(f"/{_METADATA}") for name in self._entries if name.endswith(f"/{_METADATA}"))
        for name in names:
            with damage_named(self.path, f"array {name}"):
                said = json.loads(self._metadata(f"{name}/"))
                if said.get("node_type") == "group":
                    continue
                array = ZarrArray.parse(name, said)
                self.specs[name] = stored_spec(name, array.shape, array.numpy_dtype, array.attributes)
                check_chunk(name, array.chunk, array.numpy_dtype.itemsize)
                self.rows[name], self.chunk_rows[name] = array.shape[0], array.chunk[0]
                yield name, array

    def _check_chunks(self) -> None:
        """Check that every chunk is there and nothing else, before any memory is taken for what they claim."""
        n_chunks = sum(array.n_chunks for array in self._arrays.values())
        found = [name for name in self._entries if not name.endswith(_METADATA)]
        if len(found) == n_chunks:
            expected = {
                f"{name}/{array.chunk_key(n)}" for name, array in self._arrays.items() for n in range(array.n_chunks)
            }
            if expected == set(found):
                return
        raise CheckError(
            f"should hold the {n_chunks} chunks of its arrays and nothing else, but holds {len(found)} files"
        )

    def _metadata(self, prefix: str) -> bytes:
        """Read metadata, which only the zip's own checksum protects."""
        text = self._bytes(prefix + _METADATA)
        if zlib.crc32(text) != self._entries[prefix + _METADATA].checksum:
            raise CheckError(f"{self.path}: {prefix}{_METADATA} is damaged: its checksum is wrong")
        return text

    def _bytes(self, name: str) -> bytes:
        """Read one entry past zipfile, which would move the file's one position that threads share."""
        entry, file = self._entries[name], self._file.fileno()
        name_length, extra_length = struct.unpack("<HH", os.pread(file, 4, entry.start + 26))
        return os.pread(file, entry.size, entry.start + 30 + name_length + extra_length)

    def _read(self, name: str, start: int, stop: int) -> NDArray:
        array = self._arrays[name]
        stop = min(stop, array.shape[0])
        first = start // array.chunk[0]
        numbers = range(first, -(-stop // array.chunk[0])) if array.n_chunks else ()
        chunks = [array.decode(self._bytes(f"{name}/{array.chunk_key(number)}")) for number in numbers]
        if not chunks:
            return array.nothing()
        rows = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        return rows[start - first * array.chunk[0] : stop - first * array.chunk[0]]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Entry(NamedTuple):
    start: int
    size: int
    checksum: int


def _entries(path: Path) -> dict[str, _Entry]:
    """Return where each entry of a zip starts, its bytes, and their CRC-32.

    What mlipq never writes is refused: twice the same name, compressed entries.
    """
    entries = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename in entries:
                raise CheckError(f"{path} holds two entries of one name")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise CheckError(f"{path}: entry {entry.filename} is compressed; a shard's entries are stored")
            entries[entry.filename] = _Entry(entry.header_offset, entry.file_size, entry.CRC)
    return entries
