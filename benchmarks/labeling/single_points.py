"""Time each structure's single point three ways in one process: bare, mlipq's, and mlipq's with all checks.

    python -m benchmarks.labeling.single_points INPUT OUT

The three take turns at going first. OUT gets the seconds of each, summed over the structures, and apart from them what
the retry ladder adds where the first attempt fails.
"""

import argparse
import json
import time
from collections import deque
from pathlib import Path

from benchmarks.labeling import molecules
from benchmarks.labeling.contestants.bare_loops import single_point as bare
from mlipq.errors import LabelError
from mlipq.methods import ScfFailure
from mlipq.structures import ReadOptions, Structure, from_atoms
from mlipq.xtb import Gfn1, blas
from mlipq.xtb.ladder import LADDER
from mlipq.xtb.singlepoint import single_point


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    blas.preload()
    labeler = Gfn1()
    settings = (labeler.accuracy, labeler.electronic_temperature, labeler.max_iterations)
    seconds = {"bare": 0.0, "single_point": 0.0, "label": 0.0, "ladder": 0.0}
    order = deque(["bare", "single_point", "label"])
    for atoms in molecules.read(arguments.input):
        structure = from_atoms(atoms, ReadOptions())
        assert isinstance(structure, Structure)
        calls = {
            "bare": lambda: bare(atoms),  # noqa: B023 - called in this turn of the loop
            "single_point": lambda: single_point(structure, molecules.uhf(atoms), LADDER[0], *settings),  # noqa: B023
            "label": lambda: labeler.label(structure),  # noqa: B023
        }
        order.rotate()
        spent, failed = {}, False
        for name in order:
            started = time.perf_counter()
            try:
                calls[name]()
            except ScfFailure:
                failed = True
            except LabelError:
                pass  # no rung of the ladder helped either
            spent[name] = time.perf_counter() - started
        if failed:
            seconds["ladder"] += spent["label"] - spent["single_point"]
            spent["label"] = spent["single_point"]
        for name in order:
            seconds[name] += spent[name]
    arguments.out.write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
