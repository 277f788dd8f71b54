"""Measure the pipeline's efficiency: Σ(single-point seconds in bare loops) / (workers x wall time of ``mlipq label``).

    python -m benchmarks.labeling.efficiency [FILE ...] [--workers N]

1 would be workers that do nothing but single points from the first moment to the last. Start-up, planning and finishing
count. The bare loops run on as many cores at once as there are workers, one half of the structures just before and the other
just after ``mlipq label``: both see the same memory bandwidth, clock and neighbours.
"""

import json
import os
import tempfile
from pathlib import Path

from benchmarks.harness import spread, versions, write_results
from benchmarks.labeling import inputs, roster

RESULTS = Path(__file__).parent / "results" / "efficiency.json"


def halves(frames: list[inputs.Frame]) -> tuple[list[inputs.Frame], list[inputs.Frame]]:
    """Cut structures into two lists of like sizes."""
    by_size = sorted(frames, key=lambda frame: frame.n_atoms)
    return by_size[0::2], by_size[1::2]


def single_point_seconds(frames: list[inputs.Frame], folder: Path, workers: int) -> float:
    """Sum the seconds of bare single points, run on all cores at once."""
    out = folder / "bare.json"
    roster.BARE.run(inputs.write(frames, folder / "half.extxyz"), out, workers)
    return sum(json.loads(out.read_text())["seconds"])


def measure(frames: list[inputs.Frame], workers: int) -> dict[str, float]:
    """Run both halves of the bare loops and, between them, mlipq on all."""
    before, after = halves(frames)
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        folder = Path(temporary)
        structures = inputs.write(frames, folder / "structures.extxyz")
        bare_before = single_point_seconds(before, folder, workers)
        wall = roster.MLIPQ.run(structures, folder / "out", workers)
        labelled = sum(energy is not None for energy in roster.MLIPQ.read(folder / "out", len(frames)))
        bare_after = single_point_seconds(after, folder, workers)
    return {
        "wall_s": wall,
        "bare_before_s": bare_before,
        "bare_after_s": bare_after,
        "failed": len(frames) - labelled,
        "efficiency": (bare_before + bare_after) / (workers * wall),
    }


def main() -> None:
    parser = inputs.parser(__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: the cores")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write")
    arguments = parser.parse_args()
    frames = [frame for path in arguments.files for frame in inputs.load(path)]
    frames = inputs.evenly(frames, arguments.structures)
    runs = [measure(frames, arguments.workers) for _ in range(arguments.repeats)]
    row = {"contestant": "mlipq", **{name: spread([run[name] for run in runs]) for name in runs[0]}}
    settings = {"workers": arguments.workers, "input": [path.name for path in arguments.files]}
    software = versions("mlipq", "tblite", "scipy-openblas32", "ase", "numpy", "dask", "numcodecs")
    write_results(arguments.results, "efficiency", {**settings, **inputs.describe(frames)}, software, [row])
    for run in runs:
        print("  ".join(f"{name} {value:.4g}" for name, value in run.items()))


if __name__ == "__main__":
    main()
