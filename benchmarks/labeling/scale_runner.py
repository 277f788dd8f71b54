"""Drive many partitions through a real Dask scheduler with the calculation left out: time a partition, memory over time.

    python -m benchmarks.labeling.scale_runner
    python -m benchmarks.labeling.scale_runner --partitions 10000 --workers 4

Twice: on the local cluster, as ``mlipq label`` runs on one machine (the client's process holds the scheduler), and with a
scheduler and workers that ``dask scheduler`` and ``dask worker`` started in processes of their own, with Dask's default
settings. The tasks report and return what those of real partitions do; nothing is computed and nothing is written.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.harness import versions, write_results
from benchmarks.labeling.stub_task import StubTask
from mlipq.labeling.clusters import open_cluster, scheduler_at
from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.clusters.profile import LocalProfile
from mlipq.labeling.health import RunWatcher
from mlipq.labeling.runner import run_on_cluster

RESULTS = Path(__file__).parent / "results" / "scale-runner.json"
SAMPLES = 20
MB = 1e6

Processes = dict[str, psutil.Process]


@contextmanager
def one_process(workers: int, folder: Path) -> Iterator[tuple[Cluster, Processes]]:
    """A cluster as ``mlipq label`` makes it."""
    with open_cluster(LocalProfile(), folder, workers) as cluster:
        yield cluster, {"client and scheduler": psutil.Process(), **_workers(cluster)}


@contextmanager
def own_processes(workers: int, folder: Path) -> Iterator[tuple[Cluster, Processes]]:
    """A scheduler that somebody else started, and workers beside it."""
    found = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--scheduler-file", str(found)]
    with ExitStack() as stack:
        scheduler = _started(stack, [*dask, "scheduler", *local, "--port", "0", "--dashboard-address", "127.0.0.1:0"])
        _started(stack, [*dask, "worker", *local, "--nworkers", str(workers), "--nthreads", "1"])
        address = _address(found)
        cluster = stack.enter_context(open_cluster(scheduler_at(address), folder))
        cluster.client.wait_for_workers(workers)
        yield cluster, {"client": psutil.Process(), "scheduler": psutil.Process(scheduler.pid), **_workers(cluster)}


def _address(scheduler_file: Path) -> str:
    """Wait for the scheduler to say where it is."""
    while not (scheduler_file.exists() and scheduler_file.stat().st_size):
        time.sleep(0.1)
    return str(json.loads(scheduler_file.read_text())["address"])


def _started(stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def _workers(cluster: Cluster) -> Processes:
    pids = sorted(cluster.client.run(os.getpid).values())
    return {f"worker {number}": psutil.Process(pid) for number, pid in enumerate(pids)}


CLUSTERS = {"local": one_process, "dask scheduler": own_processes}


def measure(contestant: str, partitions: int, workers: int) -> dict[str, object]:
    """Run so many tasks; tell the time of each, what it cost each process, and the memory of these as the run went on."""
    with tempfile.TemporaryDirectory() as folder, CLUSTERS[contestant](workers, Path(folder)) as (cluster, processes):
        warm_up = [StubTask(partitions + number) for number in range(100)]
        assert len(list(run_on_cluster(warm_up, cluster, RunWatcher()))) == 100
        before = {name: _cpu(process) for name, process in processes.items()}
        samples: list[dict[str, float]] = []
        started = time.perf_counter()
        tasks = [StubTask(index) for index in range(partitions)]
        for done, (_, outcome) in enumerate(run_on_cluster(tasks, cluster, RunWatcher()), start=1):
            assert not isinstance(outcome, Exception), outcome
            if done % (partitions // SAMPLES) == 0:
                rss = {
                    f"{name}_rss_mb": round(process.memory_info().rss / MB, 1) for name, process in processes.items()
                }
                samples.append({"done": done, "wall_s": round(time.perf_counter() - started, 2), **rss})
                print(contestant, *(f"{key} {value}" for key, value in samples[-1].items()), sep="; ", flush=True)
        wall = time.perf_counter() - started
        spent = {name: _cpu(process) - before[name] for name, process in processes.items()}
    return {
        "contestant": contestant,
        "partitions": done,
        "wall_ms_per_partition": round(1e3 * wall / done, 3),
        "cpu_ms_per_partition": {name: round(1e3 * seconds / done, 3) for name, seconds in spent.items()},
        "samples": samples,
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    rows = [measure(name, args.partitions, args.workers) for name in CLUSTERS]
    for row in rows:
        print(f"{row['contestant']}: {row['wall_ms_per_partition']} ms a partition, cpu {row['cpu_ms_per_partition']}")
    settings = {"partitions": args.partitions, "workers": args.workers}
    software = versions("mlipq", "dask", "distributed")
    write_results(args.results, "partitions through a Dask scheduler, calculation stubbed", settings, software, rows)


if __name__ == "__main__":
    main()
