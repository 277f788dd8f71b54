"""Real servers, and a job that takes long enough to be disturbed."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hosts import running_hosts
from jobs import Job, plan_in_small_partitions, run
from slurm import running_slurm
from sshd import running_sshd


@pytest.fixture(scope="session")
def slurm():
    """A SLURM of four cores."""
    with running_slurm() as started:
        yield started


@pytest.fixture
def hosts():
    """Four hosts, called scheduler, client, worker-a and worker-b."""
    with running_hosts("scheduler", "client", "worker-a", "worker-b") as made:
        yield made


@pytest.fixture
def sshd(tmp_path):
    """An sshd on loopback."""
    (tmp_path / "ssh").mkdir()
    with running_sshd(tmp_path / "ssh") as started:
        yield started


@pytest.fixture(scope="session")
def planned(samples, tmp_path_factory):
    """Output folder of a job that takes some ten seconds of one core, in about thirty partitions; copy it before use."""
    folder = tmp_path_factory.mktemp("complexes")
    complexes = sorted(samples("tmqm"), key=lambda structure: len(structure.numbers))[:40]
    shaken = [_shaken(structure, seed) for seed in range(4) for structure in complexes]
    ase.io.write(folder / "complexes.extxyz", shaken, format="extxyz")
    plan_in_small_partitions(folder / "complexes.extxyz", folder / "out", seconds=0.4)
    return folder / "out"


def _shaken(structure, seed):
    moved = structure.positions + np.random.default_rng(seed).normal(scale=0.01, size=structure.positions.shape)
    return Atoms(
        structure.numbers, moved, info={"charge": structure.charge, "spin_multiplicity": structure.multiplicity}
    )


@pytest.fixture
def job(planned, tmp_path):
    """A fresh copy of the planned job."""
    return Job.copy(planned, tmp_path / "out")


@pytest.fixture(scope="session")
def undisturbed(planned, tmp_path_factory):
    """The same job, labelled on this machine without any disturbance; not to be changed."""
    job = Job.copy(planned, tmp_path_factory.mktemp("undisturbed") / "out")
    done = run("label", job.out, timeout=300)
    assert done.returncode == 0, done.stderr
    return job
