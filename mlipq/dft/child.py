"""The labeling child of PBE: ``python -m mlipq.dft.child FORCES GRID``.

It proves itself on a reference molecule, then labels what comes through its pipe.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from mlipq import process
from mlipq.dft.labeler import Pbe
from mlipq.methods.serving import answer
from mlipq.structures.structure import Structure

# Water, coordinates in Å from ASE's copy of the G2 set.
REFERENCE_MOLECULE = Structure(
    numbers=np.array([8, 1, 1], dtype=np.uint8),
    positions=np.array([[0.0, 0.0, 0.119262], [0.0, 0.763239, -0.477047], [0.0, -0.763239, -0.477047]]),
    charge=0,
    multiplicity=1,
)
REFERENCE_ENERGY = -2075.4815128275945
"""eV, by PySCF 2.14.0 with the default grid."""
REFERENCE_TOLERANCE = 1e-4
"""eV: PySCF's grids changed from one version to the next by less; what is broken is further off."""


def greet(labeler: Pbe) -> process.Header:
    """Label the reference molecule and say how that went."""
    once = Pbe(forces=False)
    start = time.perf_counter()
    energy = float(once.label(REFERENCE_MOLECULE).arrays["pbe/energy"])
    seconds = time.perf_counter() - start
    return {
        "blas": f"PySCF's own, and {_numpy_blas()}",
        "blas_path": "",
        "warning": "",
        "right": abs(energy - REFERENCE_ENERGY) <= REFERENCE_TOLERANCE,
        "energy": energy,
        "expected": REFERENCE_ENERGY,
        "seconds": seconds,
        "slowdown": seconds / once.cost(REFERENCE_MOLECULE.numbers),
    }


def _numpy_blas() -> str:
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built['name']} {built['version']}"


def main() -> None:
    """Serve until the parent goes."""
    replies = process.protect()
    os.environ["PYSCF_CONFIG_FILE"] = str(Path(__file__).with_name("pyscf_conf.py"))  # before PySCF is imported
    forces, grid = sys.argv[1:]
    labeler = Pbe(forces=bool(int(forces)), grid=int(grid))
    process.serve(greet(labeler), lambda header, arrays: answer(labeler, header, arrays), replies)


if __name__ == "__main__":
    main()
