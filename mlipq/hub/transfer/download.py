"""One file, from the first of its mirrors that gives it whole: resumed inside, hashed before it gets its name."""

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mlipq.errors import MlipqError
from mlipq.hub.transfer.remote import RemoteFile, TransferError, timeout_seconds
from mlipq.store import sha256_file, sync_folder, unwritable
from mlipq.store.manifest import FileEntry

WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds between rounds over the mirrors that brought no new bytes; half as long to as long again, by chance."""
LEAST_RATE = 1000.0
"""Bytes per second, over the time that a server may be silent: a mirror that is slower is left."""

Moved = Callable[[int, int], None]
"""Called with how much of the file is there, and how many bytes came since the last call."""


class StoppedError(MlipqError):
    """The download was asked to stop; what came so far is kept."""


def download(
    entry: FileEntry, sources: Sequence[RemoteFile], partial: Path, target: Path, moved: Moved, stop: threading.Event
) -> None:
    """Fetch a file and put it under its name, once its size and SHA-256 are those of the manifest.

    Parameters
    ----------
    entry
        What it should be.
    sources
        Mirrors, the first first.
    partial
        Where bytes are gathered; what is there already is gone on from.
    target
        Final name, on the same file system.
    moved
        Called as bytes come.
    stop
        Set by another thread to stop.

    Raises
    ------
    TransferError
        If no mirror gives it; says what was expected and what came, mirror by mirror. ``wrong`` where one gave other bytes.
    IncompleteError, InputError
        If the disk is full, or cannot be written to.
    StoppedError
        If it was told to stop.
    """
    usable = list(sources)
    said: dict[str, TransferError] = {}
    furthest = _size(partial)
    waits = iter(WAITS)
    while usable:
        before = furthest
        for source in list(usable):
            try:
                _fetch(entry, source, partial, target, moved, stop)
                return
            except TransferError as error:
                said[source.name] = error
                if error.lasting:
                    usable.remove(source)
            except OSError as error:
                raise unwritable(target, error) from error
            furthest = max(furthest, _size(partial))
        if furthest > before:  # a server that cuts off after every so many bytes still gets there
            waits = iter(WAITS)
            continue
        wait = next(waits, None)
        if wait is None:
            break
        if stop.wait(wait * random.uniform(0.5, 1.5)):
            raise StoppedError("stopped")
    mirrors = "; ".join(map(str, said.values()))
    raise TransferError(f"{entry.file}: {mirrors}", wrong=any(error.wrong for error in said.values()))


def read_bytes(source: RemoteFile, most: int) -> bytes:
    """Return a small file.

    Raises
    ------
    TransferError
        If it does not come, or is larger than ``most`` bytes.
    """
    for wait in (*WAITS, None):
        try:
            with source.stream() as reply:
                data = bytearray()
                for block in reply.blocks:
                    data += block
                    if len(data) > most:
                        message = f"{source.name}: expected at most {most:,} bytes, but there are more; it was not read"
                        raise TransferError(message, lasting=True, wrong=True)
                if reply.size in (None, len(data)):
                    return bytes(data)
                raise TransferError(f"{source.name}: expected {reply.size:,} bytes, got {len(data):,}")
        except TransferError as error:
            if error.lasting or wait is None:
                raise
            time.sleep(wait * random.uniform(0.5, 1.5))
    raise AssertionError


def _fetch(
    entry: FileEntry, source: RemoteFile, partial: Path, target: Path, moved: Moved, stop: threading.Event
) -> None:
    start = _size(partial)
    if start != entry.bytes or not partial.exists():
        start = _append(entry, source, partial, start if start < entry.bytes else 0, moved, stop)
    found = sha256_file(partial)
    if found != entry.sha256:
        partial.unlink()
        moved(0, 0)
        raise TransferError(
            f"{source.name}: expected sha256 {entry.sha256[:16]}…, got {found[:16]}…; the bytes were thrown away",
            lasting=start == 0,  # else the damage may be in what was there before
            wrong=True,
        )
    partial.replace(target)
    sync_folder(target.parent)


def _append(
    entry: FileEntry, source: RemoteFile, partial: Path, start: int, moved: Moved, stop: threading.Event
) -> int:
    """Fetch the rest of a file; return from which byte on it came."""
    with source.stream(start) as reply:
        if stop.is_set():  # it was while the server was silent: another pull may be writing there by now
            raise StoppedError("stopped")
        if reply.size not in (None, entry.bytes):
            raise _other_size(entry, source, f"{reply.size:,}")
        with open(partial, "r+b" if partial.exists() else "xb") as file:
            file.seek(reply.start)
            file.truncate()
            position = reply.start
            watch = _Watch(source)
            for block in reply.blocks:
                if stop.is_set():
                    raise StoppedError("stopped")
                position += len(block)
                if position > entry.bytes:
                    raise _other_size(entry, source, "more")
                file.write(block)
                watch.came(len(block))
                moved(position, len(block))
            file.flush()
            os.fsync(file.fileno())
    if position < entry.bytes:
        raise TransferError(f"{source.name}: expected {entry.bytes:,} bytes, got {position:,}: cut off")
    return reply.start


class _Watch:
    """Gives up a mirror that sends next to nothing."""

    def __init__(self, source: RemoteFile) -> None:
        self._source = source
        self._window = timeout_seconds()
        self._start, self._bytes = time.monotonic(), 0

    def came(self, n_bytes: int) -> None:
        self._bytes += n_bytes
        seconds = time.monotonic() - self._start
        if seconds > self._window:
            if self._bytes < LEAST_RATE * seconds:
                raise TransferError(
                    f"{self._source.name}: only {self._bytes:,} bytes came in {seconds:.0f} s: too slow"
                )
            self._start, self._bytes = time.monotonic(), 0


def _other_size(entry: FileEntry, source: RemoteFile, got: str) -> TransferError:
    message = f"{source.name}: expected {entry.bytes:,} bytes, as the manifest says, got {got}"
    return TransferError(message, lasting=True, wrong=True)


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0
