"""Real molecules, and a job of several partitions that was never disturbed, for the tests of labeling."""

import ase.io
import pytest
from ase import Atoms
from jobs import Job, plan_in_small_partitions, run


@pytest.fixture(scope="session")
def molecules(samples, tmp_path_factory):
    """A file of 47 samples: organic molecules, charged and open-shell ones, transition metal complexes."""
    chosen = [*samples("gscdb138")[::5], *samples("mopac_pm7")[:5], *samples("tmqm")[:10]]
    frames = [Atoms(s.numbers, s.positions, info=_charge_and_spin(s)) for s in chosen]
    path = tmp_path_factory.mktemp("inputs") / "molecules.extxyz"
    ase.io.write(path, frames, format="extxyz")
    return path


def _charge_and_spin(structure):
    return {"charge": structure.charge, "spin_multiplicity": structure.multiplicity}


@pytest.fixture(scope="session")
def planned(molecules, tmp_path_factory):
    """Output folder of a job that is planned in about ten partitions, and not labelled; copy it before use."""
    out = tmp_path_factory.mktemp("planned") / "out"
    plan_in_small_partitions(molecules, out)
    return out


@pytest.fixture
def job(planned, tmp_path):
    """A fresh copy of the planned job."""
    return Job.copy(planned, tmp_path / "out")


@pytest.fixture(scope="session")
def undisturbed(planned, tmp_path_factory):
    """The same job, labelled without any disturbance; not to be changed."""
    job = Job.copy(planned, tmp_path_factory.mktemp("undisturbed") / "out")
    done = run("label", job.out)
    assert done.returncode == 0, done.stderr
    return job


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of the undisturbed job, to be damaged."""
    return Job.copy(undisturbed.out, tmp_path / "out")
