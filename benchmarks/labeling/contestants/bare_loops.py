"""Bare tblite loops with the fast BLAS, a process each: what is left when everything but the single points is taken away.

    python -m benchmarks.labeling.contestants.bare_loops INPUT OUT --workers N

Each process has its share of the structures from the start and writes nothing. OUT gets the seconds of every single point
beside its energy.
"""

import multiprocessing
import time
from multiprocessing.connection import Connection

from ase import Atoms
from ase.units import Bohr, Hartree

from benchmarks.labeling import molecules
from mlipq.xtb import Gfn1


def shares(structures: list[Atoms], workers: int) -> list[list[int]]:
    """Share out indices by predicted cost: longest first, each to the process with the least to do."""
    costs = [Gfn1.cost(atoms.numbers) for atoms in structures]
    found: list[list[int]] = [[] for _ in range(workers)]
    load = [0.0] * workers
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        least = load.index(min(load))
        found[least].append(index)
        load[least] += costs[index]
    return found


def single_point(atoms: Atoms) -> float | None:
    """Return the energy in eV of one GFN1-xTB single point with gradient and charges, ``None`` where it fails."""
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    charge, uhf = molecules.charge(atoms), molecules.uhf(atoms)
    calculator = Calculator("GFN1-xTB", atoms.numbers, atoms.positions / Bohr, charge, uhf)
    calculator.set("verbosity", 0)
    try:
        result = calculator.singlepoint()
    except TBLiteRuntimeError:
        return None
    result.get("gradient")
    result.get("charges")
    return float(result.get("energy")) * Hartree


def loop(structures: list[Atoms], results: Connection) -> None:
    """Run one process's share; send energies and seconds at the end."""
    from mlipq.xtb import blas

    blas.preload()
    energies, seconds = [], []
    for atoms in structures:
        started = time.perf_counter()
        energies.append(single_point(atoms))
        seconds.append(time.perf_counter() - started)
    results.send((energies, seconds))


def main() -> None:
    arguments = molecules.parser(__doc__).parse_args()
    structures = molecules.read(arguments.input)
    context = multiprocessing.get_context("fork")
    running = []
    for share in shares(structures, arguments.workers):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=loop, args=([structures[index] for index in share], sender))
        process.start()
        sender.close()  # a process that dies is an end of file here, not a wait without end
        running.append((share, receiver, process))
    energies: list[float | None] = [None] * len(structures)
    seconds = [0.0] * len(structures)
    for share, receiver, process in running:
        for index, energy, spent in zip(share, *receiver.recv(), strict=True):
            energies[index], seconds[index] = energy, spent
        process.join()
    molecules.write_energies(arguments.out, energies, seconds=seconds)


if __name__ == "__main__":
    main()
