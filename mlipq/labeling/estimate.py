"""Predict what a job will take, before it runs."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlipq.labeling.child import LabelingChild
from mlipq.labeling.folder import OutputFolder, Plan
from mlipq.labeling.job import Job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.runner import core_count
from mlipq.labeling.sources import find_sources

START_SECONDS = 4.0
"""A local cluster and its children take about this long to start."""
BYTES_PER_ATOM = 65
BYTES_PER_SHARD = 30_000
"""Of a compressed shard, labels included; measured on qm7, gscdb138 and tmqm."""


def estimate(job: Job, base: Path, progress: Callable[[int], None]) -> tuple[Plan, dict[str, Any]]:
    """Plan a job in a temporary folder and predict its cost, scaled by a reference calculation on this machine.

    Parameters
    ----------
    job, base
        As for :func:`mlipq.labeling.run.run_job`.
    progress
        Called with the number of structures read.

    Returns
    -------
    Plan, dict
        The plan, and ``core_seconds``, ``wall_seconds``, ``workers``, ``shards``, ``bytes``, ``blas``.
    """
    with tempfile.TemporaryDirectory(prefix="mlipq-dry-run-") as folder:
        plan = make_plan(find_sources(job, base), job, OutputFolder(Path(folder)), progress)
    child = LabelingChild(job.labeler.build(), job.limits)
    greeting = child.start()
    child.close()
    core_seconds = plan.seconds * greeting["slowdown"]
    workers = min(job.workers or core_count(), max(len(plan.partitions), 1))
    return plan, {
        "core_seconds": core_seconds,
        "wall_seconds": core_seconds / workers + START_SECONDS,
        "workers": workers,
        "shards": len(plan.partitions),
        "bytes": sum(BYTES_PER_SHARD + BYTES_PER_ATOM * partition.n_atoms for partition in plan.partitions),
        "blas": greeting["blas"],
    }
