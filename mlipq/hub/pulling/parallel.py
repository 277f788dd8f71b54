"""Several files at a time, each from its mirrors, with progress; what came stays, whatever ends the others."""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlipq.errors import CheckError, IncompleteError, MlipqError
from mlipq.hub.pulling import home
from mlipq.hub.refs import DatasetRef
from mlipq.hub.transfer.download import download
from mlipq.hub.transfer.remote import RemoteFile, TransferError
from mlipq.store import unwritable
from mlipq.store.manifest import FileEntry

Progress = Callable[[int, int], None]
"""Called every so often with the bytes that are there, and those that shall be."""

_TICK = 0.1
"""Seconds between calls of ``progress``."""


@dataclass(frozen=True)
class Job:
    """One file to be fetched into a version's folder, from the first of its sources that gives it."""

    entry: FileEntry
    folder: Path
    sources: list[RemoteFile]

    @property
    def partial(self) -> Path:
        """Where its bytes are gathered."""
        return home.partial_of(self.folder, self.entry)

    def run(self, meter: "_Meter", stop: threading.Event) -> None:
        """Fetch it."""
        target = self.folder / self.entry.file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(target, error) from error
        download(self.entry, self.sources, self.partial, target, partial(meter.at, self.entry.file), stop)


def fetch_all(ref: DatasetRef, jobs: Sequence[Job], workers: int, progress: Progress) -> int:
    """Fetch files, several at a time; return how many bytes came.

    Raises
    ------
    CheckError
        If some are not what the manifest says.
    IncompleteError
        If some did not come, or the disk has no room for them.
    InputError
        If they cannot be written.
    """
    if not jobs:
        return 0
    meter = _Meter(jobs)
    to_come, room = meter.total - meter.done, home.free_bytes(jobs[0].folder)
    if to_come > room:
        raise IncompleteError(
            f"{ref}: {to_come:,} bytes are to come, but {jobs[0].folder} has room for {room:,}. Free some space, or pull less "
            "with --shards, and run the same command again."
        )
    failures = []
    with closing(_ended(jobs, workers, meter, progress)) as ended:
        for error in ended:
            if isinstance(error, TransferError):
                failures.append(error)
            elif error is not None:
                raise error
    if failures:
        raise _failed(ref, failures, len(jobs))
    return meter.moved


class _Meter:
    """How much is there, file by file, and how much came."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._lock = threading.Lock()
        self._positions = {job.entry.file: home.size_of(job.partial) for job in jobs}
        self.total = sum(job.entry.bytes for job in jobs)
        self.moved = 0

    def at(self, file: str, position: int, came: int) -> None:
        with self._lock:
            self._positions[file] = position
            self.moved += came

    @property
    def done(self) -> int:
        with self._lock:
            return sum(self._positions.values())


def _ended(
    jobs: Sequence[Job], workers: int, meter: _Meter, progress: Progress
) -> Generator[BaseException | None, None, None]:
    """Run jobs in threads; yield for each how it ended. Left early, the threads stop soon and keep nobody waiting."""
    todo: queue.SimpleQueue[Job] = queue.SimpleQueue()
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                job = todo.get_nowait()
            except queue.Empty:
                return
            try:
                job.run(meter, stop)
                ended.put(None)
            except BaseException as error:  # whatever it is, the caller has to know
                ended.put(error)

    for job in jobs:
        todo.put(job)
    # daemons: one that waits for a silent server does not hold up Ctrl-C
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        left = len(jobs)
        while left:
            progress(meter.done, meter.total)
            with suppress(queue.Empty):
                error = ended.get(timeout=_TICK)
                left -= 1
                yield error
        progress(meter.done, meter.total)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=_TICK)


def _failed(ref: DatasetRef, failures: Sequence[TransferError], n_files: int) -> MlipqError:
    lines = [f"{ref}: {len(failures)} of {n_files} files did not come:", *(f"  {error}" for error in failures)]
    if any(error.wrong for error in failures):
        kept = "What came right is kept. What is there is not what was published: tell who publishes it, or pull from elsewhere."
        return CheckError("\n".join([*lines, kept]))
    return IncompleteError("\n".join([*lines, "What came is kept; the same command goes on from there."]))
