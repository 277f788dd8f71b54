"""Nothing lost: whatever is killed, filled up or damaged, the same command ends in the undisturbed dataset."""

import signal

import psutil
import pytest
from jobs import WORKERS, Job, Running, run, until

pytestmark = pytest.mark.timeout(300)


def assert_undisturbed(job: Job, undisturbed: Job) -> None:
    assert job.content() == undisturbed.content()
    assert job.files() == undisturbed.files() and job.leftovers() == []


def go_on(job: Job, undisturbed: Job) -> None:
    """Run the same command again; the dataset must be that of the undisturbed run."""
    done = run("label", job.out)
    assert done.returncode == 0, done.stderr
    assert_undisturbed(job, undisturbed)


def no_traceback(text: str) -> bool:
    return "Traceback" not in text and "Error:" not in text


def test_the_undisturbed_job_is_worth_the_name(undisturbed):
    assert undisturbed.done() >= 8 and undisturbed.leftovers() == []
    assert run("verify", undisturbed.out).returncode == 0


def test_a_killed_worker(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.workers()[0].kill()
        code, _, stderr = running.end()
        assert code == 0 and no_traceback(stderr), stderr
        assert running.orphans() == []
    assert_undisturbed(job, undisturbed)


def test_a_killed_labeling_child(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        killed = running.labeling()
        for child in killed:
            child.kill()
        code, _, stderr = running.end()
        assert code == 0 and no_traceback(stderr), stderr
        assert len(killed) == WORKERS and running.orphans() == []
    assert_undisturbed(job, undisturbed)


def test_a_killed_client_leaves_no_orphans(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.client.kill()
        assert running.orphans(5) == []
    assert run("status", job.out).returncode == 3
    go_on(job, undisturbed)


def test_everything_killed_at_once(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        for process in [running.client, *running.processes()]:
            process.send_signal(signal.SIGSTOP)  # so that none sees the others die
        for process in [running.client, *running.processes()]:
            process.kill()
        assert running.orphans(5) == []
    go_on(job, undisturbed)


def test_ctrl_c(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.interrupt()
        code, stdout, stderr = running.end(20)
        assert code == 3 and no_traceback(stdout + stderr), stderr
        assert "interrupted; the same command goes on from here" in stderr
        assert running.orphans(5) == []
    go_on(job, undisturbed)


def test_sigterm(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.client.terminate()
        code, stdout, stderr = running.end(20)
        assert code == 3 and no_traceback(stdout + stderr), (code, stderr)
        assert running.orphans(5) == []
    go_on(job, undisturbed)
