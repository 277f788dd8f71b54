"""Keep a queue's jobs at the number that the work asks for, and replace those that the queue took away."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distributed import Status
from distributed.deploy.adaptive import Adaptive

LOOK_AT_QUEUE = 10.0
"""Seconds between two looks at the queue for jobs that ended before their worker came."""
HOPELESS = 3
"""So many jobs in a row that no worker came of: something is wrong with all of them."""

LISTING = {
    "slurm": ["squeue", "--me", "--noheader", "--format=%i"],
    "pbs": ["qselect", "-u", "$USER"],
}
"""Commands that list the user's jobs which wait or run, by their number."""


class Keeper(Adaptive):  # type: ignore[misc]  # Dask has no types
    """Dask's adaptive scaling, for queues that end jobs whenever they like.

    Dask does not hear of a job that ended before its worker came (cancelled while it waited, or broken), and does not see that a
    job of several processes is gone. So the queue is asked, what is gone is forgotten, and scaling opens anew what is wanted.

    Parameters
    ----------
    cluster
        Of dask-jobqueue, with a scheduler in this process.
    kind
        Of the queue.
    troubles
        Gets a sentence when jobs end and no worker ever comes.
    options
        As for Dask's adaptive scaling.
    """

    def __init__(self, cluster: Any, kind: str, troubles: list[str], **options: Any) -> None:
        listing = list(map(os.path.expandvars, LISTING.get(kind, [])))
        self._listing = listing if listing and shutil.which(listing[0]) else []
        self._troubles = troubles
        self._in_vain = 0
        self._looked = time.monotonic()
        self._had_workers: set[Any] = set()
        super().__init__(cluster, **options)

    async def adapt(self) -> None:
        """Drop what is gone, then scale as Dask does."""
        with_workers = self._with_workers()
        self._had_workers |= with_workers
        if with_workers:
            self._in_vain = 0
        if time.monotonic() - self._looked > LOOK_AT_QUEUE:
            self._looked = time.monotonic()
            await self._drop_vanished()
        self._forget_unsubmitted()
        try:
            await self.cluster  # which submits those again, and says what is wrong with them
        except RuntimeError as error:
            self._count_in_vain(1, str(error))
            return
        await super().adapt()

    def end(self) -> None:
        """Stop before the cluster is closed, which trips over jobs that could not be submitted."""
        self.stop()
        self._forget_unsubmitted()

    async def target(self) -> int:
        """Workers that there is work for: one a task."""
        return sum(
            state.state not in ("memory", "erred", "released") for state in self.cluster.scheduler.tasks.values()
        )

    async def _drop_vanished(self) -> None:
        """Forget jobs without a worker that the queue knows no more; where it cannot be asked, those that had one before."""
        # Before the queue is asked: it cannot know of later ones.
        waiting = set(self.cluster.workers) - self._with_workers()
        if not self._listing:
            gone = waiting & self._had_workers
        elif (known := await _jobs_known(self._listing)) is not None:
            jobs = {name: self.cluster.workers[name].job_id for name in waiting - self._with_workers()}
            gone = {name for name, job in jobs.items() if job is not None and _number(job) not in known}
        else:  # the queue does not answer now
            return
        in_vain = gone - self._had_workers
        logs = {self.cluster.workers[name].log_directory for name in in_vain}
        self._drop(gone)
        if in_vain:
            self._count_in_vain(len(in_vain), _last_words(logs))

    def _with_workers(self) -> set[Any]:
        """Names of jobs that have a worker now."""
        there = {str(name) for name in self.observed}
        groups = {name: spec.get("group", [""]) for name, spec in self.cluster.worker_spec.items()}
        return {name for name, suffixes in groups.items() if any(f"{name}{suffix}" in there for suffix in suffixes)}

    def _forget_unsubmitted(self) -> None:
        for name, job in list(self.cluster.workers.items()):
            if job.job_id is None:
                self.cluster.workers.pop(name).status = Status.closed

    def _drop(self, names: Iterable[Any]) -> None:
        for name in names:
            self.cluster.workers.pop(name).status = Status.closed
            self.cluster.worker_spec.pop(name, None)  # as many as there is work for are opened anew
            self._had_workers.discard(name)

    def _count_in_vain(self, jobs: int, why: str) -> None:
        self._in_vain += jobs
        if self._in_vain >= HOPELESS:
            self._troubles.append(f"{self._in_vain} jobs in a row ended before their worker came. {why}".strip())


async def _jobs_known(listing: list[str]) -> set[str] | None:
    """Numbers of the user's jobs that wait or run; ``None`` where the queue does not say."""
    asked = await asyncio.create_subprocess_exec(
        *listing, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await asked.communicate()
    return set(map(_number, output.decode().split())) if asked.returncode == 0 else None


def _number(job: str) -> str:
    """Return the number of ``1234.server``."""
    found = re.match(r"\d+", job)
    return found[0] if found else job


def _last_words(folders: set[str | None]) -> str:
    """Return the end of the newest log of a job."""
    logs = [path for folder in folders if folder for path in Path(folder).glob("*.err") if path.stat().st_size]
    if not logs:
        return ""
    newest = max(logs, key=lambda path: path.stat().st_mtime)
    lines = newest.read_text(errors="replace").strip().splitlines()
    return f"Their last log, {newest}, ends:\n" + "\n".join(f"  {line}" for line in lines[-5:])
