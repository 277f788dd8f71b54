"""Run independent tasks on a Dask cluster, or one after the other; it knows tasks, not chemistry.

Dask moves task descriptions out and short summaries back: a few futures for each worker are under way at a time, and
nothing heavy is in the graph.
"""

import logging
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Protocol

from mlipq.errors import MlipqError

if TYPE_CHECKING:
    from distributed import Client, Future

FUTURES_PER_WORKER = 4
ATTEMPTS = 3
"""A task whose worker died this often is given up in this round."""

TOPIC = "mlipq-progress"

DASK_SETTINGS = {
    "distributed.scheduler.work-stealing-interval": "100ms",  # the least partitions take a quarter of a second
    "distributed.worker.profile.enabled": False,  # 100 times a second it would see the worker wait for its child
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
}
"""With Dask's defaults, looking on takes 3 to 4 % of the cores that are to label."""

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
        """Do it; return a short summary. ``report`` takes small dicts about progress."""
        ...


class TaskError(Exception):
    """A task failed; the message is its own."""


def run_serially(tasks: Sequence[Task], report: Report) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Run tasks one after the other in this process, skipping what is done."""
    for task in tasks:
        if not task.done():
            yield task, task.run(report)


def run_on_cluster(
    tasks: Sequence[Task], client: "Client", workers: int, report: Report
) -> Iterator[tuple[Task, dict[str, Any] | Exception]]:
    """Run tasks on a Dask cluster, in the order given, skipping what is done.

    Parameters
    ----------
    tasks
        Longest first finishes soonest.
    client
        A connected client.
    workers
        The most workers that the cluster may ever have: adaptive scaling sees no more than is queued.
    report
        Gets what the tasks report while they run.

    Yields
    ------
    task, outcome
        As tasks finish: the summary, or the exception that ended it.
    """
    from distributed import as_completed

    waiting = deque(task for task in tasks if not task.done())
    deaths: Counter[str] = Counter()
    running: dict[Future, Task] = {}
    client.subscribe_topic(TOPIC, lambda event: report(event[1]))
    finished = as_completed(loop=client.loop)

    def submit(task: Task) -> None:
        future = client.submit(_run, task, key=f"{task.id}-{deaths[task.id]}", pure=False)
        running[future] = task
        finished.add(future)

    try:
        while waiting or running:
            while waiting and len(running) < workers * FUTURES_PER_WORKER:
                submit(waiting.popleft())
            future = next(finished)
            task = running.pop(future)
            error = future.exception()
            if error is None:
                summary = future.result()
                yield task, TaskError(summary["error"]) if "error" in summary else summary
            elif _worker_died(error) and deaths[task.id] + 1 < ATTEMPTS:
                deaths[task.id] += 1
                submit(task)
            else:
                yield task, error
    finally:
        client.cancel(list(running), force=True)
        client.unsubscribe_topic(TOPIC)


def _run(task: Task) -> dict[str, Any]:
    """Run one task in a worker."""
    from distributed import get_worker

    worker = get_worker()
    try:
        return task.run(lambda message: worker.log_event(TOPIC, message))
    except MlipqError as error:  # explains itself; Dask would log a traceback
        return {"error": str(error)}


def _worker_died(error: BaseException) -> bool:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    return isinstance(error, (KilledWorker, FutureCancelledError))


@contextmanager
def local_cluster(workers: int) -> Iterator["Client"]:
    """Start a Dask cluster on this machine: processes with one thread each, on the loopback interface only.

    Parameters
    ----------
    workers
        How many processes.
    """
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what happens to a task, its outcome tells
    sys.warnoptions.append("ignore:resource_tracker")  # of the semaphores of workers that were killed
    with ExitStack() as stack:
        stack.enter_context(_main_not_imported())
        stack.enter_context(dask.config.set(DASK_SETTINGS))
        with _interrupts_spared():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # the labeling child has a limit of its own
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextmanager
def _main_not_imported() -> Iterator[None]:
    """Keep workers from running the user's script again: they need nothing of it, and it may lack a main guard."""
    main = sys.modules["__main__"]
    file, spec = vars(main).pop("__file__", None), main.__spec__
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


@contextmanager
def _interrupts_spared() -> Iterator[None]:
    """Keep SIGINT from all threads and processes started meanwhile: a Ctrl-C in the terminal is for the client to handle."""
    resource_tracker.ensure_running()  # its own start would let SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def core_count() -> int:
    """Cores that this process may use, within its affinity and control group."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)
