"""Predictions, against what a job then took."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Job

from mlipq.labeling import plan as planning
from mlipq.labeling.estimate import SAMPLE, estimate, makespan
from mlipq.labeling.job import make_job


def files_and_folders(job: Job) -> int:
    return 1 + sum(1 for _ in job.out.rglob("*"))


def test_shards_bytes_and_files_are_those_that_came_to_be(molecules, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PARTITION_SECONDS", (0.07, 120.0))
    job = make_job({"inputs": [str(molecules)], "output": str(tmp_path / "out"), "workers": 3}, "a test")
    plan, found = estimate(job, tmp_path, lambda _: None)
    assert found.shards == undisturbed.done() == len(plan.partitions)
    shards = sum(sidecar.bytes for sidecar in undisturbed.folder.sidecars(plan))
    disk = sum(path.stat().st_size for path in undisturbed.out.rglob("*") if path.is_file())
    assert found.bytes == pytest.approx(shards, rel=0.25) and found.disk_bytes == pytest.approx(disk, rel=0.25)
    assert found.files == pytest.approx(files_and_folders(undisturbed), abs=5)  # logs
    assert found.workers == 3 and 0 < found.timed <= SAMPLE and found.slowdown > 0
    assert found.core_seconds == pytest.approx(plan.seconds * found.slowdown)
    assert list(tmp_path.iterdir()) == []


def test_more_workers_than_partitions_are_not_counted(molecules, tmp_path):
    job = make_job({"inputs": [str(molecules)], "output": "out", "workers": 3}, "a test")
    plan, found = estimate(job, tmp_path, lambda _: None, workers=1000)
    assert found.workers == len(plan.partitions)
    assert found.wall_seconds > max(partition.seconds for partition in plan.partitions) * found.slowdown


def shortest(seconds: tuple[int, ...], workers: int) -> int:
    """The best that any order and any assignment could do, by trying all."""
    return min(
        max(sum(task for task, at in zip(seconds, where, strict=True) if at == worker) for worker in range(workers))
        for where in itertools.product(range(workers), repeat=len(seconds))
    )


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_near_the_best(seconds, workers):
    """Graham's bound: 4/3 - 1/(3 workers) of the best there is."""
    best = shortest(tuple(seconds), workers)
    assert best <= makespan(seconds, workers) <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9


def test_the_tail_counts():
    assert makespan([100, *[1] * 100], workers=50) == 100
    assert makespan([1.0] * 101, workers=50) == 3.0
