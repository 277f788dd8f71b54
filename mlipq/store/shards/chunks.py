"""Decoded chunks that were used last: a chunk holds many structures, and is not to be decoded again for each."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable

from numpy.typing import NDArray

CACHE_BYTES = 64 << 20
"""What one dataset keeps of decoded chunks."""


class ChunkCache:
    """Arrays by key, those used last, up to :data:`CACHE_BYTES` in all."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[Hashable, NDArray] = OrderedDict()
        self._n_bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._chunks

    def get(self, key: Hashable, read: Callable[[], NDArray]) -> NDArray:
        """Return the chunk of this key, read if it is not here."""
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = self._chunks[key] = read()
            self._n_bytes += _size(chunk)
            while self._n_bytes > CACHE_BYTES:
                self._n_bytes -= _size(self._chunks.popitem(last=False)[1])
        else:
            self._chunks.move_to_end(key)
        return chunk


def _size(chunk: NDArray) -> int:
    texts = sum(map(sys.getsizeof, chunk.flat)) if chunk.dtype == object else 0
    return chunk.nbytes + texts
