"""Scheduler, client and two workers on hosts of their own, with TLS; one host is cut off while it works, and comes back."""

import os
import sys

import pytest
import yaml
from distributed import Security
from jobs import MLIPQ, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

PATIENCE = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}
"""A silent host is given up after so long, in place of half a minute."""

SUPERVISED = 'while true; do "$@"; sleep 0.5; done'
"""Starts a worker again whenever it ends, as systemd or Kubernetes does."""


@pytest.fixture
def certificates(tmp_path):
    """Certificate and key, as files."""
    made = Security.temporary()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(made.tls_ca_file)
    key.write_text(made.tls_client_key)
    return certificate, key


@pytest.fixture
def dask(certificates, tmp_path):
    """Start a scheduler or a supervised worker on a host: ``dask(host, "worker", …)``."""
    certificate, key = certificates
    tls = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    settings = {**os.environ, **PATIENCE, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}

    def start(host, role, *options):
        command = [sys.executable, "-m", "dask", role, *options, *tls, "--host", host.address, "--protocol", "tls"]
        supervised = ["sh", "-c", SUPERVISED, "sh"] if role == "worker" else []
        with (tmp_path / f"{host.name}.log").open("w") as log:
            host.popen(*supervised, *command, env=settings, stdout=log, stderr=log)

    return start


def test_a_host_that_is_cut_off_and_comes_back(hosts, dask, certificates, job, undisturbed, tmp_path):
    scheduler, client, *workers = hosts
    dask(scheduler, "scheduler", "--port", "8786", "--no-dashboard")
    address = f"tls://{scheduler.address}:8786"
    for worker in workers:
        dask(worker, "worker", address, "--nthreads", "1", "--memory-limit", "0", "--no-dashboard")
    files = dict(zip(("tls_ca_file", "tls_client_cert", "tls_client_key"), map(str, (certificates[0], *certificates))))
    profile = tmp_path / "cluster.yaml"
    profile.write_text(yaml.safe_dump({"kind": "scheduler", "address": address, "options": files}))

    cut_off = workers[1]
    settings = {**os.environ, **PATIENCE}
    with client.popen(MLIPQ, "label", job.out, "--cluster", profile, env=settings) as labeling:
        assert until(lambda: job.done() >= 2 and lives(job, cut_off) == 1, 200)
        cut_off.cut()
        assert labeling.poll() is None
        given_up = f"Remove worker addr: tls://{cut_off.address}"
        assert until(lambda: given_up in (tmp_path / "scheduler.log").read_text(), 60), "the host is not given up"
        cut_off.restore()
        assert labeling.wait(300) == 0
    assert job.content() == undisturbed.content()
    assert until(lambda: lives(job, cut_off) == 2, 60), "the worker did not come back"


def lives(job, host) -> int:
    """How often a worker began on a host: each has a log of its own."""
    return len(list((job.out / "logs" / "workers").glob(f"{host.name}-*.log")))
