"""A suite from its YAML to all results: prepare, check, then pretraining, tuning and runs; going on where it was stopped."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from mlipq.bench.checks import settled_suite
from mlipq.bench.plan import PRETRAINING, RUNS, TRIALS, BenchRun, plan_pretraining, plan_runs
from mlipq.bench.prepared import Prepared, prepare_dataset
from mlipq.bench.results import RESULTS, Result, read_result, result_path
from mlipq.bench.suite import Suite, TrialSettings
from mlipq.bench.tasks import RunTask, TrainTask, refuse_other_result
from mlipq.bench.todo import Todo, tuned
from mlipq.errors import IncompleteError, InputError, MlipqError
from mlipq.labeling.clusters import Place, Profile
from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.clusters.profile import LocalProfile
from mlipq.labeling.health import RunWatcher
from mlipq.labeling.runner import Report, run_on_cluster, run_serially
from mlipq.store import unwritable
from mlipq.store.commit import TEMPORARY_PREFIX
from mlipq.training.runs.preparation import prepare

if TYPE_CHECKING:
    from distributed import Client

_LOCK = ".lock"


class Watcher(RunWatcher):
    """Hears of a suite's progress; the base class says nothing. The command line draws it."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Of so many structures, ``done`` are ready."""

    def note(self, message: str) -> None:
        """What was left out, and why."""

    def planned(self, stage: str, todo: Sequence[BenchRun], done: int) -> None:
        """A stage begins; so many of its runs were done before."""

    def progress(self, message: dict[str, Any]) -> None:
        """What a run tells while it trains: ``run``, ``steps`` and ``cost`` since it told last, ``kept`` from an earlier sitting."""

    def finished(self, run: BenchRun, summary: dict[str, Any]) -> None:
        """A run is done."""

    def failed(self, run: BenchRun, error: Exception) -> None:
        """A run cannot be done; the others go on."""

    def nothing_to_do(self) -> None:
        """Everything was there before."""


def run_suite(
    suite: Suite,
    folder: str | Path,
    workers: int | None = None,
    client: "Client | None" = None,
    watcher: Watcher | None = None,
    cluster: Profile | None = None,
) -> list[Result]:
    """Run everything of a suite that is not done yet.

    Parameters
    ----------
    suite
        As :func:`~mlipq.bench.suite.read_suite` gives it.
    folder
        Of its data, runs and results. Calling again goes on where an earlier call stopped; a suite that has more sizes, seeds or modes
        since then runs only those.
    workers
        Runs at a time; by default as many as there are cores for, each having the threads that the suite says, one by default. A
        single one needs no cluster: it works in this process.
    client
        A Dask client; by default a cluster is started on this machine.
    watcher
        Hears of progress.
    cluster
        Where to run; by default on this machine.

    Returns
    -------
    list[Result]
        Of all runs of the suite.

    Raises
    ------
    InputError
        If the dataset, or what is asked of it, cannot be; nothing is trained then. Or if another process runs a suite in the folder.
    IncompleteError
        If it was interrupted, or runs failed; the others are done.
    """
    watcher = watcher or Watcher()
    place = Place(cluster or LocalProfile(), workers, client)
    place.check()
    with _prepared(suite, Path(folder).absolute(), watcher) as (suite, prepared):
        todo = Todo.of(suite, prepared)
        stages = _Stages(suite, prepared, place, watcher)
        with stages.running():
            stages.train("pretraining", todo.pretraining)
            stages.train("tuning", todo.trials)
            runs = plan_runs(suite, prepared, tuned(suite, prepared))
            stages.measure(runs)
        if not stages.did:
            watcher.nothing_to_do()
        return [read_result(result_path(prepared.folder, run.id)) for run in runs]


def check_suite(suite: Suite, folder: str | Path, watcher: Watcher | None = None) -> list[BenchRun]:
    """Prepare a suite and check all of it; train nothing.

    Parameters and errors as for :func:`run_suite`.

    Returns
    -------
    list[BenchRun]
        What there is to train: pretraining, trials and runs that are not done.
    """
    with _prepared(suite, Path(folder).absolute(), watcher or Watcher()) as (suite, prepared):
        todo = Todo.of(suite, prepared)
        tasks = [TrainTask(run) for run in (*todo.pretraining, *todo.trials)]
        return [*(task.bench_run for task in tasks if not task.done()), *todo.runs]


@contextmanager
def _prepared(suite: Suite, folder: Path, watcher: Watcher) -> Iterator[tuple[Suite, Prepared]]:
    """Make the data of a suite, and prepare one run of each kind and mode that is not done: what cannot be trained comes up here."""
    suite = settled_suite(suite)
    with _alone(folder):
        prepared = prepare_dataset(suite, folder, watcher.preparing)
        for note in prepared.notes:
            watcher.note(note)
        _refuse_other_results(suite, prepared)
        _sweep(folder)
        todo = Todo.of(suite, prepared)
        for runs in (todo.pretraining, todo.trials, todo.runs):
            for run in {run.mode.name: run for run in reversed(runs)}.values():
                prepare(run.config.model_copy(update={"start_from": ""}), watcher.preparing)  # which is made later
        yield suite, prepared


def _refuse_other_results(suite: Suite, prepared: Prepared) -> None:
    """Refuse a folder with results of other settings or data, before anything that they follow from is made anew.

    Which trial tuning takes is not known yet: the settings of any may be those of a result.
    """
    trials = suite.tuning.trials if suite.tuning else dict.fromkeys(suite.modes, (TrialSettings(),))
    possible: dict[str, set[str]] = {}
    for chosen in zip(*trials.values(), strict=True):
        for run in plan_runs(suite, prepared, dict(zip(trials, chosen))):
            possible.setdefault(run.id, set()).add(run.sha256)
    for name, hashes in possible.items():
        refuse_other_result(result_path(prepared.folder, name), hashes)


class _Stages:
    """What is done one after the other, and how."""

    def __init__(self, suite: Suite, prepared: Prepared, place: Place, watcher: Watcher) -> None:
        self.suite, self.prepared, self.place, self.watcher = suite, prepared, place, watcher
        self.did = False
        self._open = ExitStack()
        self._cluster: Cluster | None = None

    def train(self, stage: str, runs: Sequence[BenchRun]) -> None:
        """Train runs whose test errors nobody wants."""
        self._finish(stage, [TrainTask(run) for run in runs])

    def measure(self, runs: Sequence[BenchRun]) -> None:
        """Train runs and write their results."""
        suite = self.suite
        before = {(run.mode.name, run.seed): run for run in plan_pretraining(suite, self.prepared)}
        tasks = [
            RunTask(run, suite.name, suite.target, self.prepared, before.get((run.mode.name, run.seed))) for run in runs
        ]
        self._finish("training", tasks)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep one cluster for all stages, started when the first task needs it."""
        with self._open:
            yield

    def _finish(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        """Run what is not done.

        Raises
        ------
        IncompleteError
            If some could not be done, with what went wrong.
        """
        todo = [task for task in tasks if not task.done()]
        if not todo:
            return
        self.did = True
        self.watcher.planned(stage, [task.bench_run for task in todo], len(tasks) - len(todo))
        failed: dict[str, Exception] = {}
        for task, outcome in self._outcomes(todo):
            if isinstance(outcome, Exception):
                failed[task.id] = outcome
                self.watcher.failed(task.bench_run, outcome)
            else:
                self.watcher.finished(task.bench_run, outcome)
        if failed:
            reasons = "\n".join(f"  {name}: {error}" for name, error in list(failed.items())[:10])
            raise IncompleteError(
                f"{len(failed)} of {len(todo)} runs failed:\n{reasons}\nThe same command tries them again; all others are kept"
            )

    def _outcomes(self, tasks: Sequence[TrainTask]) -> Iterator[tuple[TrainTask, dict[str, Any] | Exception]]:
        threads = self.suite.training.threads or 1
        if self.place.is_here and self.place.local_workers(threads) == 1:
            return _serially(tasks, self.watcher.progress)
        if self._cluster is None:
            opened = self.place.opened(self.place.local_workers(threads), self.prepared.folder / "logs", threads)
            self._cluster = self._open.enter_context(opened)
            from mlipq.labeling.monitoring import log_workers  # which imports Dask

            log_workers(self._cluster.client, self.prepared.folder / "logs" / "workers")
        outcomes = run_on_cluster(tasks, self._cluster, self.watcher)
        return cast(Iterator[tuple[TrainTask, dict[str, Any] | Exception]], outcomes)


def _serially(tasks: Sequence[TrainTask], report: Report) -> Iterator[tuple[TrainTask, dict[str, Any] | Exception]]:
    for task in tasks:
        try:
            for _, summary in run_serially([task], report):
                yield task, summary
        except IncompleteError as error:
            raise IncompleteError(f"{task.id}: {error}\nThe same command goes on with the whole suite") from error
        except MlipqError as error:
            yield task, error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other suites out of the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{folder} is in use by another mlipq bench; let it end, or stop it first") from None
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # refused before anything was written: leave nothing
            if [path.name for path in folder.iterdir()] == [_LOCK]:
                shutil.rmtree(folder)


def _sweep(folder: Path) -> None:
    """Remove what runs that were killed left behind of what they were writing."""
    for kind in (RUNS, TRIALS, PRETRAINING):
        for left in (folder / kind).glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
    for left in (folder / RESULTS).glob(f"{TEMPORARY_PREFIX}*"):
        left.unlink(missing_ok=True)
