"""One array of Zarr v3: its metadata, and its chunks as bytes.

Written and read with numcodecs, the library of codecs below zarr-python, whose own arrays cost a millisecond each to
open, to write and to read: more than what is in them. What is written here is plain Zarr v3, and any of its readers reads
it; what is read here is no more than what is written.
"""

import json
import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import VLenUTF8, blosc
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.store.columns import dtype_name
from mlipq.store.shards.shard import MAX_CHUNK_BYTES

_DATA_TYPES = {
    **{f"{kind}{size}": f"{word}{8 * size}" for kind, word in (("i", "int"), ("u", "uint")) for size in (1, 2, 4, 8)},
    "f4": "float32",
    "f8": "float64",
    "bool": "bool",
    "str": "string",
}
_DTYPES = {data_type: dtype for dtype, data_type in _DATA_TYPES.items()}
_FILL = {"i": 0, "u": 0, "f": 0.0, "b": False, "s": ""}
CODEC, LEVEL, SHUFFLE = "zstd", 3, "noshuffle"
"""Of Blosc, from a measured table (``benchmarks/storage``): most numbers are labels, among them many zeros and few patterns in
bytes, so that shuffling costs more than it gains."""

_SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
_BLOSC_CHOICES = {"cname": blosc.list_compressors(), "clevel": list(range(10)), "shuffle": list(_SHUFFLES)}
"""Settings that another writer may choose otherwise."""

_TEXT = VLenUTF8()
_FRAME = struct.Struct("<4x3I")
"""Header of what Blosc compressed: versions and flags, then bytes decoded, of a block, and of all that is here."""

_CRC_BYTES = 4

blosc.set_nthreads(1)  # with more, the order of its blocks, and so the bytes, would differ from run to run


@dataclass(frozen=True)
class ZarrArray:
    """The layout of one array.

    Parameters
    ----------
    shape
        Of the array.
    chunk
        Shape of a chunk: the array's, but for the number of rows.
    dtype
        As :class:`~mlipq.schema.ArraySpec` names it.
    attributes
        What is said of it.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    attributes: dict[str, Any]

    @classmethod
    def parse(cls, name: str, said: dict[str, Any]) -> "ZarrArray":
        """Read the metadata of an array, as its ``zarr.json`` says them.

        Raises
        ------
        CheckError
            If it is anything but what :meth:`metadata` gives, the settings of Blosc aside.
        """
        try:
            dtype = _DTYPES[said["data_type"]]
            chunk = said["chunk_grid"]["configuration"]["chunk_shape"]
            array = cls(tuple(said["shape"]), tuple(chunk), dtype, dict(said["attributes"]))
            codecs = list(said["codecs"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckError(f"array {name} is not described as an array of Zarr v3 ({error!r})") from None
        lengths = (*array.shape, *array.chunk)
        if not all(type(length) is int for length in lengths) or min(lengths, default=0) < 0 or 0 in array.chunk:
            raise CheckError(f"array {name} has shape {said['shape']} in chunks of {chunk}")
        expected = array._description()
        if not _same_codecs(codecs, expected["codecs"]):
            raise CheckError(f"array {name} should have codecs {expected['codecs']}, but has {codecs}")
        odd = sorted(key for key in expected | said if key != "codecs" and said.get(key) != expected.get(key))
        if odd or array.chunk[1:] != array.shape[1:]:
            raise CheckError(f"array {name} is described otherwise than mlipq does: {', '.join(odd) or 'chunk_shape'}")
        return array

    def metadata(self) -> bytes:
        """Return the array's ``zarr.json``."""
        return json.dumps(self._description(), sort_keys=True).encode()  # with an indent it takes six times as long

    def _description(self) -> dict[str, Any]:
        serializer: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
        if self.dtype == "str":
            serializer = {"name": "vlen-utf8", "configuration": {}}
        elif self.itemsize == 1:
            serializer = {"name": "bytes"}
        blosc_settings = {
            "cname": CODEC,
            "clevel": LEVEL,
            "shuffle": SHUFFLE,
            "typesize": self.itemsize,
            "blocksize": 0,
        }
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": _DATA_TYPES[self.dtype],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": _FILL[self.dtype[0]],
            "codecs": [serializer, {"name": "blosc", "configuration": blosc_settings}, {"name": "crc32c"}],
            "attributes": self.attributes,
            "storage_transformers": [],
        }

    @property
    def numpy_dtype(self) -> np.dtype:
        """Of the array in memory: ``object`` for text."""
        return np.dtype(object if self.dtype == "str" else self.dtype)

    @cached_property
    def itemsize(self) -> int:
        """Bytes of a number; 1 for text."""
        return 1 if self.dtype == "str" else np.dtype(self.dtype).itemsize

    @property
    def n_chunks(self) -> int:
        """Chunks of the array, all along its rows."""
        return -(-self.shape[0] // self.chunk[0]) if math.prod(self.shape) else 0

    def chunk_key(self, number: int) -> str:
        """Return the name of a chunk below the array's own."""
        return f"c/{number}" + "/0" * (len(self.shape) - 1)

    def encode(self, values: NDArray, number: int) -> bytes:
        """Return chunk ``number`` of the array's values as bytes; the last is filled up to the shape of all."""
        rows = values[number * self.chunk[0] : (number + 1) * self.chunk[0]]
        if len(rows) < self.chunk[0]:
            missing = (self.chunk[0] - len(rows), *self.chunk[1:])
            rows = np.concatenate([rows, np.full(missing, _FILL[self.dtype[0]], rows.dtype)])
        if self.dtype == "str":
            raw = _TEXT.encode(rows.ravel())
        else:
            raw = np.ascontiguousarray(rows, _little_endian(self.dtype))
        frame: bytes = blosc.compress(raw, CODEC.encode(), LEVEL, _SHUFFLES[SHUFFLE], typesize=self.itemsize)
        return frame + int(google_crc32c.value(frame)).to_bytes(_CRC_BYTES, "little")

    def decode(self, data: bytes | memoryview) -> NDArray:
        """Return a whole chunk, of shape :attr:`chunk`.

        Raises
        ------
        ValueError
            If its checksum is wrong, or it does not hold what the shape says.
        """
        view = memoryview(data)
        frame = bytes(view[:-_CRC_BYTES])
        if google_crc32c.value(frame) != int.from_bytes(view[-_CRC_BYTES:], "little"):
            raise ValueError("its checksum is wrong")
        n_values, claimed = math.prod(self.chunk), decoded_bytes(data)
        if self.dtype == "str":
            if claimed > MAX_CHUNK_BYTES:
                raise ValueError(f"a chunk should hold up to {MAX_CHUNK_BYTES} bytes, but claims {claimed}")
            raw = blosc.decompress(frame)
            if int.from_bytes(raw[:4], "little") != n_values:
                raise ValueError(f"a chunk should hold {n_values} texts, but holds {int.from_bytes(raw[:4], 'little')}")
            return np.asarray(_TEXT.decode(raw)).reshape(self.chunk)
        if claimed != n_values * self.itemsize:
            raise ValueError(f"a chunk should hold {n_values * self.itemsize} bytes, but claims {claimed}")
        values = np.empty(self.chunk, _little_endian(self.dtype))
        blosc.decompress(frame, values)
        return values

    def nothing(self) -> NDArray:
        """Return no rows of the array."""
        return np.empty((0, *self.shape[1:]), self.numpy_dtype)


def array_of(values: NDArray, chunk: tuple[int, ...], attributes: dict[str, Any]) -> ZarrArray:
    """Return the layout in which these values are to be stored."""
    return ZarrArray(values.shape, chunk, dtype_name(values.dtype), attributes)


def group_metadata(attributes: dict[str, Any]) -> bytes:
    """Return the ``zarr.json`` of a group."""
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, sort_keys=True).encode()


def decoded_bytes(data: bytes | memoryview) -> int:
    """Return the decoded size that a chunk's Blosc frame claims, if the frame is whole: Blosc would read past its end."""
    decoded, _, encoded = _FRAME.unpack_from(data)
    if encoded != len(data) - _CRC_BYTES:
        raise ValueError(f"a chunk of {len(data) - _CRC_BYTES} bytes claims to have {encoded}")
    return int(decoded)


def _same_codecs(found: list[Any], expected: list[Any]) -> bool:
    """True where codecs are the same, but for what another writer may choose of Blosc."""
    if found == expected:
        return True
    if len(found) != len(expected) or [found[0], *found[2:]] != [expected[0], *expected[2:]]:
        return False
    settings = found[1].get("configuration") if isinstance(found[1], dict) else None
    if not isinstance(settings, dict) or any(settings.get(key) not in of for key, of in _BLOSC_CHOICES.items()):
        return False
    chosen = {key: settings[key] for key in _BLOSC_CHOICES}
    return bool(found[1] == {**expected[1], "configuration": {**expected[1]["configuration"], **chosen}})


def _little_endian(dtype: str) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")
