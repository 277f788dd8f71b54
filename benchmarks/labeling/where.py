"""Measure where the time of ``mlipq label`` goes, on one worker: a table of milliseconds per structure.

    python -m benchmarks.labeling.where [FILE ...] [--structures N]

mlipq's own functions are called one by one, on the same structures, and timed from outside. What their sum lacks of the wall
time of ``mlipq label --workers 1`` is the last row.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.harness import versions, write_results
from benchmarks.labeling import inputs, roster
from benchmarks.labeling.stub_task import StubTask
from benchmarks.labeling.timed_child import TimedChild
from mlipq.labeling.clusters.local import local_cluster
from mlipq.labeling.finish import finish
from mlipq.labeling.folder import OutputFolder, Plan
from mlipq.labeling.health import RunWatcher
from mlipq.labeling.job import Job, make_job
from mlipq.labeling.partition import label_partition
from mlipq.labeling.plan import make_plan
from mlipq.labeling.runner import run_on_cluster
from mlipq.labeling.sources import find_sources
from mlipq.store import pack, read_shard, sha256_file, structure_at, write_shard
from mlipq.structures import Structure

RESULTS = Path(__file__).parent / "results" / "where.json"
CLIENT_IMPORTS = "mlipq.cli.main, mlipq.cli.job_progress, mlipq.cli.summary, mlipq.labeling.run, distributed"
GROUPS = ("single point", "pipe", "partition", "Dask", "plan", "finish", "start-up")
"""How the names of parts begin, in the order of the table."""

Seconds = dict[str, float]
Result = TypeVar("Result")


class Stopwatch:
    """Seconds by the name of what took them."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the seconds of this block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def call(self, name: str, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call, and add its seconds."""
        with self.time(name):
            return function(*arguments)

    def total(self, group: str) -> float:
        """Sum the parts of one group, so far."""
        return sum(seconds for name, seconds in self.seconds.items() if name.startswith(f"{group}: "))


def single_points(structures: Path, folder: Path) -> Seconds:
    """Bare single points; what mlipq's add to them; what its checks and its retry ladder add."""
    out = folder / "single_points.json"
    command = [sys.executable, "-m", "benchmarks.labeling.single_points", str(structures), str(out)]
    subprocess.run(command, cwd=roster.ROOT, env={**os.environ, **roster.ONE_THREAD}, check=True)
    found = json.loads(out.read_text())
    return {
        "single point: bare": found["bare"],
        "single point: integrals kept, orbital blocks, populations": found["single_point"] - found["bare"],
        "single point: checks, flags, moments": found["label"] - found["single_point"],
        "single point: retry ladder where the first attempt fails": found["ladder"],
    }


def plan_parts(job: Job, folder: OutputFolder, watch: Stopwatch) -> Plan:
    """Plan twice, since the first time pays for imports; then do again, one by one, what a plan does."""
    sources = find_sources(job, Path())
    with watch.time("start-up: imports of the plan"):
        make_plan(sources, job, OutputFolder(folder.path.with_name("first plan")))
    with watch.time("plan, all"):
        plan = make_plan(sources, job, folder)
    with watch.time("plan: reading and checking the file"):
        structures = [item for source in sources for item in source.structures() if isinstance(item, Structure)]
    first = 0
    for partition in plan.partitions:
        members = structures[first : first + partition.n_structures]
        first += partition.n_structures
        with watch.time("plan: packing, compressing, writing"):
            write_shard(folder.path / "again.zarr.zip", pack(members, {}), {})
    (folder.path / "again.zarr.zip").unlink()
    whole = watch.seconds.pop("plan, all")
    watch.seconds["start-up: imports of the plan"] -= whole
    watch.seconds["plan: identities, ledgers, the rest"] = whole - watch.total("plan")
    return plan


def partition_parts(folder: OutputFolder, plan: Plan, watch: Stopwatch) -> None:
    """Label every partition; then do again, one by one, what it does beside labeling."""
    child = TimedChild()
    watch.call("start-up: labeling child", child.start)
    with watch.time("partition, all"):
        for partition in plan.partitions:
            label_partition(folder, plan, partition.index, child)
    child.close()
    for partition in plan.partitions:
        packed_file = folder.packed_input(partition.index)
        with watch.time("partition: reading the packed input"):
            sha256_file(packed_file)
            packed = read_shard(packed_file)
        with watch.time("partition: structures from the packed input"):
            for row in range(len(packed)):
                structure_at(packed, row)
        labelled = read_shard(folder.shard_file(partition.index, plan.settings["format"]))
        with watch.time("partition: compressing and writing the shard"):
            write_shard(folder.path / "again.zarr.zip", labelled, {})
    (folder.path / "again.zarr.zip").unlink()
    whole = watch.seconds.pop("partition, all") - child.labeling
    watch.seconds["partition: stacking, the rest"] = whole - watch.total("partition")
    watch.seconds["pipe: what the child waits between structures"] = child.labeling - child.computing


def dask_parts(tasks: int, watch: Stopwatch) -> None:
    """Start a cluster of one worker, run tasks that do nothing, stop it."""
    with ExitStack() as stack:
        cluster = watch.call("start-up: cluster", stack.enter_context, local_cluster(1))
        with watch.time("start-up: a worker's imports"):
            cluster.client.submit(importlib.import_module, "mlipq.labeling.partition").exception()
        with watch.time("Dask: scheduling"):
            for _ in run_on_cluster([StubTask(number) for number in range(tasks)], cluster, RunWatcher()):
                pass
        watch.call("start-up: cluster", stack.close)


def measure(frames: list[inputs.Frame]) -> tuple[Seconds, float, int]:
    """Return the seconds of every part, of ``mlipq label`` as a whole, and the number of partitions."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        structures = inputs.write(frames, Path(temporary) / "structures.extxyz")
        watch.seconds |= single_points(structures, Path(temporary))
        wall = roster.MLIPQ.run(structures, Path(temporary) / "whole", 1)
        shutil.rmtree(Path(temporary) / "whole")
        command = [sys.executable, "-c", f"import {CLIENT_IMPORTS}"]
        watch.call("start-up: client's imports", subprocess.run, command)
        job = make_job({"inputs": [str(structures)], "output": str(Path(temporary) / "out")}, "where")
        folder = OutputFolder(Path(job.output))
        plan = plan_parts(job, folder, watch)
        partition_parts(folder, plan, watch)
        dask_parts(len(plan.partitions), watch)
        watch.call("finish: hashes, statistics, manifest", finish, folder)
    return watch.seconds, wall, len(plan.partitions)


def rows_of(name: str, seconds: Seconds, wall: float, count: int) -> list[dict[str, Any]]:
    """One row a part, in milliseconds per structure and as a share of the wall time."""
    parts = {part: seconds[part] for part in sorted(seconds, key=lambda part: GROUPS.index(part.split(":")[0]))}
    parts |= {"not accounted for": wall - sum(parts.values()), "wall time of mlipq label": wall}
    return [
        {
            "contestant": f"{name}: {part}",
            "part": part,
            "input": name,
            "ms_per_structure": round(1e3 * spent / count, 4),
            "percent_of_wall": round(100 * spent / wall, 2),
        }
        for part, spent in parts.items()
    ]


def main() -> None:
    parser = inputs.parser(__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"workers": 1, "threads_per_process": 1}
    for path in arguments.files:
        frames = inputs.evenly(inputs.load(path), arguments.structures)
        name = inputs.stem(path)
        seconds, wall, partitions = measure(frames)
        settings[name] = {**inputs.describe(frames), "partitions": partitions}
        found = rows_of(name, seconds, wall, len(frames))
        rows += found
        print(f"\n| {name}: {len(frames)} structures, {partitions} partitions | ms per structure | % |\n|---|---|---|")
        for row in found:
            print(f"| {row['part']} | {row['ms_per_structure']:.3f} | {row['percent_of_wall']:.1f} |", flush=True)
    software = versions("mlipq", "tblite", "scipy-openblas32", "ase", "numpy", "dask", "distributed", "numcodecs")
    write_results(arguments.results, "where the time of labeling goes", settings, software, rows)


if __name__ == "__main__":
    main()
