"""Cluster profiles: what they may say, and how what is wrong is named."""

import re
import signal
import subprocess
import sys

import pytest

from mlipq import resources
from mlipq.errors import InputError
from mlipq.labeling.clusters import Place, Profile, read_profile, scheduler_at
from mlipq.labeling.clusters.queues import _lifetime, check_queue
from mlipq.labeling.clusters.security import credentials


def profile(tmp_path, text: str) -> Profile:
    (tmp_path / "cluster.yaml").write_text(text)
    return read_profile("cluster.yaml", tmp_path)


@pytest.mark.parametrize(
    "path", sorted((resources.pipelines() / "clusters").glob("*.yaml")), ids=lambda path: path.stem
)
def test_those_that_come_with_mlipq_can_be_read_by_name_and_by_path(path):
    assert read_profile(path.stem) == read_profile(path)
    assert read_profile(path.stem).kind == path.stem


def test_jobs_and_adapt_are_how_many_jobs_there_may_be(tmp_path):
    fixed = profile(tmp_path, "kind: slurm\njobs: 4\noptions: {cores: 8, memory: 16GB}")
    assert (fixed.least_jobs, fixed.most_jobs) == (4, 4)
    adaptive = profile(tmp_path, "kind: pbs\nadapt: {minimum: 1, maximum: 9}")
    assert (adaptive.least_jobs, adaptive.most_jobs) == (1, 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: slrum", "kind: should be one of local, slurm, .*got 'slrum'"),
        ("kind: slurm\njbos: 3", "line 2: jbos: unknown key; did you mean jobs?"),
        ("kind: slurm", "either jobs: 10, or adapt"),
        ("kind: slurm\njobs: 2\nadapt: {maximum: 3}", "either jobs: 10, or adapt"),
        ("kind: slurm\nadapt: {minimum: 3, maximum: 2}", "minimum 3 is more than maximum 2"),
        ("kind: slurm\njobs: 0", "line 2: jobs: .*greater than or equal to 1, got 0"),
        ("kind: local\njobs: 2", "jobs: unknown key"),
        ("kind: ssh", "options: missing"),
        (
            "kind: ssh\noptions: {hosts: [one]}",
            "hosts should be a list: the scheduler's host, then those of the workers",
        ),
        ("kind: scheduler\naddress: example.org:8786", "address: "),
        ("- slurm", "expected a cluster profile"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        profile(tmp_path, text)


def test_a_profile_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="neither a file nor a profile that comes with mlipq, which are local, pbs"):
        read_profile("slurrm", tmp_path)


def test_an_address_of_a_scheduler():
    assert scheduler_at("tls://host:8786").address == "tls://host:8786"
    with pytest.raises(InputError, match="expected an address such as tls://host:8786"):
        scheduler_at("host:8786")


@pytest.fixture
def a_queue(tmp_path, monkeypatch):
    """Commands of SLURM that do nothing, for what is checked before any of them runs."""
    for command in ("sbatch", "scancel", "squeue"):
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_an_option_that_dask_jobqueue_has_not(a_queue, tmp_path):
    with pytest.raises(InputError, match=r"SLURMCluster has no option memry; did you mean memory\?"):
        Place(profile(tmp_path, "kind: slurm\njobs: 1\noptions: {cores: 1, memry: 2GB}")).check()


def test_options_of_the_class_of_the_job_and_of_the_cluster_are_known(a_queue, tmp_path):
    known = "{cores: 1, memory: 2GB, account: a, queue: q, interface: lo, security: true, job_script_prologue: [a], walltime: '1'}"
    check_queue(profile(tmp_path, f"kind: slurm\njobs: 1\noptions: {known}"))


def test_ctrl_c_is_an_interrupt_still_when_dask_jobqueue_is_imported(a_queue, tmp_path):
    profile(tmp_path, "kind: slurm\njobs: 1\noptions: {cores: 1, memory: 2GB}")
    script = """
import signal
from pathlib import Path
from mlipq.labeling.clusters import read_profile
from mlipq.labeling.clusters.queues import check_queue

check_queue(read_profile("cluster.yaml", Path()))
signal.raise_signal(signal.SIGINT)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGINT and "KeyboardInterrupt" in ended.stderr, ended.stderr


def test_a_queue_that_is_not_here(tmp_path):
    with pytest.raises(InputError, match="the command bsub is not here; submit from a login node"):
        Place(profile(tmp_path, "kind: lsf\njobs: 1\noptions: {cores: 1, memory: 2GB}")).check()


@pytest.mark.parametrize(
    ("walltime", "lifetime", "stagger"),
    [
        ("04:00:00", 14100, 75),  # five minutes before
        ("1-00:00:00", 86100, 75),
        ("10:00", 480, 30),  # a fifth before
        ("00:02:00", 60, 15),  # a minute before
        ("00:01:00", 30, 8),  # half of it
    ],
)
def test_workers_retire_in_good_time_and_not_all_at_once(walltime, lifetime, stagger):
    assert _lifetime(walltime) == ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{stagger}s"]


def test_a_walltime_in_words_of_its_own_sets_no_lifetime():
    assert _lifetime("forever") == [] and _lifetime(None) == []


def test_credentials_of_one_job_are_its_users_alone_and_go_with_it(tmp_path):
    with credentials({}, False, tmp_path) as files:
        (folder,) = {path.parent for path in map(tmp_path.__class__, files.values())}
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
        key = folder / "key.pem"
        assert key.stat().st_mode & 0o777 == 0o600 and "PRIVATE KEY" in key.read_text()
        assert set(files) == {
            "tls_ca_file",
            *(f"tls_{role}_{what}" for role in ("scheduler", "worker", "client") for what in ("cert", "key")),
        }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"security": False}, {"protocol": "tcp://"}, {"security": None}])
def test_no_tls_takes_an_explicit_word(tmp_path, options):
    with (
        pytest.raises(
            InputError, match=r"whoever reaches the scheduler's port could run code as you.*unencrypted: true"
        ),
        credentials(dict(options), False, tmp_path),
    ):
        pass
    with credentials(dict(options), True, tmp_path) as files:
        assert files is None


def test_own_certificates_are_taken_and_must_be_there(tmp_path):
    (tmp_path / "ca.pem").write_text("a")
    with credentials({"security": {"tls_ca_file": str(tmp_path / "ca.pem")}}, False, tmp_path) as files:
        assert files == {"tls_ca_file": str(tmp_path / "ca.pem")}
    for own, said in (
        ({"tls_ca_file": "/nowhere"}, "no such file: tls_ca_file: /nowhere"),
        ({"ca": "x"}, "unknown key ca; it may have tls_ca_file"),
    ):
        with pytest.raises(InputError, match=re.escape(said)), credentials({"security": own}, False, tmp_path):
            pass
