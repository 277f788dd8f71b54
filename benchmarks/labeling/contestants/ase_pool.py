"""ASE's tblite calculator in a multiprocessing pool, as one would write it by hand.

    python -m benchmarks.labeling.contestants.ase_pool INPUT OUT --workers N [--blas stock|fast]

The parent reads the structures and gets energy, forces, charges and dipole of each back.
"""

import multiprocessing
from typing import Any

from ase import Atoms

from benchmarks.labeling import molecules

CHUNK = 4
"""Structures handed out at a time, largest first: few, because their costs differ tenfold."""


def label(task: tuple[int, Atoms]) -> tuple[int, dict[str, Any] | None]:
    """Label one structure; a fresh calculator each, so that no structure starts from another's result."""
    from ase.calculators.calculator import CalculationFailed
    from tblite.ase import TBLite

    index, atoms = task
    atoms.calc = TBLite(
        method="GFN1-xTB",
        charge=molecules.charge(atoms),
        multiplicity=molecules.uhf(atoms) + 1,
        verbosity=0,
    )
    try:
        energy = atoms.get_potential_energy()
    except CalculationFailed:
        return index, None
    return index, {
        "energy": energy,
        "forces": atoms.get_forces(),
        "charges": atoms.get_charges(),
        "dipole": atoms.get_dipole_moment(),
    }


def preload_fast_blas() -> None:
    """Load, before tblite, the library that mlipq would."""
    from mlipq.xtb import blas

    blas.preload()


def main() -> None:
    parser = molecules.parser(__doc__)
    parser.add_argument("--blas", choices=["stock", "fast"], default="stock")
    arguments = parser.parse_args()
    structures = molecules.read(arguments.input)
    tasks = [(index, structures[index]) for index in molecules.largest_first(structures)]
    initializer = preload_fast_blas if arguments.blas == "fast" else None
    labels: dict[int, dict[str, Any] | None] = {}
    with multiprocessing.get_context("fork").Pool(arguments.workers, initializer) as pool:
        labels.update(pool.imap_unordered(label, tasks, chunksize=CHUNK))
    found = (labels[index] for index in range(len(structures)))
    molecules.write_energies(arguments.out, [None if one is None else one["energy"] for one in found])


if __name__ == "__main__":
    main()
