"""The whole job: plan → partition → finish, on Dask; going round until nothing is missing."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from mlipq.errors import IncompleteError
from mlipq.labeling.clusters import Place, Profile, read_profile
from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.clusters.profile import LocalProfile
from mlipq.labeling.finish import finish, finished, spans
from mlipq.labeling.folder import OutputFolder, Plan
from mlipq.labeling.health import RunWatcher
from mlipq.labeling.job import Job, Limits
from mlipq.labeling.partition import PartitionTask, is_final, labeler_settings
from mlipq.labeling.plan import make_plan
from mlipq.labeling.runner import run_on_cluster
from mlipq.labeling.sources import MemorySource, Source, find_sources
from mlipq.store import Manifest, unwritable

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger("mlipq")


class Watcher(RunWatcher):
    """Hears of a job's progress; the base class says nothing. The command line draws it."""

    def planning(self, read: int) -> None:
        """``read`` structures were read so far."""

    def planned(self, plan: Plan, missing: list[int], dashboard: str) -> None:
        """Labeling begins; ``missing`` partitions are to be done."""

    def nothing_to_do(self) -> None:
        """Everything was labelled before."""

    def warn(self, message: str) -> None:
        """Something the user should know, once."""


def run_job(
    job: Job,
    base: Path,
    client: "Client | None" = None,
    atoms: Iterable[Atoms] | None = None,
    retry: Iterable[str] = (),
    watcher: Watcher | None = None,
    cluster: Profile | None = None,
) -> Manifest:
    """Label everything that a job names; go on where an earlier run of the same job stopped.

    Parameters
    ----------
    job
        What to label and how.
    base
        Folder that its relative paths count from.
    client
        A Dask client; by default the job's cluster is started and stopped.
    atoms
        Structures in memory, in place of the job's inputs.
    retry
        Failure classes to try again.
    watcher
        Hears of progress.
    cluster
        In place of the one that the job names.

    Returns
    -------
    Manifest
        Of the finished dataset.

    Raises
    ------
    InputError
        As :func:`mlipq.labeling.plan.make_plan`.
    IncompleteError
        If partitions are missing at the end.
    """
    watcher = watcher or Watcher()
    place = Place(cluster or read_profile(job.cluster, base), job.workers, client)
    place.check()
    folder = OutputFolder(base / job.output)
    sources: list[Source] = find_sources(job, base) if atoms is None else [MemorySource(atoms, job.read_options())]
    plan = make_plan(sources, job, folder, watcher.planning)
    return _complete(folder, plan, job.limits, place, frozenset(retry), watcher)


def resume_job(
    folder: OutputFolder,
    limits: Limits | None = None,
    workers: int | None = None,
    client: "Client | None" = None,
    retry: Iterable[str] = (),
    watcher: Watcher | None = None,
    cluster: Profile | None = None,
) -> Manifest:
    """Go on with a job that was planned, without its inputs: their structures are packed in the output folder.

    Parameters
    ----------
    folder
        Output folder of the job.
    limits
        What one structure may use; the defaults where not given.
    workers, client, retry, watcher, cluster
        As for :func:`run_job`; without a cluster, on this machine.
    """
    plan = folder.plan()
    place = Place(cluster or LocalProfile(), workers, client)
    return _complete(folder, plan, limits or Limits(), place, frozenset(retry), watcher or Watcher())


def _complete(
    folder: OutputFolder, plan: Plan, limits: Limits, place: Place, retry: frozenset[str], watcher: Watcher
) -> Manifest:
    """Label what is missing or to be tried again, then finish."""
    labeler_settings(folder, plan)  # refuses software that labels otherwise, before a cluster starts
    longest_first = sorted(plan.partitions, key=lambda partition: -partition.seconds)
    done = {sidecar.index for sidecar in folder.sidecars(plan) if is_final(sidecar, retry)}
    path = folder.path.resolve()
    tasks = [PartitionTask(path, each.index, limits, retry) for each in longest_first if each.index not in done]
    if not tasks and (manifest := finished(folder, plan)) is not None:
        watcher.nothing_to_do()
        return manifest
    with _logging_to(folder):
        if tasks:
            with place.opened(len(tasks), folder.logs.resolve()) as cluster:
                _label(folder, plan, tasks, cluster, watcher)
        return finish(folder)


def _label(folder: OutputFolder, plan: Plan, tasks: list[PartitionTask], cluster: Cluster, watcher: Watcher) -> None:
    """Run the tasks on a cluster.

    Raises
    ------
    IncompleteError
        If some could not be done, with what went wrong.
    """
    from mlipq.labeling.monitoring import log_workers, monitored

    failed: dict[int, Exception] = {}
    warned = {""}
    dashboard = cluster.client.dashboard_link
    log_workers(cluster.client, folder.logs.resolve() / "workers")
    watcher.planned(plan, [task.index for task in tasks], dashboard)
    log.info("labeling %d partitions of %d; dashboard %s", len(tasks), len(plan.partitions), dashboard)
    with monitored(folder.logs / "status.json", len(tasks), dashboard, watcher) as status:
        for task, outcome in run_on_cluster(tasks, cluster, status):
            assert isinstance(task, PartitionTask)
            if isinstance(outcome, Exception) and task.done():
                outcome = {"index": task.index, "warning": ""}  # another run of this job did it meanwhile
            status.ended(isinstance(outcome, Exception))
            if isinstance(outcome, Exception):
                failed[task.index] = outcome
                log.error("partition %d: %s", task.index, outcome)
                continue
            log.info("partition %d done: %s", task.index, outcome)
            if outcome["warning"] not in warned:
                warned.add(outcome["warning"])
                watcher.warn(outcome["warning"])
        if failed:
            reasons = "\n".join(f"  {index}: {error}" for index, error in sorted(failed.items())[:10])
            raise IncompleteError(
                f"partitions not labelled: {spans(list(failed))}\n{reasons}\n"
                "Run the same command again to go on; the log is logs/label.log, those of the workers are in logs/workers"
            )


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Pass over a full disk: what could not be labelled for it says so itself."""


@contextmanager
def _logging_to(folder: OutputFolder) -> Iterator[None]:
    try:
        folder.logs.mkdir(exist_ok=True)
        handler = _LogFile(folder.logs / "label.log", encoding="utf-8")
    except OSError as error:
        raise unwritable(folder.logs, error) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()
