"""dxtb in a pool of processes, set up as its documentation says: float64, the libcint driver, forces by autograd.

    DXTB_PYTHON -m benchmarks.labeling.contestants.dxtb_pool INPUT OUT --workers N

Runs in an environment of its own: torch==2.13.0, dxtb[libcint]==0.4.0, ase. Its batches hold conformers or padded
molecules for a GPU; one core gains nothing from them, so structures are run one by one.
"""

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.units import Bohr, Hartree

from benchmarks.labeling import molecules

_parameters: Any = None
"""GFN1's parameters as dxtb wants them: making them takes longer than a small molecule, so once a process."""


def prepare() -> None:
    """Import once a process; one thread, as for all others."""
    global _parameters
    import dxtb
    import torch

    torch.set_num_threads(1)
    _parameters = dxtb.ParamModule(dxtb.GFN1_XTB, dtype=torch.double)


def energy(task: tuple[int, Atoms]) -> tuple[int, float | None]:
    """Return the energy in eV, ``None`` where dxtb fails."""
    import dxtb
    import torch

    index, atoms = task
    positions = (torch.tensor(atoms.positions, dtype=torch.double) / Bohr).requires_grad_(True)
    charge = torch.tensor(float(molecules.charge(atoms)), dtype=torch.double)
    try:
        calculator = dxtb.Calculator(
            torch.tensor(atoms.numbers), _parameters, opts={"verbosity": 0}, dtype=torch.double
        )
        total = calculator.get_energy(positions, chrg=charge, spin=molecules.uhf(atoms))
        torch.autograd.grad(total, positions)
    except RuntimeError:
        return index, None
    return index, total.item() * Hartree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    arguments = parser.parse_args()
    structures = molecules.read(arguments.input)
    tasks = [(index, structures[index]) for index in molecules.largest_first(structures)]
    with multiprocessing.get_context("fork").Pool(arguments.workers, prepare) as pool:
        energies = dict(pool.imap_unordered(energy, tasks))
    molecules.write_energies(arguments.out, [energies[index] for index in range(len(structures))])


if __name__ == "__main__":
    main()
