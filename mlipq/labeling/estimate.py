"""Predict what a job will take, before it runs."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path

from mlipq.errors import LabelError
from mlipq.labeling.child import LabelingChild
from mlipq.labeling.clusters.local import core_count
from mlipq.labeling.folder import OutputFolder, Plan
from mlipq.labeling.job import Job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import find_sources
from mlipq.store import read_shard, structure_at

START_SECONDS = 4.0
"""A cluster's workers and their children take about this long to start; on a queueing system, once their jobs run."""
PARTITION_SECONDS = 0.03
"""Of a worker, to read a partition and to commit its shard."""
FINISH_SECONDS = 3e-4
"""Of one core for each structure, to check the shards and to write the manifest."""
SAMPLE, SAMPLE_SECONDS = 32, 10.0
"""Structures of the job that are labelled to time this machine, and how long that may take."""

LABEL_BYTES = {"gfn1": 40, "pbe": 26}
"""Of a compressed shard for each atom, beside what the packed input holds, by labeler; measured on qm7, gscdb138 and tmqm."""
SHARD_BYTES = 8_000
"""Of each shard, beside that."""
SIDECAR_BYTES = 300
FILES_PER_PARTITION = 3
"""The packed input, the shard and its sidecar."""
OTHER_FILES = 11
"""Four folders, the plan, three ledgers, the manifest, and in ``logs/`` the log and the status file."""


@dataclass(frozen=True)
class Estimate:
    """What a job will take."""

    core_seconds: float
    """Of single points."""
    wall_seconds: float
    """From the start to the finished dataset."""
    workers: int
    shards: int
    bytes: int
    """Of the shards."""
    disk_bytes: int
    """Of the whole output folder."""
    files: int
    """Files and folders in it: what counts where inodes are counted."""
    slowdown: float
    """Of this machine against the reference machine of the cost model."""
    timed: int
    """Structures of the job that this was measured on; 0 where it was the labeler's reference molecule."""
    blas: str
    warning: str
    """What is wrong with it; empty where nothing is."""


def estimate(
    job: Job, base: Path, progress: Callable[[int], None], workers: int | None = None
) -> tuple[Plan, Estimate]:
    """Plan a job in a temporary folder and predict its cost, from the plan and from calculations on this machine.

    Parameters
    ----------
    job, base
        As for :func:`mlipq.labeling.run.run_job`.
    progress
        Called with the number of structures read.
    workers
        How many there will be, each on one core; by default those that the job says, else one for each core of this machine.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mlipq-dry-run-") as temporary:
        folder = OutputFolder(Path(temporary))
        plan = make_plan(find_sources(job, base), job, folder, progress)
        planning = time.perf_counter() - started
        packed = sum(path.stat().st_size for path in folder.inputs.iterdir())
        child = LabelingChild(job.labeler.build(), job.limits)
        try:
            greeting = child.start()
            ratios = _timed(child, folder, plan)
        finally:
            child.close()
        planned = folder.plan_file.stat().st_size
    slowdown = sum(ratios) / len(ratios) if ratios else greeting["slowdown"]
    workers = min(workers or job.workers or core_count(), max(len(plan.partitions), 1))
    n_atoms = sum(partition.n_atoms for partition in plan.partitions)
    shard_bytes = packed + LABEL_BYTES[job.labeler.name] * n_atoms + SHARD_BYTES * len(plan.partitions)
    labeling = makespan([partition.seconds * slowdown + PARTITION_SECONDS for partition in plan.partitions], workers)
    return plan, Estimate(
        core_seconds=plan.seconds * slowdown,
        wall_seconds=planning + START_SECONDS + labeling + FINISH_SECONDS * plan.n_structures,
        workers=workers,
        shards=len(plan.partitions),
        bytes=shard_bytes,
        disk_bytes=packed + shard_bytes + SIDECAR_BYTES * len(plan.partitions) + planned,
        files=FILES_PER_PARTITION * len(plan.partitions) + OTHER_FILES,
        slowdown=slowdown,
        timed=len(ratios),
        blas=greeting["blas"],
        warning=greeting["warning"],
    )


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Return how long workers take for tasks that are handed out longest first, each to whoever is free.

    Examples
    --------
    >>> makespan([1, 5, 2], workers=2)
    5.0
    """
    busy_until = [0.0] * workers
    for task in sorted(seconds, reverse=True):
        heapreplace(busy_until, busy_until[0] + task)
    return max(busy_until)


def _timed(child: LabelingChild, folder: OutputFolder, plan: Plan) -> list[float]:
    """Label some structures of the plan; return how long each took over what the cost model predicts.

    A structure is drawn with a probability that goes with its predicted cost. So the mean of the ratios is an unbiased
    estimate of the ratio of the sums, whatever the cost model makes of this machine and of this kind of structure.
    """
    if not plan.partitions or plan.seconds / plan.n_structures > SAMPLE_SECONDS / 3:
        return []
    draw, cost = random.Random(0), child.labeler.cost
    ratios: list[float] = []
    deadline = time.perf_counter() + SAMPLE_SECONDS
    for partition in draw.choices(plan.partitions, [partition.seconds for partition in plan.partitions], k=SAMPLE):
        packed = read_shard(folder.packed_input(partition.index))
        structures = [structure_at(packed, row) for row in range(len(packed))]
        (structure,) = draw.choices(structures, [cost(structure.numbers) for structure in structures])
        started = time.perf_counter()
        if started > deadline:
            break
        try:
            child.label(structure)
        except LabelError:
            pass  # takes its time in the job, too
        ratios.append((time.perf_counter() - started) / cost(structure.numbers))
    return ratios
