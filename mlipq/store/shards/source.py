"""Where the bytes of a shard come from: a file on the disk, or somewhere far away."""

import os
import weakref
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Protocol

Range = tuple[int, int]
"""First byte, and the one after the last."""


class ByteSource(Protocol):
    """Bytes of one immutable file, read by ranges.

    Threads may share a source. What cannot be read is an :class:`~mlipq.errors.MlipqError` or an ``OSError``; fewer bytes than were
    asked for are never returned.

    Attributes
    ----------
    name
        What messages call it: a path, or a URL without credentials.
    size
        Bytes in all.
    version
        Differs where another file has taken the place of this one: chunks are kept by name and version.
    """

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def version(self) -> Hashable: ...

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop``, which lie within the file."""

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return several ranges, in the order asked for: a source far away merges neighbours and asks for many at once."""

    def close(self) -> None:
        """Release what the source holds."""


class LocalFile:
    """A file on the disk as a :class:`ByteSource`.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._descriptor = os.open(path, os.O_RDONLY)
        # a dataset keeps its files open as long as it lives; a file object would warn of that, whenever it is collected
        self._closing = weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        self.version: Hashable = status.st_ino, status.st_mtime_ns

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop``; the file's one position, which threads would share, stays where it is."""
        data = os.pread(self._descriptor, stop - start, start)
        if len(data) < stop - start:
            raise OSError(f"bytes {start} to {stop} were asked for, but only {len(data)} came: the file is cut off")
        return data

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return several ranges, in the order asked for."""
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        """Close the file."""
        self._descriptor = -1  # the number goes to the next file that the process opens
        self._closing()
