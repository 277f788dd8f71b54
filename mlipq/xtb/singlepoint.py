"""One GFN1-xTB single point by tblite, believed only where its populations are physical."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlipq import units
from mlipq.methods import ScfFailure
from mlipq.structures.structure import Structure
from mlipq.xtb import blas
from mlipq.xtb.ladder import Rung
from mlipq.xtb.orbitals import Blocks, on_site_blocks, shell_populations
from mlipq.xtb.parameters import SHELL_CAPACITY

POPULATION_MARGIN = 0.3
"""Electrons by which a shell may be under-empty or over-full before a solution is unphysical.

On 29,000 real structures physical solutions reach 0.17 (p of Sr in its N8 complexes).
"""

LARGEST_CHARGE = 5.0
"""e: Mulliken charge of an atom beyond which a solution is unphysical, where all its shells have room.

On the same structures physical solutions reach 3.05 (W in WF6); NbS4(3-) has a spurious one with -12.4 on Nb and no shell
over-full by more than 0.22.
"""


@dataclass(frozen=True, slots=True)
class Solution:
    """A converged, physical SCF solution in mlipq's units.

    Parameters
    ----------
    energy
        Total energy in eV.
    forces
        ``(n, 3)`` in eV/Å.
    atomic_charges
        ``(n,)`` Mulliken charges in e.
    dipole
        ``(3,)`` in e·Å about the origin of the coordinates.
    gap
        HOMO-LUMO gap in eV, NaN where there is none.
    blocks
        On-site Mulliken blocks, see :func:`mlipq.xtb.orbitals.on_site_blocks`.
    populations
        ``(n, 3)`` electrons in s, p, d.
    """

    energy: float
    forces: NDArray[np.float64]
    atomic_charges: NDArray[np.float64]
    dipole: NDArray[np.float64]
    gap: float
    blocks: Blocks
    populations: NDArray[np.float64]


def single_point(
    structure: Structure, uhf: int, rung: Rung, accuracy: float, temperature: float, iterations: int
) -> Solution:
    """Run one attempt, on a fresh calculator: a result never depends on what ran before it.

    Parameters
    ----------
    structure
        What to calculate; already checked by :func:`mlipq.xtb.checks.refuse`, since tblite believes anything.
    uhf
        Unpaired electrons.
    rung
        SCF settings of this attempt.
    accuracy
        tblite's accuracy, 1.0 by default; smaller is tighter.
    temperature
        Electronic temperature in K, unless the rung's is higher.
    iterations
        Most SCF iterations, unless the rung allows more.

    Raises
    ------
    ScfFailure
        ``not_converged``, or ``unphysical`` where a shell population lies outside its bounds: GFN1's equations have
        spurious solutions that converge as if nothing were wrong.
    """
    blas.preload()
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    positions = structure.positions / units.BOHR
    calculator = Calculator("GFN1-xTB", structure.numbers, positions, float(structure.charge), uhf)
    calculator.set("verbosity", 0)
    calculator.set("save-integrals", True)
    calculator.set("accuracy", accuracy)
    calculator.set("temperature", max(rung.temperature, temperature) * units.KELVIN_IN_HARTREE)
    calculator.set("max-iter", max(rung.iterations, iterations))
    for name, value in rung.options.items():
        calculator.set(name, value)
    calculator.add("molecular-multipoles")
    try:
        result = calculator.singlepoint()
    except TBLiteRuntimeError as error:
        kind = "not_converged" if "not converged" in str(error) else "scf_failed"
        raise ScfFailure(kind, str(error)) from None
    blocks = on_site_blocks(
        result.get("density-matrix"),
        result.get("overlap-matrix"),
        calculator.get("angular-momenta"),
        calculator.get("shell-map"),
    )
    populations = shell_populations(blocks)
    charges = result.get("charges")
    _require_physical(structure, populations, charges)
    solution = Solution(
        energy=float(result.get("energy")) * units.HARTREE,
        forces=-result.get("gradient") * units.HARTREE_PER_BOHR,
        atomic_charges=charges,
        dipole=result.get("dipole") * units.BOHR,
        gap=_gap(result.get("orbital-energies"), result.get("orbital-occupations")) * units.HARTREE,
        blocks=blocks,
        populations=populations,
    )
    numbers = (solution.energy, solution.forces, solution.dipole, *solution.blocks, charges)
    if not all(np.isfinite(values).all() for values in numbers):
        raise ScfFailure("not_finite", "the energy, a force or a population is not a number")
    return solution


def _require_physical(structure: Structure, populations: NDArray, charges: NDArray) -> None:
    capacity = SHELL_CAPACITY[structure.numbers]
    excess = np.maximum(-populations, populations - capacity)
    if excess.max() > POPULATION_MARGIN:
        atom, shell = np.unravel_index(excess.argmax(), excess.shape)
        raise ScfFailure(
            "unphysical",
            f"a spurious SCF solution: {populations[atom, shell]:.2f} electrons in the {'spd'[shell]} shell of atom {atom} "
            f"(Z = {structure.numbers[atom]}), where 0 to {capacity[atom, shell]:.0f} fit",
        )
    if np.abs(charges).max() > LARGEST_CHARGE:
        atom = np.abs(charges).argmax()
        raise ScfFailure(
            "unphysical",
            f"a spurious SCF solution: a charge of {charges[atom]:+.1f} e on atom {atom} (Z = {structure.numbers[atom]})",
        )


def _gap(energies: NDArray, occupations: NDArray) -> float:
    """From the highest level with occupation > 0.5 to the next one; NaN where there is no next one."""
    order = np.argsort(energies, kind="stable")
    energies, occupied = energies[order], np.flatnonzero(occupations[order] > 0.5)
    if len(occupied) == 0 or occupied[-1] + 1 == len(energies):
        return float("nan")
    return float(energies[occupied[-1] + 1] - energies[occupied[-1]])
