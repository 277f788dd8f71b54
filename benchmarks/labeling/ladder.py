"""Which rung of the SCF ladder labels which structure, in how many iterations.

    python -m benchmarks.labeling.ladder DATASET ...

Every rung is tried on every structure of labelled datasets that needed more than the defaults, with more and more
iterations allowed, until it converges. Energies are compared with the stored ones; rungs that raise the electronic
temperature have others by their nature.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import mlipq
from benchmarks.harness import versions, write_results
from mlipq.methods import ScfFailure
from mlipq.structures.structure import Structure
from mlipq.xtb.ladder import LADDER, Rung
from mlipq.xtb.parameters import unpaired_electrons
from mlipq.xtb.singlepoint import single_point

RESULTS = Path(__file__).parent / "results" / "ladder.json"
ITERATIONS = (100, 200, 300, 400, 500)


def outcome(structure: Structure, rung: Rung, stored_energy: float) -> str | dict[str, float]:
    """Return ``not_converged``, ``unphysical``, or how many iterations it took to which energy."""
    uhf = unpaired_electrons(structure.numbers, structure.charge, structure.multiplicity)
    for iterations in ITERATIONS:
        try:
            solution = single_point(structure, uhf, replace(rung, iterations=0), 1.0, 300.0, iterations)
        except ScfFailure as failure:
            if failure.error != "not_converged":
                return failure.error
        else:
            return {"iterations": iterations, "energy_difference_ev": round(solution.energy - stored_energy, 4)}
    return "not_converged"


def rows(path: str) -> Iterator[dict[str, Any]]:
    """Try all rungs on the structures of one dataset that needed the ladder."""
    dataset = mlipq.open_dataset(path)
    energies = dataset["gfn1/energy"][:]
    for index in np.flatnonzero(dataset["gfn1/scf_attempt"][:] > 0).tolist():
        structure = dataset.structure(index)
        found = {rung.name: outcome(structure, rung, float(energies[index])) for rung in LADDER}
        print(structure.where, found, flush=True)
        yield {"contestant": f"{Path(path).name}: {structure.name}", "atoms": len(structure), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", help="output folders of mlipq label")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    found = [row for path in args.datasets for row in rows(path)]
    settings = {"datasets": [Path(path).name for path in args.datasets], "iterations": ITERATIONS}
    software = versions("mlipq", "tblite", "scipy-openblas32", "numpy")
    write_results(args.results, "the SCF ladder, rung by rung", settings, software, found)


if __name__ == "__main__":
    main()
