"""Shards read where they are: only the chunks that are asked for come, several ranges at a time."""

import hashlib
import os
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

from mlipq import store
from mlipq.errors import CheckError, InputError
from mlipq.hub.pulling.origin import Origin, fetch_manifest, origin_of
from mlipq.hub.pulling.wanted import shard_numbers, sources_of
from mlipq.hub.transfer.download import WAITS, read_bytes
from mlipq.hub.transfer.locations import shown
from mlipq.hub.transfer.remote import RemoteFile, TransferError
from mlipq.hub.transfer.transport import Transport
from mlipq.store import Dataset, Manifest
from mlipq.store.shards.source import ByteSource, Range

CONNECTIONS = 8
"""Ranges that are asked for at once."""
GAP = 16_384
"""Ranges with no more bytes than this between them come as one: a request costs about as much."""


def stream_dataset(where: str, shards: Sequence[int] | str | None, offline: bool) -> Dataset:
    """Open a dataset where it is, without pulling it; see :func:`mlipq.hub.open_dataset`."""
    origin = origin_of(where, offline)
    if origin.unreachable:
        raise InputError(f"{where}: {origin.unreachable}; nothing can be streamed. Open it without stream=True")
    with Transport(origin.location) as transport:
        _, manifest, _ = fetch_manifest(origin, transport)
    numbers = set(shard_numbers(shards, manifest))
    chosen, missing = (
        [entry for number, entry in enumerate(manifest.shards) if (number in numbers) is wanted]
        for wanted in (True, False)
    )
    openers: list[Callable[[], ByteSource]] = [
        _Opener(entry.bytes, entry.sha256, tuple(sources_of(origin.location, entry)), origin.location)
        for entry in chosen
    ]
    manifest = manifest.model_copy(update={"shards": chosen})
    read_file = partial(_read_file, origin, manifest)
    return store.streamed_dataset(manifest, shown(origin.location), openers, read_file, missing)


@dataclass(frozen=True)
class _Opener:
    """Opens one shard, in this process or, sent there, in another."""

    size: int
    sha256: str
    locations: tuple[str, ...]
    named: str

    def __call__(self) -> "StreamedFile":
        transport = _transport(self.named, os.getpid())
        return StreamedFile(self.size, self.sha256, [transport.open(location) for location in self.locations])


@lru_cache(maxsize=8)
def _transport(named: str, process: int) -> Transport:
    """Return connections that the shards of a dataset share; those of another process are left alone."""
    return Transport(named, CONNECTIONS)


class StreamedFile:
    """A file of a dataset on one or more servers, as a :class:`~mlipq.store.shards.source.ByteSource`.

    What comes is not hashed: the shard's own checksums find damage. A file that has another size than the manifest says, or
    changes between two requests, is refused.

    Parameters
    ----------
    size
        Bytes in all, as the manifest says.
    version
        Differs for another file: the SHA-256 of the manifest.
    mirrors
        Where it is; the first that answers serves.
    """

    def __init__(self, size: int, version: Hashable, mirrors: Sequence[RemoteFile]) -> None:
        self.name = mirrors[0].name
        self.size = size
        self.version = version
        self._mirrors = mirrors

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop``.

        Raises
        ------
        TransferError
            If no mirror sends them.
        """
        said: dict[str, TransferError] = {}
        for wait in (*WAITS, None):
            usable = [mirror for mirror in self._mirrors if not (mirror.name in said and said[mirror.name].lasting)]
            for mirror in usable:
                try:
                    return self._read_from(mirror, start, stop)
                except TransferError as error:
                    said[mirror.name] = error
            if wait is None or all(error.lasting for error in said.values()):
                break
            time.sleep(wait * random.uniform(0.5, 1.5))
        raise TransferError("; ".join(map(str, said.values())))

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return several ranges, in the order asked for; near ones come as one, and several at a time."""
        spans = merged(ranges)
        if len(spans) < 2:
            blocks = [self.read(*span) for span in spans]
        else:
            with ThreadPoolExecutor(min(CONNECTIONS, len(spans))) as threads:
                blocks = list(threads.map(lambda span: self.read(*span), spans))
        return [_cut(spans, blocks, start, stop) for start, stop in ranges]

    def close(self) -> None:
        """Nothing is kept open but connections, which other shards use."""

    def _read_from(self, mirror: RemoteFile, start: int, stop: int) -> bytes:
        with mirror.stream(start, stop) as reply:
            if reply.size not in (None, self.size):
                raise TransferError(
                    f"{mirror.name}: expected {self.size:,} bytes, as the manifest says, got {reply.size:,}",
                    lasting=True,
                )
            data = bytearray()
            if reply.start == start:
                for block in reply.blocks:
                    data += block
                    if len(data) > stop - start:
                        break
        if reply.start != start or len(data) > stop - start:
            raise TransferError(
                f"{mirror.name}: expected bytes {start:,} to {stop:,}, got the whole file: the server knows no ranges, or the "
                "file has changed. Pull the dataset instead",
                lasting=True,
            )
        if len(data) < stop - start:
            raise TransferError(f"{mirror.name}: expected {stop - start:,} bytes from {start:,} on, got {len(data):,}")
        return bytes(data)


def merged(ranges: Sequence[Range]) -> list[Range]:
    """Return the ranges, ascending, with those made one that overlap or lie less than :data:`GAP` bytes apart."""
    spans: list[Range] = []
    for start, stop in sorted(ranges):
        if spans and start <= spans[-1][1] + GAP:
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        else:
            spans.append((start, stop))
    return spans


def _cut(spans: Sequence[Range], blocks: Sequence[bytes], start: int, stop: int) -> bytes:
    number = bisect_right(spans, start, key=lambda span: span[0]) - 1
    first = spans[number][0]
    return blocks[number][start - first : stop - first]


def _read_file(origin: Origin, manifest: Manifest, file: str) -> bytes:
    """Return a file of the dataset that is not a shard: a split, a document."""
    entry = next(entry for entry in (*manifest.splits.values(), *manifest.documents) if entry.file == file)
    (location,) = sources_of(origin.location, entry)
    with Transport(origin.location) as transport:
        data = read_bytes(transport.open(location), entry.bytes)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise CheckError(
            f"{shown(location)}: expected sha256 {entry.sha256[:16]}…, got other bytes; they were not used"
        )
    return data
