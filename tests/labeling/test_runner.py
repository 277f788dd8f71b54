"""The task runner on real workers: what a worker, a task or nobody is to blame for."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import until

from mlipq.errors import IncompleteError, InputError, WorkerError
from mlipq.labeling.clusters.local import local_cluster
from mlipq.labeling.health import RunWatcher
from mlipq.labeling.runner import ATTEMPTS, TaskError, run_on_cluster


@dataclass(frozen=True)
class Stub:
    """A task that leaves a file when it is done; what happens before depends on its kind."""

    folder: Path
    id: str
    kind: str = "fine"

    def done(self) -> bool:
        return (self.folder / self.id).exists()

    def run(self, report) -> dict:
        report({"begun": 1})
        getattr(self, self.kind)()
        (self.folder / self.id).write_text(str(os.getpid()))
        return {"id": self.id, "process": os.getpid()}

    def fine(self) -> None:
        time.sleep(0.02)

    def wrong(self) -> None:
        raise InputError(f"{self.id} cannot be")

    def broken(self) -> None:
        raise ZeroDivisionError(self.id)

    def on_a_sick_worker(self) -> None:
        """The first worker to meet such a task is sick from then on."""
        try:
            (self.folder / "sick").open("x").write(str(os.getpid()))
        except FileExistsError:
            pass
        time.sleep(0.02)
        if (self.folder / "sick").read_text() == str(os.getpid()):
            raise WorkerError("no disk here")

    def everywhere_sick(self) -> None:
        raise WorkerError("no disk here")

    def kills_once(self) -> None:
        """Ends its worker as the kernel does when memory is short, unless it did so before."""
        try:
            (self.folder / f"killed-by-{self.id}").open("x").close()
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def kills(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Listening(RunWatcher):
    def __init__(self) -> None:
        self.messages, self.counts, self.aside = [], [], []

    def progress(self, message) -> None:
        self.messages.append(message)

    def workers(self, count) -> None:
        self.counts.append(count)

    def set_aside(self, reason) -> None:
        self.aside.append(reason)


@pytest.fixture
def two_workers():
    with local_cluster(2) as cluster:
        yield cluster


def outcomes(tasks, cluster, watcher=None) -> dict:
    return {task.id: outcome for task, outcome in run_on_cluster(tasks, cluster, watcher or Listening())}


def test_every_task_is_done_once_and_what_is_done_is_skipped(two_workers, tmp_path):
    (tmp_path / "3").write_text("before")
    listening = Listening()
    tasks = [Stub(tmp_path, str(number)) for number in range(40)]
    found = outcomes(tasks, two_workers, listening)
    assert set(found) == {str(number) for number in range(40)} - {"3"}
    assert {outcome["process"] for outcome in found.values()} == {int((tmp_path / name).read_text()) for name in found}
    assert listening.counts == [2] and listening.aside == []
    assert sum(message["begun"] for message in listening.messages) == 39


def test_a_task_that_fails_is_named_and_the_others_are_done(two_workers, tmp_path):
    kinds = ["fine", "wrong", "fine", "broken", "fine"]
    found = outcomes([Stub(tmp_path, f"{kind}{n}", kind) for n, kind in enumerate(kinds)], two_workers)
    assert isinstance(found["wrong1"], TaskError) and str(found["wrong1"]) == "wrong1 cannot be"
    assert isinstance(found["broken3"], ZeroDivisionError)
    assert all(found[f"fine{n}"]["id"] == f"fine{n}" for n in (0, 2, 4))


def test_a_sick_worker_is_set_aside_and_its_tasks_go_to_the_others(two_workers, tmp_path):
    listening = Listening()
    tasks = [Stub(tmp_path, str(number), "on_a_sick_worker") for number in range(30)]
    found = outcomes(tasks, two_workers, listening)
    sick = int((tmp_path / "sick").read_text())
    assert len(found) == 30 and all(outcome["process"] != sick for outcome in found.values())
    (reason,) = listening.aside
    assert "no disk here" in reason and f"process {sick}" in reason
    assert until(lambda: len(two_workers.workers()) == 1)


def test_when_all_workers_are_sick_the_run_ends_with_the_reason(two_workers, tmp_path):
    with pytest.raises(IncompleteError, match=r"no worker is left(.|\n)*no disk here"):
        outcomes([Stub(tmp_path, str(number), "everywhere_sick") for number in range(30)], two_workers)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_costs_no_task(two_workers, tmp_path):
    tasks = [Stub(tmp_path, str(number), "kills_once" if number == 5 else "fine") for number in range(20)]
    found = outcomes(tasks, two_workers)
    assert all(isinstance(outcome, dict) for outcome in found.values()) and len(found) == 20


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up_and_the_others_are_done(two_workers, tmp_path):
    tasks = [Stub(tmp_path, str(number), "kills" if number == 2 else "fine") for number in range(10)]
    found = outcomes(tasks, two_workers)
    assert ATTEMPTS == 3 and "its worker died" in str(found["2"])
    assert sum(isinstance(outcome, dict) for outcome in found.values()) == 9
