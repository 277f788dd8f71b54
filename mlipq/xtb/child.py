"""The labeling child of GFN1-xTB: ``python -m mlipq.xtb.child ACCURACY TEMPERATURE ITERATIONS``.

It loads the fast BLAS before tblite, proves itself on a reference molecule, then labels what comes through its pipe.
"""

import sys
import time

import numpy as np

from mlipq import process
from mlipq.methods.serving import answer
from mlipq.structures.structure import Structure
from mlipq.xtb import blas
from mlipq.xtb.labeler import Gfn1

# Thiophene (9 atoms: s, p and d shells), coordinates in Å from ASE's copy of the G2 set.
REFERENCE_MOLECULE = Structure(
    numbers=np.array([16, 6, 6, 6, 6, 1, 1, 1, 1], dtype=np.uint8),
    positions=np.array(
        [
            [0.0, 0.0, 1.189753],
            [0.0, 1.233876, -0.001474],
            [0.0, -1.233876, -0.001474],
            [0.0, 0.709173, -1.272322],
            [0.0, -0.709173, -1.272322],
            [0.0, 2.275343, 0.291984],
            [0.0, -2.275343, 0.291984],
            [0.0, 1.321934, -2.167231],
            [0.0, -1.321934, -2.167231],
        ]
    ),
    charge=0,
    multiplicity=1,
)
REFERENCE_ENERGY = -388.5560520421572
"""eV, by tblite 0.8.0 with its stock BLAS; a test compares it with the xtb program."""
REFERENCE_TOLERANCE = 3e-8
"""eV: a BLAS that shifts energies by more than 1e-9 Eh is not used."""


def greet(labeler: Gfn1, library: blas.Blas) -> process.Header:
    """Label the reference molecule and say how that went."""
    strict = Gfn1(accuracy=0.01)
    energy = float(strict.label(REFERENCE_MOLECULE).arrays["gfn1/energy"])
    times = []
    for _ in range(3):
        start = time.perf_counter()
        labeler.label(REFERENCE_MOLECULE)
        times.append(time.perf_counter() - start)
    return {
        "blas": library.name,
        "blas_path": library.path,
        "warning": library.warning,
        "right": abs(energy - REFERENCE_ENERGY) <= REFERENCE_TOLERANCE,
        "energy": energy,
        "expected": REFERENCE_ENERGY,
        "seconds": min(times),
        "slowdown": min(times) / labeler.cost(REFERENCE_MOLECULE.numbers),
    }


def main() -> None:
    """Serve until the parent goes."""
    replies = process.protect()
    library = blas.preload()
    accuracy, temperature, iterations = sys.argv[1:]
    labeler = Gfn1(float(accuracy), float(temperature), int(iterations))
    process.serve(greet(labeler, library), lambda header, arrays: answer(labeler, header, arrays), replies)


if __name__ == "__main__":
    main()
