"""Run independent tasks on a Dask cluster, or one after the other; it knows tasks, not chemistry.

Dask moves task descriptions out and short summaries back: a few futures for each worker are under way at a time, and
nothing heavy is in the graph. What happens to a worker is no task's fault: the task goes to another one.
"""

import itertools
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from mlipq.errors import IncompleteError, MlipqError, WorkerError
from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.health import LOOK_SECONDS, Health, RunWatcher

if TYPE_CHECKING:
    from distributed import Future

FUTURES_PER_WORKER = 4
ATTEMPTS = 3
"""A task whose worker died this often is given up in this round."""
SCHEDULER_PATIENCE = 60.0
"""Seconds that a scheduler may be out of reach."""

TOPIC = "mlipq-progress"

Report = Callable[[dict[str, Any]], None]


class Task(Protocol):
    """A unit of work that is either done or not, and may be run twice without harm."""

    @property
    def id(self) -> str:
        """Unique among the tasks of one run."""
        ...

    def done(self) -> bool:
        """True where nothing is left to do."""
        ...

    def run(self, report: Report) -> dict[str, Any]:
        """Do it; return a short summary. ``report`` takes small dicts about progress.

        Raises :class:`~mlipq.errors.WorkerError` where this machine, not the task, is at fault.
        """
        ...


class TaskError(Exception):
    """A task failed; the message is its own."""


class _WorkerDied(Exception):
    """A task's worker died, or the scheduler forgot the task."""


class _WorkerKilled(_WorkerDied):
    """Several workers died while they had this task, and perhaps because of it."""


Outcome = dict[str, Any] | Exception
"""A task's summary, or what ended it."""


def run_serially(tasks: Sequence[Task], report: Report) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Run tasks one after the other in this process, skipping what is done."""
    for task in tasks:
        if not task.done():
            yield task, task.run(report)


def run_on_cluster(tasks: Sequence[Task], cluster: Cluster, watcher: RunWatcher) -> Iterator[tuple[Task, Outcome]]:
    """Run tasks on a cluster, in the order given, skipping what is done.

    Parameters
    ----------
    tasks
        Longest first finishes soonest.
    cluster
        Where. Adaptive scaling sees no more tasks than are queued: some for each worker that there may ever be.
    watcher
        Hears what the tasks report, how many workers there are, and which are set aside.

    Yields
    ------
    task, outcome
        As tasks finish: the summary, or the exception that ended it.

    Raises
    ------
    IncompleteError
        If the scheduler is gone, no worker is left, or none ever comes.
    """
    run = _Run(tasks, cluster, watcher)
    cluster.client.subscribe_topic(TOPIC, lambda event: watcher.progress(event[1]))
    try:
        yield from run.outcomes()
    finally:
        run.stop()


class _Run:
    """The tasks of one call, where they are."""

    def __init__(self, tasks: Sequence[Task], cluster: Cluster, watcher: RunWatcher) -> None:
        self._waiting = deque(tasks)
        # Those whose workers died: tried last, one at a time, so that none is blamed for another.
        self._suspects: deque[Task] = deque()
        self._running: dict[Future, Task] = {}
        self._ended: SimpleQueue[Future] = SimpleQueue()
        self._number = itertools.count()
        self._deaths: Counter[str] = Counter()
        self._client = cluster.client
        self._address = cluster.client.scheduler.address
        self._health = Health(cluster, watcher)

    def outcomes(self) -> Iterator[tuple[Task, Outcome]]:
        while self._waiting or self._suspects or self._running:
            self._submit()
            if not self._running:  # all that waited was done
                return
            ended = self._next()
            if ended:
                yield from self._outcomes_of(ended)
            else:
                self._require_scheduler()
                self._health.look()

    def stop(self) -> None:
        """Take back what was not done."""
        if self._client.status == "running":
            self._client.cancel(list(self._running), force=True)
            self._client.unsubscribe_topic(TOPIC)

    def _submit(self) -> None:
        room = self._health.most() * FUTURES_PER_WORKER - len(self._running)
        tasks = list(itertools.islice(self._undone(), max(room, 0)))
        if not tasks and not self._running and self._suspects:
            tasks = [self._suspects.popleft()]
        if not tasks:
            return
        keys = [f"{task.id}-{next(self._number)}" for task in tasks]  # each once: Dask would give an old result again
        for future, task in zip(self._client.map(_run, tasks, key=keys, pure=False), tasks, strict=True):
            self._running[future] = task
            future.add_done_callback(self._ended.put)

    def _undone(self) -> Iterator[Task]:
        """Take waiting tasks, but for those that are done: by an earlier run, or by another one meanwhile."""
        while self._waiting:
            task = self._waiting.popleft()
            if self._deaths[task.id] or not task.done():  # of one whose result was lost, the summary is still wanted
                yield task

    def _next(self) -> "list[Future]":
        """Wait a moment for what ends next, and take everything that has."""
        ended: list[Future] = []
        try:
            ended.append(self._ended.get(timeout=LOOK_SECONDS))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            return ended

    def _outcomes_of(self, ended: "list[Future]") -> Iterator[tuple[Task, Outcome]]:
        summaries = self._summaries([future for future in ended if future.status == "finished"])
        for future in ended:
            task = self._running.pop(future)
            settled = self._settle(task, summaries.get(future) or _error(future))
            if settled is not None:
                yield task, settled

    def _summaries(self, finished: "list[Future]") -> "dict[Future, dict[str, Any]]":
        """Gather results in one go: one by one, each would be a journey through the scheduler."""
        try:
            return dict(zip(finished, self._client.gather(finished)))
        except (OSError, CancelledError):  # a worker or the scheduler is gone with them
            return {}

    def _settle(self, task: Task, outcome: Outcome) -> Outcome | None:
        """Return what is final; a task that its worker failed waits again, as the next one."""
        if isinstance(outcome, dict):
            if "worker_failed" in outcome:
                self._health.strike(**outcome)
                self._waiting.appendleft(task)
                return None
            self._health.well(outcome.pop("worker"))
            return TaskError(outcome["error"]) if "error" in outcome else outcome
        self._require_scheduler()
        blameless = isinstance(outcome, _WorkerDied | ImportError)  # a worker that came later may lack something
        return self._again(task, outcome) if blameless else outcome

    def _again(self, task: Task, error: Exception) -> Exception | None:
        self._deaths[task.id] += 1
        if self._deaths[task.id] >= ATTEMPTS:
            return error
        (self._suspects if isinstance(error, _WorkerKilled) else self._waiting).append(task)
        return None

    def _require_scheduler(self) -> None:
        """Wait for a scheduler that is out of reach, but not for ever.

        Raises
        ------
        IncompleteError
            If it does not come back.
        """
        deadline = time.monotonic() + SCHEDULER_PATIENCE
        while self._client.status != "running":
            if self._client.status == "closed" or time.monotonic() > deadline:
                raise IncompleteError(
                    f"the scheduler at {self._address} is gone; what is done is kept. "
                    "Start it again if it is your own, and run the same command to go on"
                )
            time.sleep(LOOK_SECONDS / 10)


def _run(task: Task) -> dict[str, Any]:
    """Run one task in a worker."""
    from distributed import get_worker

    worker = get_worker()
    here = {"worker": worker.address}
    try:
        return {**task.run(lambda message: worker.log_event(TOPIC, message)), **here}
    except WorkerError as error:
        return {
            "worker_failed": str(error),
            **here,
            "name": worker.name,
            "host": f"{socket.gethostname()}, process {os.getpid()}",
        }
    except MlipqError as error:  # explains itself; Dask would log a traceback
        return {"error": str(error), **here}


def _error(future: "Future") -> Exception:
    """Return what ended a task that has no summary."""
    from distributed import KilledWorker

    if future.status != "error":
        return _WorkerDied("its worker is gone")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return _WorkerKilled(f"its worker died, as three others did that tried it: {error.last_worker.address}")
    return error if isinstance(error, Exception) else RuntimeError(str(error))
