"""Time ``mlipq plan`` against ASE's reader alone on the same text: whole processes, and seconds a structure beyond them.

    python -m benchmarks.labeling.plan
    python -m benchmarks.labeling.plan qm7.extxyz tmqm.extxyz

Bundled structures are multiplied by small displacements; files of one's own are read as they are, uncompressed. The part of
a file, an eighth, gives the marginal time: what the rest takes, over its number of structures.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import spread, versions, write_results
from benchmarks.labeling.copies import write_copies
from benchmarks.labeling.inputs import FILES, load, stem, write

RESULTS = Path(__file__).parent / "results" / "plan.json"
BUNDLED = [*FILES, Path(__file__).parents[2] / "datasets" / "samples" / "gscdb138.extxyz.gz"]
COPIES = 5_000
PART = 8
READER = Path(__file__).parent / "ase_reader.py"
MLIPQ = "from mlipq.cli.main import main; main()"


def read_alone(path: Path, out: Path) -> list[str]:
    """Command of ASE's reader."""
    return [sys.executable, str(READER), str(path)]


def plan(path: Path, out: Path) -> list[str]:
    """Command of ``mlipq plan``."""
    return [sys.executable, "-c", MLIPQ, "plan", str(path), "-o", str(out)]


CONTESTANTS = {"ase_reader": read_alone, "mlipq_plan": plan}


def seconds(command: list[str], out: Path) -> float:
    """Run a command to its end; what it wrote is removed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    taken = time.perf_counter() - started
    shutil.rmtree(out, ignore_errors=True)
    return taken


def measure(whole: Path, part: Path, repeats: int, out: Path) -> dict[str, list[tuple[float, float]]]:
    """Time all contestants in turn on the whole file and on a part of it, after one round that does not count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(1 + repeats):
        for name, command in CONTESTANTS.items():
            taken[name].append((seconds(command(whole, out), out), seconds(command(part, out), out)))
    return {name: rounds[1:] for name, rounds in taken.items()}


def rows_of(name: str, taken: dict[str, list[tuple[float, float]]], more: int) -> list[dict[str, object]]:
    """Medians and ratios, the ratios formed within each round; ``more`` structures are in the whole but not the part."""
    alone = taken["ase_reader"]
    rows = []
    for contestant, rounds in taken.items():
        pairs = list(zip(rounds, alone, strict=True))
        rows.append(
            {
                "input": name,
                "contestant": contestant,
                "wall_s": spread([whole for whole, _ in rounds]),
                "marginal_us_per_structure": spread([1e6 * (whole - part) / more for whole, part in rounds]),
                "wall_over_ase_reader": spread([ours[0] / theirs[0] for ours, theirs in pairs]),
                "marginal_over_ase_reader": spread(
                    [(ours[0] - ours[1]) / (theirs[0] - theirs[1]) for ours, theirs in pairs]
                ),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, help="extended XYZ, gzipped or not")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, for the children too
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in args.inputs or BUNDLED:
            frames = load(path)
            whole = Path(folder) / f"{stem(path)}.extxyz"
            write(frames, whole) if args.inputs else write_copies(frames, COPIES, whole)
            frames = load(whole)
            part = write(frames[: len(frames) // PART], Path(folder) / "part.extxyz")
            taken = measure(whole, part, args.repeats, Path(folder) / "out")
            rows += rows_of(stem(path), taken, len(frames) - len(frames) // PART)
            ours = rows[-1]
            print(f"{ours['input']}, {len(frames)} structures: mlipq plan over ASE's reader alone:", end=" ")
            print(
                f"whole {_median(ours['wall_over_ase_reader'])}, marginal {_median(ours['marginal_over_ase_reader'])}"
            )
    settings = {"copies": None if args.inputs else COPIES, "cores": 1, "part": f"1/{PART}"}
    write_results(
        args.results, "mlipq plan against ASE's reader", settings, versions("ase", "numpy", "numcodecs", "mlipq"), rows
    )


def _median(ratio: object) -> str:
    assert isinstance(ratio, dict)
    return f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"


if __name__ == "__main__":
    main()
