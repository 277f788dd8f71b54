"""What can be looked at while tasks run: a JSON status file, and a log of each worker."""

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from mlipq.errors import InputError
from mlipq.labeling.health import RunWatcher
from mlipq.store import commit_json

if TYPE_CHECKING:
    from distributed import Client, Worker

WRITE_SECONDS = 5.0


class StatusFile(RunWatcher):
    """A JSON file that says how far a run of tasks is; it is replaced every few seconds, whole at all times.

    Parameters
    ----------
    path
        The file.
    tasks
        How many there are to do.
    dashboard
        Address of Dask's.
    onwards
        Hears everything, too.
    """

    def __init__(self, path: Path, tasks: int, dashboard: str, onwards: RunWatcher) -> None:
        self._path, self._onwards = path, onwards
        self._written = 0.0
        self._counts: Counter[str] = Counter()
        self._started = time.time()
        self._status: dict[str, Any] = {
            "started": _now(),
            "client": f"{socket.gethostname()}, process {os.getpid()}",
            "dashboard": dashboard,
            "tasks": tasks,
            "done": 0,
            "failed": 0,
            "workers": 0,
            "set_aside": [],
        }
        self._write("running")

    def progress(self, message: dict[str, Any]) -> None:
        """Add the numbers up."""
        self._counts.update({key: value for key, value in message.items() if isinstance(value, int | float)})
        self._write_sometimes()
        self._onwards.progress(message)

    def workers(self, count: int) -> None:
        """Note it."""
        self._status["workers"] = count
        self._onwards.workers(count)

    def set_aside(self, reason: str) -> None:
        """Note it."""
        self._status["set_aside"].append(reason)
        self._onwards.set_aside(reason)

    def ended(self, failed: bool) -> None:
        """Count a task that ended."""
        self._status["failed" if failed else "done"] += 1
        self._write_sometimes()

    def close(self, state: str) -> None:
        """Write it for the last time."""
        self._write(state)

    def _write_sometimes(self) -> None:
        if time.monotonic() - self._written > WRITE_SECONDS:
            self._write("running")

    def _write(self, state: str) -> None:
        self._written = time.monotonic()
        counts = {key: round(value, 3) for key, value in self._counts.items()}
        seconds = round(time.time() - self._started, 1)
        with suppress(Exception):  # a full disk stops the work where it matters, not here
            commit_json(
                self._path, {**self._status, "state": state, "updated": _now(), "seconds": seconds, "progress": counts}
            )


@contextmanager
def monitored(path: Path, tasks: int, dashboard: str, onwards: RunWatcher) -> Iterator[StatusFile]:
    """Keep a :class:`StatusFile` while tasks run; its ``state`` ends as ``done`` or ``incomplete``."""
    status = StatusFile(path, tasks, dashboard, onwards)
    try:
        yield status
    except BaseException:
        status.close("incomplete")
        raise
    status.close("done")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class WorkerLog(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Lets each worker write what it and its tasks log into a file of its own, ``HOST-PROCESS.log``.

    Parameters
    ----------
    folder
        On the shared file system.
    """

    name = "mlipq-log"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, worker: "Worker") -> None:
        """Open the file, in the worker."""
        with suppress(OSError):  # a folder that is not here: the tasks will say so
            self.folder.mkdir(parents=True, exist_ok=True)
            handler = _Handler(self.folder / f"{socket.gethostname()}-{os.getpid()}.log", encoding="utf-8")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
            for name in ("distributed", "mlipq"):
                logger = logging.getLogger(name)
                logger.addHandler(handler)
                logger.setLevel(logging.INFO)
            logging.getLogger("mlipq").info("worker %s at %s begins", worker.name, worker.address)


class _Handler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Pass over a full disk: what could not be done for it says so itself."""


def log_workers(client: "Client", folder: Path) -> None:
    """Let all workers of a cluster, also those to come, write logs.

    Raises
    ------
    InputError
        If one of them cannot load this mlipq.
    """
    try:
        client.register_plugin(WorkerLog(folder))
    except Exception as error:  # of whatever class a worker's text of it is read back as
        raise InputError(
            f"a worker cannot load this mlipq: {error}. Install the same version on all of them; see which by: mlipq doctor with the same cluster"
        ) from None
