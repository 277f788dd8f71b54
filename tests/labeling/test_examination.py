"""A cluster looked at from its workers' seats."""

import pytest
from distributed import Client, LocalCluster

from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.clusters.examination import _renames, examine_cluster


@pytest.fixture
def adaptive():
    """A cluster that sends a worker home as soon as it has no task."""
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as deployed,
        Client(deployed) as client,
    ):
        keeper = deployed.adapt(minimum=0, maximum=1, interval="200ms", wait_count=3)
        yield Cluster(client, most=1, deployed=deployed, adaptive=keeper)


def test_workers_stay_while_they_are_looked_at(adaptive, tmp_path):
    ((_, findings),) = examine_cluster(adaptive, tmp_path).items()
    assert {finding.check: finding.said for finding in findings if not finding.right} == {}
    assert {"shared folder", "writes arrive", "reference molecule", "renames", "clock", "versions"} <= {
        finding.check for finding in findings
    }
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_replace_a_file_is_told_of(adaptive, tmp_path):
    (tmp_path / "renamed-new").mkdir()  # where it would write the new file
    adaptive.client.submit(int, pure=False).result()
    adaptive.keep_workers()
    (worker,) = adaptive.client.scheduler_info()["workers"]
    found = _renames(adaptive, tmp_path, worker)
    assert not found.right
    assert f"the worker cannot replace {tmp_path / 'renamed'}: [Errno 21] Is a directory" in found.said
