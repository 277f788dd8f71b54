"""A scheduler and workers that somebody else started, as real processes; one worker is sick, or the scheduler dies."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest
from jobs import Running, run, until
from test_faults import assert_undisturbed, go_on

pytestmark = pytest.mark.timeout(300)


@contextmanager
def running(*arguments, before=(), **environment):
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "dask", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def scheduler(tmp_path):
    """The process and the address of a scheduler."""
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file]
    with running("scheduler", *map(str, options)) as process:
        assert until(lambda: file.exists() and file.read_text().rstrip().endswith("}"), 60)
        yield process, json.loads(file.read_text())["address"]


@contextmanager
def workers(address, tmp_path, *environments):
    with ExitStack() as stack:
        for number, environment in enumerate(environments):
            options = ["--nthreads", "1", "--host", "127.0.0.1", "--name", f"worker-{number}"]
            folder = ["--local-directory", str(tmp_path / f"scratch-{number}")]
            stack.enter_context(running("worker", address, *options, *folder, **environment))
        yield


@pytest.fixture
def no_tblite(tmp_path):
    """A folder for PYTHONPATH in which tblite cannot be loaded, as on a node with a broken library."""
    folder = tmp_path / "broken"
    (folder / "tblite").mkdir(parents=True)
    (folder / "tblite" / "__init__.py").write_text("raise ImportError('libtblite.so.0: wrong ELF class')\n")
    return str(folder)


def test_two_workers_label_what_one_command_labels(job, undisturbed, scheduler, tmp_path):
    _, address = scheduler
    with workers(address, tmp_path, {}, {}):
        done = run("label", job.out, "--scheduler", address)
    assert done.returncode == 0, done.stderr
    assert_undisturbed(job, undisturbed)
    logs = list((job.out / "logs" / "workers").glob("*.log"))
    assert len(logs) == 2 and all("begins" in log.read_text() for log in logs)


def test_a_worker_that_cannot_label_is_set_aside_and_named(job, undisturbed, scheduler, no_tblite, tmp_path):
    _, address = scheduler
    with workers(address, tmp_path, {}, {"PYTHONPATH": no_tblite}):
        done = run("label", job.out, "--scheduler", address, "--json")
    assert done.returncode == 0, done.stderr
    assert_undisturbed(job, undisturbed)
    (reason,) = json.loads(done.stdout)["set_aside"]
    assert "the labeling child does not start" in reason and "wrong ELF class" in reason
    status = json.loads((job.out / "logs" / "status.json").read_text())
    assert status["state"] == "done" and status["set_aside"] == [reason] and status["done"] == status["tasks"]


def test_when_no_worker_can_label_the_command_ends_and_says_why(job, undisturbed, scheduler, no_tblite, tmp_path):
    _, address = scheduler
    with workers(address, tmp_path, {"PYTHONPATH": no_tblite}):
        done = run("label", job.out, "--scheduler", address)
    assert done.returncode == 3
    assert "no worker is left that can work" in done.stderr and "wrong ELF class" in done.stderr
    assert "Traceback" not in done.stderr
    go_on(job, undisturbed)


@pytest.mark.slow
def test_a_scheduler_that_dies(job, undisturbed, scheduler, tmp_path):
    process, address = scheduler
    with workers(address, tmp_path, {}, {}), Running("label", job.out, "--scheduler", address) as running_job:
        assert until(lambda: job.done() >= 1, 60)
        process.kill()
        code, _, said = running_job.end(150)
    assert code == 3 and f"the scheduler at {address} is gone; what is done is kept" in said, said
    assert "Traceback" not in said
    go_on(job, undisturbed)
