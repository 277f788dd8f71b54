"""Plan millions of structures: time a structure against ASE's reader alone on the same text, and memory as it goes on.

    python -m benchmarks.labeling.scale_plan
    python -m benchmarks.labeling.scale_plan tmqm.extxyz --structures 10000000

The structures are those of the file (default: the bundled ones of QM7), again and again, each time with other small
displacements. Their text never stands on disk: a process on the last core writes it into a pipe, which mlipq and ASE read as they
read a file, each in a fresh process on the first core. ASE reads before and after, and no more than a million structures: its time
a structure does not depend on their number.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import versions, write_results
from benchmarks.labeling.copies import copies
from benchmarks.labeling.inputs import FILES, load, stem
from benchmarks.labeling.memory import MB
from mlipq.labeling.folder import OutputFolder

RESULTS = Path(__file__).parent / "results" / "scale-plan.json"
SAMPLES = 20
ASE_READS = 1_000_000
READER = Path(__file__).parent / "ase_reader.py"


@contextmanager
def text(source: Path, count: int) -> Iterator[Path]:
    """A named pipe that the text of so many structures comes out of."""
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / f"{stem(source)}.extxyz"
        os.mkfifo(pipe)
        writer = multiprocessing.get_context("spawn").Process(target=_write, args=(pipe, source, count))
        writer.start()
        yield pipe
        writer.join()


def _write(pipe: Path, source: Path, count: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    structures = load(source)
    with pipe.open("w", buffering=1 << 20) as file:
        file.writelines(copies(structures, count))


def run(command: list[str], shown: bool = False) -> tuple[dict[str, float], list[str]]:
    """Run a command on the first core; return its seconds, wall and CPU, and the lines that it printed."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_on_first_core)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if shown:
            print(line, end="", flush=True)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with exit code {os.waitstatus_to_exitcode(status)}")
    return {"wall_s": time.perf_counter() - started, "cpu_s": usage.ru_utime + usage.ru_stime}, lines


def _on_first_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def read_alone(source: Path, count: int) -> dict[str, object]:
    """Time ASE's reader."""
    with text(source, count) as pipe:
        seconds, lines = run([sys.executable, str(READER), str(pipe)])
    assert int(lines[0]) == count
    return _row("ase_reader", count, seconds)


def plan(source: Path, count: int, scratch: Path | None) -> dict[str, object]:
    """Time the plan; the output folder is removed again."""
    with tempfile.TemporaryDirectory(dir=scratch) as name, text(source, count) as pipe:
        out = OutputFolder(Path(name) / "out")
        planner = [sys.executable, "-m", "benchmarks.labeling.piped_plan", str(pipe), str(out.path)]
        seconds, lines = run([*planner, str(max(1, count // SAMPLES))], shown=True)
        samples = [json.loads(line) for line in lines]
        planned = out.plan()
        assert planned.n_structures == count, planned.counts
        return {
            **_row("mlipq_plan", count, seconds),
            "partitions": len(planned.partitions),
            "atoms": sum(partition.n_atoms for partition in planned.partitions),
            "packed_mb": round(sum(path.stat().st_size for path in out.inputs.iterdir()) / MB, 1),
            "plan_json_mb": round(out.plan_file.stat().st_size / MB, 3),
            "peak_rss_mb": samples[-1]["peak_rss_mb"],
            "samples": samples,
        }


def _row(contestant: str, count: int, seconds: dict[str, float]) -> dict[str, object]:
    each = {
        f"{name.removesuffix('_s')}_us_per_structure": round(1e6 * taken / count, 2) for name, taken in seconds.items()
    }
    return {
        "contestant": contestant,
        "structures": count,
        **{name: round(taken, 2) for name, taken in seconds.items()},
        **each,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=FILES[0], help="extended XYZ, gzipped or not")
    parser.add_argument("--structures", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, help="folder for the packed inputs, 500 bytes a molecule of QM7")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    read = min(args.structures, ASE_READS)
    rows = [
        read_alone(args.source, read),
        plan(args.source, args.structures, args.scratch),
        read_alone(args.source, read),
    ]
    before, ours, after = rows
    for quantity in ("wall", "cpu"):
        key = f"{quantity}_us_per_structure"
        ours[f"{quantity}_over_ase_reader"] = round(2 * ours[key] / (before[key] + after[key]), 3)
    print(*(f"{key} {value}" for key, value in ours.items() if key != "samples"), sep="; ")
    settings = {"source": args.source.name, "structures": args.structures, "ase_structures": read}
    software = versions("ase", "numpy", "zarr", "mlipq")
    write_results(args.results, "mlipq plan of very many structures", settings, software, rows)


if __name__ == "__main__":
    main()
