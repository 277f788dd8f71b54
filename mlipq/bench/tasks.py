"""One training of a suite as a task of the runner: done or not, and safe to run twice.

A run that was stopped goes on from its last checkpoint, and ends as if it had never been stopped.
"""

import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlipq.bench.costs import forget_peak_memory, using_threads
from mlipq.bench.measuring import measured, validation_of
from mlipq.bench.plan import BenchRun
from mlipq.bench.prepared import Prepared
from mlipq.bench.results import read_result, result_path, write_record
from mlipq.errors import InputError
from mlipq.hub import open_dataset
from mlipq.labeling.runner import Report
from mlipq.store.commit import TEMPORARY_PREFIX
from mlipq.training.loop.trainer import Trainer
from mlipq.training.models.machine import keep_freed_memory
from mlipq.training.runs.launch import Watcher, resume, train
from mlipq.training.runs.run import CONFIG, Run, settled

TELL_EVERY = 0.5
"""Seconds between reports of progress."""


@dataclass(frozen=True)
class TrainTask:
    """A training whose validation errors are all that is wanted: a trial of tuning, or a pretraining.

    Attributes
    ----------
    bench_run
        What to train.
    """

    bench_run: BenchRun

    @property
    def id(self) -> str:
        """Name of the task, unlike that of any other kind."""
        return f"{self.bench_run.kind}-{self.bench_run.id}"

    def done(self) -> bool:
        """True where it is finished, and as the suite says now."""
        run = _begun(self.bench_run)
        return run is not None and run.result is not None

    def run(self, report: Report) -> dict[str, Any]:
        """Train, from the last checkpoint where there is one; return the validation error."""
        unit, error = validation_of(_trained(self.bench_run, report), self.bench_run)
        return {"validation_mae": error, "unit": unit}


@dataclass(frozen=True)
class RunTask(TrainTask):
    """A training that ends in a result.

    Attributes
    ----------
    suite
        Its name.
    target
        What the suite predicts.
    prepared
        Its data.
    pretraining
        What the run starts from.
    """

    suite: str
    target: str
    prepared: Prepared
    pretraining: BenchRun | None = None

    def done(self) -> bool:
        """True where there is a result.

        Raises
        ------
        InputError
            If it is of other settings, or of other data.
        """
        path = result_path(self.prepared.folder, self.bench_run.id)
        refuse_other_result(path, {self.bench_run.sha256})
        return path.exists()

    def run(self, report: Report) -> dict[str, Any]:
        """Train, measure on the test structures, write the result; return the test error."""
        started = _now()
        forget_peak_memory()
        run = _trained(self.bench_run, report)
        before = Run(self.pretraining.path) if self.pretraining else None
        with using_threads(self.bench_run.config.training.threads or 1):
            made = measured(
                run,
                self.bench_run,
                self.prepared,
                suite=self.suite,
                target=self.target,
                pretraining=before,
                started=started,
            )
        write_record(result_path(self.prepared.folder, self.bench_run.id), made)
        return {"mae": made.mae, "unit": made.unit}


def refuse_other_result(path: Path, hashes: Collection[str]) -> None:
    """Refuse a result, where there is one, that follows from none of these.

    Raises
    ------
    InputError
        Since results of two kinds are not to be mixed.
    """
    if path.exists() and read_result(path).suite_sha256 not in hashes:
        raise InputError(
            f"{path} is the result of other settings or other data than this suite has for it now, and results of two kinds are not "
            "mixed: name another folder with -o; or delete those results that shall be made again"
        )


class _Telling(Watcher):
    """Reports steps now and then."""

    def __init__(self, bench_run: BenchRun, report: Report) -> None:
        self._run, self._report = bench_run, report
        self._told_step, self._told_at = 0, 0.0
        self._steps = 1

    def started(self, run: Run, trainer: Trainer) -> None:
        self._steps = trainer.steps
        self._tell(trainer.counters.step, kept=True)

    def stepped(self, step: int) -> None:
        if step == self._steps or time.monotonic() - self._told_at > TELL_EVERY:
            self._tell(step)

    def nothing_to_do(self) -> None:
        self._tell(self._steps, kept=True)

    def _tell(self, step: int, kept: bool = False) -> None:
        steps = step - self._told_step
        cost = self._run.cost * steps / self._steps
        self._report({"run": self._run.id, "steps": steps, "cost": cost, "kept": kept})
        self._told_step, self._told_at = step, time.monotonic()


def _trained(bench_run: BenchRun, report: Report) -> Run:
    """Return the run, finished."""
    keep_freed_memory()
    watcher = _Telling(bench_run, report)
    begun = _begun(bench_run)
    if begun is not None:
        return resume(begun.path, watcher)
    _remove(bench_run.path)
    return train(bench_run.config, watcher)


def _remove(folder: Path) -> None:
    """Remove a run at once: a call that is killed meanwhile leaves none that is half a run."""
    if folder.exists():
        removed = folder.with_name(f"{TEMPORARY_PREFIX}{folder.name}")
        shutil.rmtree(removed, ignore_errors=True)
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def _begun(bench_run: BenchRun) -> Run | None:
    """Return the run where it was begun as the suite says now; one that began otherwise begins anew.

    A dataset that got more draws meanwhile has another manifest, which no run goes on with: what was begun before is not worth the
    exception.
    """
    run = Run(bench_run.path)
    if not (run.path / CONFIG).is_file():
        return None
    same_config = run.history.config == settled(bench_run.config).model_dump(mode="json")
    hashes = [open_dataset(data.dataset).sha256 for data in bench_run.config.data]
    same_data = [data.sha256 for data in run.data.datasets] == hashes
    return run if same_config and (same_data or run.result is not None) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
