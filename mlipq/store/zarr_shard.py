"""A shard as one Zarr v3 zip: entries stored, sorted and dated 1980, every chunk with a CRC-32C."""

import io
import itertools
import math
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.core.metadata import ArrayV3Metadata
from zarr.errors import UnstableSpecificationWarning
from zarr.storage import MemoryStore, ZipStore

from mlipq.errors import CheckError
from mlipq.schema import ArraySpec
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

_METADATA = "zarr.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def encode(table: Table, attributes: Mapping[str, Json]) -> bytes:
    """Return a table as the bytes of a ``.zarr.zip`` shard; equal tables give equal bytes."""
    entries: dict[str, Buffer] = {}
    store = MemoryStore(entries)
    with _strings_are_settled():
        root = zarr.create_group(store, attributes={**attributes, **FORMAT_ATTRIBUTES}, zarr_format=3)
        for name in sorted(table.arrays):
            _write_array(root, table.specs[name], table.arrays[name])
    return _zipped({key: value.to_bytes() for key, value in entries.items()})


def _write_array(root: zarr.Group, spec: ArraySpec, values: NDArray) -> None:
    is_text = spec.dtype == "str"
    # zarr runs codecs outside the main thread, where Blosc uses one thread: with more, the order of its blocks,
    # and so the bytes, would differ from run to run
    blosc = BloscCodec(cname="zstd", clevel=5, shuffle="noshuffle" if is_text else "shuffle")
    array = root.create_array(
        spec.name,
        shape=values.shape,
        chunks=tuple(max(1, length) for length in chunk_shape(values.shape)),
        dtype=str if is_text else np.dtype(spec.dtype),
        compressors=(blosc, Crc32cCodec()),
        attributes=dict(spec.attributes()),
        config={"write_empty_chunks": True},  # so that a chunk that is not there is damage, never zeros
    )
    if values.size:
        array[...] = values


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
        claimed = _claimed_bytes(path)
        names = claimed.keys()
        self._store = ZipStore(path, mode="r", read_only=True)
        with _strings_are_settled():
            root = zarr.open_group(self._store, mode="r", zarr_format=3, use_consolidated=False)
            check_format(path, root.attrs)
            said = cast(dict[str, Json], root.attrs.asdict())
            self.attributes = {key: value for key, value in said.items() if key not in FORMAT_ATTRIBUTES}
            nodes = sorted(name.removesuffix(f"/{_METADATA}") for name in names if name.endswith(f"/{_METADATA}"))
            self._arrays = {name: node for name in nodes if isinstance(node := self._node(root, name), zarr.Array)}
        for name, array in self._arrays.items():
            _check_array(name, array)
            self.specs[name] = stored_spec(name, array.shape, array.dtype, array.attrs.asdict())
            self.rows[name], self.chunk_rows[name] = array.shape[0], array.chunks[0]
        _check_entries(claimed, {f"{node}/{_METADATA}" for node in nodes} | {_METADATA}, self._arrays)

    def _node(self, root: zarr.Group, name: str) -> object:
        with damage_named(self.path, f"array {name}"):
            return root[name]

    def _read(self, name: str, start: int, stop: int) -> NDArray:
        values = np.asarray(self._arrays[name][start:stop])
        return values.astype(object) if values.dtype.kind == "T" else values

    def close(self) -> None:
        """Close the zip file."""
        self._store.close()


def _claimed_bytes(path: Path) -> dict[str, int]:
    """Return the names in a zip, and how many bytes each holds decoded if it is a Blosc frame.

    What mlipq never writes is refused: twice the same name, compressed entries.
    """
    claimed = {}
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.filename in claimed:
                raise CheckError(f"{path} holds two entries of one name")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise CheckError(f"{path}: entry {entry.filename} is compressed; a shard's entries are stored")
            claimed[entry.filename] = _frame_bytes(file, entry)
    return claimed


def _frame_bytes(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Return the decoded size in a Blosc frame's header, read past zipfile: a damaged array shall not hide the others."""
    file.seek(entry.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    file.seek(name_length + extra_length, io.SEEK_CUR)
    return int.from_bytes(file.read(8)[4:], "little")


def _check_array(name: str, array: zarr.Array) -> None:
    metadata = array.metadata
    codecs = [codec.to_dict()["name"] for codec in metadata.codecs] if isinstance(metadata, ArrayV3Metadata) else []
    expected = ["vlen-utf8" if array.dtype.kind == "T" else "bytes", "blosc", "crc32c"]
    if codecs != expected:
        raise CheckError(f"array {name} should have codecs {expected}, but has {codecs}")
    check_chunk(name, array.chunks, array.dtype.itemsize)


def _check_entries(claimed: Mapping[str, int], metadata: set[str], arrays: Mapping[str, zarr.Array]) -> None:
    """Check that every chunk is there, of numbers no larger than its shape says, and nothing else."""
    n_chunks = sum(math.prod(_chunk_grid(array)) for array in arrays.values())
    expected = set(metadata)
    if len(metadata) + n_chunks == len(claimed):
        for name, array in arrays.items():
            for position in itertools.product(*(range(n) for n in _chunk_grid(array))):
                chunk = f"{name}/{'/'.join(map(str, ('c', *position)))}"
                expected.add(chunk)
                n_bytes = math.prod(array.chunks) * array.dtype.itemsize
                if array.dtype.kind != "T" and claimed.get(chunk, 0) > n_bytes:
                    raise CheckError(f"{chunk} should hold {n_bytes} bytes, but claims {claimed[chunk]}")
    if expected != claimed.keys():
        found = len(claimed) - len(metadata)
        raise CheckError(f"should hold the {n_chunks} chunks of its arrays and nothing else, but holds {found} files")


def _chunk_grid(array: zarr.Array) -> list[int]:
    return [-(-length // chunk) for length, chunk in zip(array.shape, array.chunks, strict=True)]


@contextmanager
def _strings_are_settled() -> Iterator[None]:
    """Silence zarr's note that its ``string`` type is not in the Zarr v3 core specification: mlipq knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        yield
