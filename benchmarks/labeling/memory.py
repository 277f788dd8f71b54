"""Memory of a labeling job: client, workers and labeling children, and the client at 1,000 against 100,000 structures.

    python -m benchmarks.labeling.memory
    python -m benchmarks.labeling.memory tmqm_20000.extxyz

A worker and its child are sampled together five times a second while ``mlipq label`` runs on the given files (default: the
bundled ones). RSS is what each process holds, pages that it shares with others counted in each; PSS counts a shared page in
equal parts, USS not at all. A single process's peak RSS is the kernel's own (VmHWM), which misses nothing between samples.

The client is measured alone in ``mlipq plan``, and in ``mlipq label`` of a plan whose partitions are all done: it then checks,
counts and describes every shard. The labels of that second job are invented, as memory does not depend on them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from benchmarks.harness import versions, write_results
from benchmarks.labeling.copies import write_copies
from benchmarks.labeling.inputs import FILES, load
from mlipq.labeling.folder import OutputFolder, Sidecar
from mlipq.schema import GFN1_ARRAYS
from mlipq.store import commit_json, read_shard, write_shard

RESULTS = Path(__file__).parent / "results" / "memory.json"
SAMPLE_SECONDS = 0.2
SHARED_EVERY = 10
"""PSS and USS take the kernel milliseconds a process: one sample in so many has them."""
PLANNED = (1_000, 100_000)
MB = 1e6
PROGRAM = "from mlipq.cli.main import main; main()"
MLIPQ = [sys.executable, "-c", PROGRAM]
TELL_STATUS = "import atexit, sys; atexit.register(lambda: print(open('/proc/self/status').read(), file=sys.stderr)); "


@dataclass
class Memory:
    """Samples of one process, or of a worker and its child together, in bytes."""

    rss: list[int] = field(default_factory=list)
    pss: list[int] = field(default_factory=list)
    uss: list[int] = field(default_factory=list)
    most: int = 0
    """Peak RSS, from the kernel where it is one process."""

    def add(self, processes: list[psutil.Process], shared: bool) -> None:
        """Take one sample of some processes together."""
        self.rss.append(sum(process.memory_info().rss for process in processes))
        self.most = max(self.most, self.rss[-1], peak(processes[0].pid) if len(processes) == 1 else 0)
        if shared:
            found = [process.memory_full_info() for process in processes]
            self.pss.append(sum(info.pss for info in found))
            self.uss.append(sum(info.uss for info in found))

    def row(self, contestant: str) -> dict[str, object]:
        """What is written of it."""
        return {
            "contestant": contestant,
            "rss_peak_mb": round(self.most / MB, 1),
            "rss_median_mb": round(median(self.rss) / MB, 1),
            **({"pss_peak_mb": round(max(self.pss) / MB, 1)} if self.pss else {}),
            **({"uss_peak_mb": round(max(self.uss) / MB, 1)} if self.uss else {}),
            "samples": len(self.rss),
        }


def peak(pid: int) -> int:
    """Return the most that a process ever held, in bytes."""
    return peak_of(Path(f"/proc/{pid}/status").read_text())


def peak_of(status: str) -> int:
    """Find peak RSS, in bytes, in what the kernel says of a process; 0 where that has ended."""
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def watch(command: list[str]) -> dict[str, Memory]:
    """Run a command and sample it and what it starts until it ends."""
    found: dict[str, Memory] = defaultdict(Memory)
    running = psutil.Popen(command, stdout=subprocess.DEVNULL)
    number = 0
    while running.poll() is None:
        for name, processes in groups(running).items():
            try:
                found[name].add(processes, number % SHARED_EVERY == 0)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                pass  # it ended meanwhile
        number += 1
        time.sleep(SAMPLE_SECONDS)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {running.returncode}")
    return found


def groups(client: psutil.Process) -> dict[str, list[psutil.Process]]:
    """Name the processes of a run: the client (scheduler included), each worker, its child, and the two together."""
    named = {"client and scheduler": [client]}
    try:
        everyone = client.children(recursive=True)
        children = {process.ppid(): process for process in everyone if "mlipq.xtb.child" in process.cmdline()}
        workers = [process for process in everyone if process.pid in children]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return named
    for number, worker in enumerate(sorted(workers, key=lambda process: process.pid)):
        child = children[worker.pid]
        named[f"worker {number}"], named[f"child {number}"] = [worker], [child]
        named[f"worker and child {number}"] = [worker, child]
    return named


def client_alone(*arguments: str) -> float:
    """Run mlipq and return its peak RSS in MB, as it reads it at its end: ``getrusage`` would count this process's as well."""
    command = [sys.executable, "-c", TELL_STATUS + PROGRAM, *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"mlipq {' '.join(arguments)} ended with exit code {done.returncode}\n{done.stderr}")
    return peak_of(done.stderr) / MB


def invent_labels(folder: OutputFolder) -> None:
    """Complete every partition of a plan with random labels."""
    plan, random = folder.plan(), np.random.default_rng(seed=0)
    for partition in plan.partitions:
        table = read_shard(folder.packed_input(partition.index))
        for spec in GFN1_ARRAYS:
            rows = table.n_atoms if spec.level == "atom" else len(table)
            table.arrays[spec.name] = random.normal(size=(rows, *spec.shape)).astype(spec.dtype)
            table.specs[spec.name] = spec
        shard = folder.shard_file(partition.index, plan.settings["format"])
        size, digest = write_shard(shard, table, {"labeler": plan.settings["labeler"]})
        sidecar = Sidecar(
            index=partition.index,
            file=shard.name,
            bytes=size,
            sha256=digest,
            n_structures=len(table),
            n_atoms=table.n_atoms,
            failures=[],
            seconds=0.0,
            blas="none",
        )
        commit_json(folder.sidecar_file(partition.index), sidecar.model_dump())


def measure_client(folder: Path) -> list[dict[str, object]]:
    """Peak RSS of the client that plans, and of the one that finishes, at both numbers of structures."""
    rows: list[dict[str, object]] = []
    for count in PLANNED:
        file = write_copies(load(FILES[0]), count, folder / f"{count}.extxyz")
        out = folder / f"out-{count}"
        planning = client_alone("plan", str(file), "-o", str(out))
        invent_labels(OutputFolder(out))
        finishing = client_alone("label", str(out))
        for contestant, found in (("plan", planning), ("label, all partitions done", finishing)):
            rows.append({"contestant": f"client: {contestant}", "structures": count, "rss_peak_mb": round(found, 1)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, help="files to label; default: the bundled ones")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    inputs = [str(path) for path in args.inputs or FILES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "labelled"
        found = watch([*MLIPQ, "label", *inputs, "-o", str(out), "--workers", str(args.workers)])
        n_structures = OutputFolder(out).plan().n_structures
        rows = [memory.row(contestant) for contestant, memory in sorted(found.items())]
        rows += measure_client(folder)
    for row in rows:
        print(*(f"{key} {value}" for key, value in row.items()), sep="; ")
    settings = {
        "inputs": [Path(path).name for path in inputs],
        "structures": n_structures,
        "workers": args.workers,
        "sample_s": SAMPLE_SECONDS,
    }
    software = versions("mlipq", "tblite", "numpy", "ase", "distributed", "psutil")
    write_results(args.results, "memory of a labeling job", settings, software, rows)


if __name__ == "__main__":
    main()
