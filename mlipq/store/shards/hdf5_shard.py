"""A shard as HDF5: gzip and Fletcher-32 on every chunk, and a CRC-32 over what HDF5 leaves unprotected.

Checksums of their own have: chunks (Fletcher-32), and object headers and indices (file version 1.10). The global heap,
where variable-length text lives, has none, so each object carries ``heap_crc32`` over its attributes and its text.
"""

import json
import math
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.schema import ArraySpec
from mlipq.store import strict_json
from mlipq.store.columns import dtype_name
from mlipq.store.commit import Json
from mlipq.store.shards.shard import (
    FORMAT_ATTRIBUTES,
    MAX_SHARD_BYTES,
    Shard,
    check_chunk,
    check_format,
    chunk_shape,
    stored_spec,
)
from mlipq.store.table import Table

FILTERS = {"compression": "gzip", "compression_opts": 4, "shuffle": False}
"""Of numbers, from a measured table (``benchmarks/storage``)."""

_LIBVER = ("v110", "v110")
_CRC = "heap_crc32"
_ATTRIBUTES = "attributes"
_NO_TEXT = np.empty(0, dtype=object)


def encode(table: Table, attributes: Mapping[str, Json]) -> bytes:
    """Return a table as the bytes of an ``.h5`` shard; equal tables give equal bytes.

    ``attributes`` stand as JSON in the root attribute ``attributes``.
    """
    unique = secrets.token_hex(8)  # the library refuses a name that another thread has open
    with h5py.File(unique, "w", driver="core", backing_store=False, libver=_LIBVER) as file:
        said = json.dumps(dict(attributes), sort_keys=True)
        _attach(file, {**FORMAT_ATTRIBUTES, _ATTRIBUTES: said})
        for name in sorted(table.arrays):
            _write_array(file, table.specs[name], table.arrays[name])
            file.flush()  # else its place depends on when the last reference to it goes, and profilers hold some
        image: bytes = file.id.get_file_image()
    return image


def _write_array(file: h5py.File, spec: ArraySpec, values: NDArray) -> None:
    if spec.dtype == "str":  # HDF5 has no filters for variable-length text
        dataset = file.create_dataset(spec.name, data=values, dtype=h5py.string_dtype(), track_times=False)
        _attach(dataset, spec.attributes(), values)
        return
    filters = {}
    if values.size:
        filters = {"chunks": chunk_shape(spec.name, values), "fletcher32": True, **FILTERS}
    stored = np.dtype(spec.dtype).newbyteorder("<")
    dataset = file.create_dataset(spec.name, data=values, dtype=stored, track_times=False, **filters)
    _attach(dataset, spec.attributes())


def _attach(node: h5py.File | h5py.Dataset, attributes: Mapping[str, str | int], text: NDArray = _NO_TEXT) -> None:
    for key in sorted(attributes):
        node.attrs[key] = attributes[key]
    node.attrs[_CRC] = _heap_crc(attributes, text)


def _heap_crc(attributes: Mapping[str, object], text: NDArray) -> np.uint32:
    said = json.dumps({key: str(value) for key, value in attributes.items()}, sort_keys=True)
    return np.uint32(zlib.crc32("\0".join([said, *text.ravel()]).encode("utf-8")))


class Hdf5Shard(Shard):
    """An ``.h5`` shard open for reading. A text array is one chunk: it is read whole, and checked."""

    def __init__(self, path: Path) -> None:
        status = path.stat()
        super().__init__(str(path), (status.st_ino, status.st_mtime_ns))
        # A committed shard never changes, and network locks may lie. Chunks are kept decoded, not by the library.
        self._file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        root = dict(self._file.attrs)
        check_format(self.name, root)
        _check_heap(self.name, root, _NO_TEXT)
        self.attributes = cast(dict[str, Json], strict_json.loads(str(root[_ATTRIBUTES]).encode()))
        self._datasets = _datasets(self._file)
        for name, dataset in self._datasets.items():
            attributes = dict(dataset.attrs)
            spec = stored_spec(name, dataset.shape, dataset.dtype, attributes)
            _check_dataset(name, dataset)
            self._add_array(spec, dataset.shape[0], dataset.chunks[0] if dataset.chunks else max(1, dataset.shape[0]))
            if self.specs[name].dtype != "str":
                _check_heap(f"array {name}", attributes, _NO_TEXT)

    def _read(self, name: str, start: int, stop: int) -> NDArray:
        dataset = self._datasets[name]
        if self.specs[name].dtype != "str":
            return np.asarray(dataset[start:stop])
        text = self._texts(name)
        _check_heap(f"array {name}", dict(dataset.attrs), text)
        return text[start:stop]

    def _texts(self, name: str) -> NDArray:
        """Read the whole of a text array, some at a time: many references to one long text take little of the file.

        No text is longer than the file, so that some take little more memory.
        """
        dataset, letters = self._datasets[name].asstr("utf-8", "strict"), 0
        parts = [np.empty((0, *self.specs[name].shape), dtype=object)]
        step = max(1, min(1024, MAX_SHARD_BYTES // 8 // self._file.id.get_filesize()))
        for start in range(0, self.rows[name], step):
            parts.append(np.asarray(dataset[start : start + step], dtype=object))
            letters += sum(map(len, parts[-1].flat))
            self._claim(name, letters)
        return np.concatenate(parts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the arrays at the root and in its groups; only hard links are followed, and nothing is nested deeper."""
    found = {}
    for name in _hard_links(file):
        node = file[name]
        if isinstance(node, h5py.Group):
            found.update({f"{name}/{child}": node[child] for child in _hard_links(node)})
        else:
            found[name] = node
    return found


def _hard_links(group: h5py.Group) -> list[str]:
    names = list(group)
    for name in names:
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            kind = type(group.get(name, getlink=True)).__name__
            raise CheckError(f"{name} is a {kind} to another place; a shard holds its own arrays")
    return names


def _check_dataset(name: str, dataset: h5py.Dataset) -> None:
    """Refuse data kept elsewhere, and chunks that are unprotected, too large or not there."""
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise CheckError(f"{name} should be an array inside the file")
    string = h5py.check_string_dtype(dataset.dtype)
    if dataset.dtype.kind in "OSV" and (string is None or string.length is not None or dataset.chunks):
        raise CheckError(f"array {name} should hold variable-length UTF-8 text, but is {dataset.dtype}")
    if string is not None or not dataset.size:
        if dataset.size and dataset.size * 16 > dataset.id.get_storage_size():
            raise CheckError(f"array {name} has {dataset.size} values, but the file stores fewer")
        return
    if not dataset.chunks or not dataset.fletcher32:
        raise CheckError(f"array {name} should be in chunks with Fletcher-32 checksums")
    check_chunk(name, dataset.chunks, dtype_name(dataset.dtype))
    n_chunks = math.prod(-(-rows // chunk) for rows, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() != n_chunks:
        raise CheckError(f"array {name} should have {n_chunks} chunks, but has {dataset.id.get_num_chunks()}")


def _check_heap(what: str, attributes: dict[str, object], text: NDArray) -> None:
    said = {key: value for key, value in attributes.items() if key != _CRC}
    if attributes.get(_CRC) != _heap_crc(said, text):
        raise CheckError(f"{what}: attributes or text do not match their checksum")
