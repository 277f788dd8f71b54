"""Labeling jobs through a real SLURM: by dask-jobqueue, and as an array job without Dask."""

import re
import stat
import subprocess

import psutil
import pytest
import yaml
from distributed import Client
from jobs import Running, run, until
from test_docs import follow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CORE = {"cores": 1, "memory": "2GB", "walltime": "00:10:00"}


@pytest.fixture(autouse=True)
def submitting_here(slurm, monkeypatch):
    """This machine is SLURM's login node."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield
    slurm.run("scancel", "--me")


@pytest.fixture
def states(slurm):
    """What became of the jobs that a test submitted: ``states() == {"7": "CANCELLED", "8_0": "COMPLETED"}``."""
    before = {submitted.id for submitted in slurm.history()}
    return lambda: {found.id: found.state for found in slurm.history() if found.id not in before}


@pytest.fixture
def cluster(tmp_path):
    """Write a cluster profile: ``cluster(jobs=2, options={...})``."""

    def write(options=CORE, **scale):
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump({"kind": "slurm", **scale, "options": {**CORE, **options}}))
        return path

    return write


def numbers(states, state: str) -> list[str]:
    """Numbers of the jobs that are in a state now."""
    return [number for number, found in states().items() if found == state]


def test_adaptive_jobs_with_tls(slurm, cluster, job, undisturbed):
    with Running("label", job.out, "--cluster", cluster(adapt={"minimum": 0, "maximum": 2})) as running:
        assert until(lambda: job.done() >= 2 or running.client.poll() is not None, 200), slurm.logs()
        assert 1 <= len(slurm.queue()) <= 2
        script = slurm.run("scontrol", "write", "batch_script", slurm.queue()[0].id, "-")
        (address,) = re.findall(r"tls://\S+", script)
        with pytest.raises(OSError):  # what speaks no TLS is not let in
            Client(address.replace("tls", "tcp"), timeout=5)
        (private,) = (job.out / "logs").glob(".tls-*")
        assert {stat.S_IMODE(path.stat().st_mode) for path in (private, private / "key.pem")} == {0o700, 0o600}
        commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert "PRIVATE KEY" not in "".join([script, *commands])
        code, _, said = running.end(300)
    assert code == 0, said
    assert job.content() == undisturbed.content()
    assert not private.exists()
    assert until(lambda: not slurm.queue(), 30), "jobs are left behind"
    logs = [path.read_text() for path in (job.out / "logs" / "workers").glob("*.log")]
    assert logs and all("tls://" in log and "tcp://" not in log for log in logs)


def test_what_slurm_ends_is_replaced(slurm, cluster, job, undisturbed, states):
    """A running job and a waiting one are cancelled; the walltime of a third is over before its work, which never ends."""
    profile = cluster({"job_cpu": 2}, jobs=3)  # two of which run on the four cores
    with Running("label", job.out, "--cluster", profile) as running:
        assert until(lambda: job.done() >= 2 and len(numbers(states, "RUNNING")) == 2, 200), slurm.logs()
        cancelled, too_short = numbers(states, "RUNNING")
        (waiting,) = numbers(states, "PENDING")
        assert until(lambda: in_child(slurm, too_short), 60)
        for child in in_child(slurm, too_short):
            child.suspend()
        slurm.end_in(too_short, 1)
        slurm.cancel(waiting)
        slurm.cancel(cancelled)
        code, _, said = running.end(400)
    assert code == 0, said
    assert job.content() == undisturbed.content()
    assert until(lambda: not slurm.queue(), 30), "jobs are left behind"
    expected = {cancelled: "CANCELLED", waiting: "CANCELLED", too_short: "TIMEOUT"}
    assert expected.items() <= states().items() and len(states()) > 3


def in_child(slurm, number: str) -> list[psutil.Process]:
    """The labeling children of a job."""
    return [process for process in slurm.processes(number) if "mlipq.xtb.child" in process.cmdline()]


def test_workers_that_retire_are_replaced(cluster, job, undisturbed, states):
    work = sum(sidecar.seconds for sidecar in undisturbed.folder.sidecars(undisturbed.folder.plan()))
    retiring = cluster({"worker_extra_args": ["--lifetime", f"{3 + work / 2:.0f}s"]}, jobs=1)
    done = run("label", job.out, "--cluster", retiring, timeout=400)
    assert done.returncode == 0, done.stderr
    assert job.content() == undisturbed.content()
    assert numbers(states, "COMPLETED"), "no job ended by itself"


def test_jobs_that_end_before_their_worker_comes_are_not_submitted_for_ever(slurm, cluster, job, undisturbed):
    profile = cluster({"job_script_prologue": ["echo no such module: python >&2", "exit 1"]}, jobs=2)
    done = run("label", job.out, "--cluster", profile, timeout=200)
    assert done.returncode == 3, done.stderr
    assert "jobs in a row ended before their worker came" in done.stderr and "no such module: python" in done.stderr
    assert "Traceback" not in done.stderr
    assert until(lambda: not slurm.queue(), 30), "jobs are left behind"


def test_a_job_that_slurm_does_not_take(slurm, cluster, job):
    done = run("label", job.out, "--cluster", cluster({"queue": "nosuch"}, jobs=1), timeout=200)
    assert done.returncode == 3 and "invalid partition specified: nosuch" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_an_array_job_without_dask(slurm, job, undisturbed, states, tmp_path):
    script = run("plan", job.out, "--array", "slurm", "--tasks", 3).stdout
    (tmp_path / "job.sh").write_text(script)
    submit = [line.removeprefix("#   ") for line in script.splitlines() if "sbatch" in line]
    subprocess.run(["bash", "-ec", "\n".join(submit)], cwd=tmp_path, check=True, capture_output=True)
    assert until(lambda: not slurm.queue(), 300), slurm.logs()
    assert list(states().values()) == ["COMPLETED"] * 4  # three tasks, and what finishes the dataset
    assert job.content() == undisturbed.content()


def test_the_guide(slurm, tmp_path, monkeypatch):
    follow("slurm.md", tmp_path, monkeypatch)
