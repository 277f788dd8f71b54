"""Look at an output folder of very many partitions: ``mlipq status``, what is missing, and ``mlipq finish``.

    python -m benchmarks.labeling.scale_folder
    python -m benchmarks.labeling.scale_folder --partitions 20000 --scratch /scratch

The folder is made of the shards of the bundled tmQM complexes (labels invented, as time does not depend on them), linked again and
again under other numbers, each with its sidecar. Commands run in fresh processes, start-up included; files are in the
system's cache, where those of a job under way are. What finishing takes is measured on fewer partitions: every shard is read twice.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

from benchmarks.harness import spread, versions, write_results
from benchmarks.labeling.inputs import FILES
from benchmarks.labeling.memory import MB, PROGRAM, TELL_STATUS, invent_labels, peak_of
from mlipq.labeling.finish import finish, is_finished
from mlipq.labeling.folder import OutputFolder, Plan, PlannedPartition
from mlipq.labeling.job import make_job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import find_sources
from mlipq.store import Manifest, commit_json

RESULTS = Path(__file__).parent / "results" / "scale-folder.json"
FINISHED = 2_000
"""Partitions that are finished for real."""


def labelled(folder: Path) -> OutputFolder:
    """A small job, done and finished."""
    job = make_job({"inputs": [str(FILES[1])], "output": "small"}, "benchmark")
    small = OutputFolder(folder / "small")
    make_plan(find_sources(job, folder), job, small)
    invent_labels(small)
    finish(small)
    return small


def multiplied(small: OutputFolder, count: int, path: Path) -> OutputFolder:
    """An output folder of ``count`` partitions, all done, with its manifest."""
    plan, manifest = small.plan(), Manifest.read(small.manifest_file)
    large = OutputFolder(path)
    for part in (large.inputs, large.shards):
        part.mkdir(parents=True)
    for ledger in (large.rejected_file, large.duplicates_file):
        ledger.touch()
    partitions, entries = [], []
    originals = zip(plan.partitions, small.sidecars(plan), manifest.shards, strict=True)
    for index, (planned, sidecar, entry) in enumerate(islice(cycle(list(originals)), count)):
        shard = large.shard_file(index, "zarr")
        shard.hardlink_to(small.shards / sidecar.file)
        own = sidecar.model_copy(update={"index": index, "file": shard.name})
        large.sidecar_file(index).write_text(own.model_dump_json(indent=1))
        entries.append(entry.model_copy(update={"file": f"{large.shards.name}/{shard.name}"}))
        partitions.append(_numbered(planned, index))
    commit_json(large.plan_file, plan.model_copy(update={"partitions": partitions}).model_dump())
    manifest.model_copy(update={"shards": entries}).write(large.manifest_file)
    return large


def _numbered(planned: PlannedPartition, index: int) -> PlannedPartition:
    return PlannedPartition(index, planned.n_structures, planned.n_atoms, planned.seconds, planned.sha256)


def command(repeats: int, exit_code: int, *arguments: str) -> dict[str, object]:
    """Run mlipq; tell its wall time and its peak memory."""
    walls = []
    for _ in range(repeats):
        started = time.perf_counter()
        mlipq = [sys.executable, "-c", TELL_STATUS + PROGRAM, *arguments]
        done = subprocess.run(mlipq, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        walls.append(time.perf_counter() - started)
        if done.returncode != exit_code:
            raise SystemExit(f"mlipq {' '.join(arguments)} ended with exit code {done.returncode}\n{done.stderr}")
    return {"wall_s": spread(walls), "peak_rss_mb": round(peak_of(done.stderr) / MB, 1)}


def parts(folder: OutputFolder, plan: Plan, repeats: int) -> list[dict[str, object]]:
    """Time what the commands are made of, in this process."""
    done = {sidecar.file: sidecar.sha256 for sidecar in folder.sidecars(plan)}
    measured: dict[str, Callable[[], object]] = {
        "read plan.json": lambda: Plan.model_validate_json(folder.plan_file.read_bytes()),
        "read plan.json again in the same process": folder.plan,
        "read all sidecars": lambda: sum(sidecar.bytes for sidecar in folder.sidecars(plan)),
        "list what is missing": lambda: folder.missing(plan),
        "compare with the manifest": lambda: is_finished(folder, plan, done),
        "read and check the manifest": lambda: Manifest.read(folder.manifest_file),
    }
    rows: list[dict[str, object]] = []
    for name, call in measured.items():
        walls = []
        for _ in range(repeats):
            started = time.perf_counter()
            call()
            walls.append(time.perf_counter() - started)
        rows.append({"contestant": name, "wall_s": spread(walls)})
    return rows


def measure(count: int, repeats: int, scratch: Path) -> list[dict[str, object]]:
    """Make the folders and measure; rows of results."""
    small = labelled(scratch)
    large = multiplied(small, count, scratch / "large")
    status = ["status", str(large.path), "--json"]
    rows = parts(large, large.plan(), repeats)
    rows.append({"contestant": "mlipq status, all done", **command(repeats, 0, *status)})
    for index in range(0, count, 2):
        large.sidecar_file(index).unlink()
    rows.append({"contestant": "mlipq status, half of it done", **command(repeats, 3, *status)})
    for index in range(1, count, 2):
        large.sidecar_file(index).unlink()
    rows.append({"contestant": "mlipq status, nothing done", **command(repeats, 3, *status)})
    fewer = multiplied(small, min(count, FINISHED), scratch / "fewer")
    finishing = command(1, 0, "finish", str(fewer.path))
    return [*rows, {"contestant": "mlipq finish", "partitions": min(count, FINISHED), **finishing}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="folder to work in: 12 KB and two inodes a partition")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        rows = measure(args.partitions, args.repeats, Path(folder))
    for row in rows:
        print(*(f"{key} {value}" for key, value in row.items()), sep="; ")
    settings = {"partitions": args.partitions, "cores": 1}
    write_results(
        args.results, "an output folder of very many partitions", settings, versions("mlipq", "pydantic"), rows
    )


if __name__ == "__main__":
    main()
