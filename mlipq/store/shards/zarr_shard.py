"""A shard as one Zarr v3 zip: entries stored, sorted and dated 1980, every chunk with a CRC-32C.

All metadata comes last, before the zip's directory, so that one read from afar opens most shards.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.store import strict_json
from mlipq.store.commit import Json
from mlipq.store.shards.shard import (
    FORMAT_ATTRIBUTES,
    Shard,
    check_chunk,
    check_format,
    chunk_shape,
    damage_named,
    stored_spec,
)
from mlipq.store.shards.source import ByteSource
from mlipq.store.shards.zarr_array import ZarrArray, array_of, decoded_bytes, group_metadata
from mlipq.store.shards.zip_entries import MAX_ENTRIES, Entry, Tail, zip_entries
from mlipq.store.table import Table

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
    if len(entries) > MAX_ENTRIES:
        raise CheckError(
            f"its {len(entries):,} chunks are more than the {MAX_ENTRIES:,} that a shard holds: cut it into several"
        )
    return _zipped(entries)


def _zipped(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries, key=lambda name: (name.endswith(_METADATA), name)):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    return file.getvalue()


class ZarrShard(Shard):
    """A ``.zarr.zip`` shard open for reading.

    Parameters
    ----------
    source
        Its bytes; closed with the shard.
    """

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source.name, source.version)
        self._source = source
        try:
            tail = Tail(source)
            self._entries = zip_entries(tail)
            self._arrays = dict(self._described(self._metadata(tail)))
            self._check_chunks()
        except BaseException:
            self.close()
            raise

    def _metadata(self, tail: Tail) -> dict[str, bytes]:
        """Read what the file says of itself (under ``""``) and of its arrays; only the zip's own checksum protects it."""
        entries = {name: entry for name, entry in self._entries.items() if name.endswith(_METADATA)}
        found = {}
        for (name, entry), data in zip(
            entries.items(), tail.read_many([e.range for e in entries.values()]), strict=True
        ):
            text = bytes(entry.payload(data))
            if zlib.crc32(text) != entry.checksum:
                raise CheckError(f"{name} is damaged: its checksum is wrong")
            found[name.removesuffix(_METADATA).removesuffix("/")] = text
        return found

    def _described(self, metadata: Mapping[str, bytes]) -> Iterator[tuple[str, ZarrArray]]:
        if "" not in metadata:
            raise CheckError(f"it has no {_METADATA} at its root; it is no shard")
        said = _group_attributes(_object(strict_json.loads(metadata[""])))
        check_format(self.name, said)
        self.attributes = {key: value for key, value in said.items() if key not in FORMAT_ATTRIBUTES}
        for name in sorted(filter(None, metadata)):
            with damage_named(self.name, f"array {name}"):
                said = _object(strict_json.loads(metadata[name]))
                if said.get("node_type") == "group":
                    _group_attributes(said)
                    continue
                array = ZarrArray.parse(name, said)
                spec = stored_spec(name, array.shape, array.numpy_dtype, array.attributes)
                check_chunk(name, array.chunk, array.dtype)
                self._add_array(spec, array.shape[0], array.chunk[0])
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

    def _read(self, name: str, start: int, stop: int) -> NDArray:
        array = self._arrays[name]
        stop = min(stop, array.shape[0])
        first = start // array.chunk[0]
        numbers = range(first, -(-stop // array.chunk[0])) if array.n_chunks else range(0)
        if not numbers:
            return array.nothing()
        entries = [self._entry(name, number) for number in numbers]
        found = [entry.payload(data) for entry, data in zip(entries, self._read_entries(entries), strict=True)]
        if array.dtype == "str":
            self._claim(name, sum(map(decoded_bytes, found)))
        chunks = [_decoded(array, number, data) for number, data in zip(numbers, found, strict=True)]
        rows = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        return rows[start - first * array.chunk[0] : stop - first * array.chunk[0]]

    def _entry(self, name: str, number: int) -> Entry:
        return self._entries[f"{name}/{self._arrays[name].chunk_key(number)}"]

    def _read_entries(self, entries: Sequence[Entry]) -> list[bytes]:
        return self._source.read_many([entry.range for entry in entries])

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ValueError(f"an object of JSON was expected, not {value!s:.40}")
    return value


def _group_attributes(said: dict[str, Json]) -> dict[str, Json]:
    """Return the attributes of a group; it says no more, as zarr-python would believe a second copy of arrays' metadata."""
    odd = sorted(said.keys() - {"attributes", "consolidated_metadata", "node_type", "zarr_format"})
    if odd or said.get("consolidated_metadata") is not None or (said["zarr_format"], said["node_type"]) != (3, "group"):
        raise CheckError("a group is described otherwise than mlipq does: it has attributes, and nothing else")
    return _object(said["attributes"])


def _decoded(array: ZarrArray, number: int, data: memoryview) -> NDArray:
    try:
        return array.decode(data)
    except Exception as error:  # zarr's codecs raise several kinds
        raise ValueError(f"chunk {number}: {error or type(error).__name__}") from error
