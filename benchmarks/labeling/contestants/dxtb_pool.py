"""dxtb in a pool of processes, set up as its documentation says: float64, the libcint driver, forces by autograd.

    DXTB_PYTHON -m benchmarks.labeling.contestants.dxtb_pool INPUT OUT --workers N

Runs in an environment of its own: torch==2.13.0, dxtb[libcint]==0.4.0, ase. Molecules of like sizes are run in dxtb's padded
batches: on one core that is three to four times as fast as one by one for molecules of QM7, and a fifth faster for those of tmQM.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from typing import Any

from ase import Atoms
from ase.units import Bohr, Hartree

from benchmarks.labeling import molecules

BATCH_ATOMS = 480
"""Of a batch: enough for what PyTorch costs a call to be shared, few enough for all workers to end together."""

PADDED = 1
"""dxtb's name for batches of different molecules."""

_parameters: Any = None
"""GFN1's parameters as dxtb wants them: making them takes longer than a small molecule, so once a process."""


def prepare() -> None:
    """Import once a process; one thread, as for all others."""
    global _parameters
    import dxtb
    import torch

    torch.set_num_threads(1)
    _parameters = dxtb.ParamModule(dxtb.GFN1_XTB, dtype=torch.double)


def batches(structures: Sequence[Atoms]) -> Iterator[list[int]]:
    """Cut indices, largest structures first, into batches of at most so many atoms, padded ones among them."""
    order = molecules.largest_first(structures)
    while order:
        count = max(1, BATCH_ATOMS // len(structures[order[0]]))
        yield order[:count]
        order = order[count:]


def energies(task: tuple[list[int], list[Atoms]]) -> list[tuple[int, float | None]]:
    """Return the energies in eV of a batch, ``None`` where dxtb fails; where a batch fails, of each of it alone."""
    indices, batch = task
    try:
        return list(zip(indices, single_points(batch), strict=True))
    except RuntimeError:
        if len(batch) == 1:
            return [(indices[0], None)]
        return [found for index, atoms in zip(indices, batch, strict=True) for found in energies(([index], [atoms]))]


def single_points(batch: list[Atoms]) -> list[float]:
    """Return energies in eV; the gradient is calculated too."""
    import dxtb
    import torch
    from tad_mctc.batch import pack

    numbers = pack([torch.tensor(atoms.numbers) for atoms in batch])
    positions = pack([torch.tensor(atoms.positions, dtype=torch.double) / Bohr for atoms in batch])
    positions.requires_grad_(True)
    charges = torch.tensor([molecules.charge(atoms) for atoms in batch], dtype=torch.double)
    unpaired = torch.tensor([molecules.uhf(atoms) for atoms in batch], dtype=torch.double)
    options = {"verbosity": 0, "batch_mode": PADDED}
    calculator = dxtb.Calculator(numbers, _parameters, opts=options, dtype=torch.double)
    total = calculator.get_energy(positions, chrg=charges, spin=unpaired)
    torch.autograd.grad(total.sum(), positions)
    return [energy * Hartree for energy in total.tolist()]


def main() -> None:
    arguments = molecules.parser(__doc__).parse_args()
    structures = molecules.read(arguments.input)
    tasks = [(batch, [structures[index] for index in batch]) for batch in batches(structures)]
    found: dict[int, float | None] = {}
    with multiprocessing.get_context("fork").Pool(arguments.workers, prepare) as pool:
        for some in pool.imap_unordered(energies, tasks):
            found.update(some)
    molecules.write_energies(arguments.out, [found[index] for index in range(len(structures))])


if __name__ == "__main__":
    main()
