"""One PBE/def2-SVP single point by PySCF."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq import units
from mlipq.dft.basis import BASIS, REPLACED
from mlipq.dft.ladder import Rung
from mlipq.dft.populations import shell_populations
from mlipq.methods import ScfFailure
from mlipq.structures.structure import Structure

if TYPE_CHECKING:
    from pyscf.gto import Mole

FUNCTIONAL = "PBE"
AUXILIARY_BASIS = "def2-universal-jfit"
"""For the Coulomb energy by density fitting (Weigend, PCCP 8, 1057 (2006))."""

CONVERGENCE = 1e-9
"""Hartree: change of the energy in the last SCF cycle."""

COARSE_GRID = 1
COARSE_CONVERGENCE = 1e-7
"""The first cycles run on a grid of this level until the energy is this steady: they only lead near the solution."""

MOST_STORED = 300
"""Basis functions up to which the integrals of density fitting are made once and kept, in 0.3 GB; beyond, anew in each cycle."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A converged SCF solution in mlipq's units.

    Parameters
    ----------
    energy
        Total energy in eV.
    forces
        ``(n, 3)`` in eV/Å, or ``None`` where none were asked for.
    populations
        ``(n, 3)`` Mulliken populations of s, p and d, in electrons, as far as no core potential replaces them.
    dipole
        ``(3,)`` in e·Å about the origin of the coordinates.
    gap
        HOMO-LUMO gap in eV, NaN where there is none.
    spin_square
        ⟨S²⟩.
    """

    energy: float
    forces: NDArray[np.float64] | None
    populations: NDArray[np.float64]
    dipole: NDArray[np.float64]
    gap: float
    spin_square: float


def single_point(structure: Structure, rung: Rung, grid: int, forces: bool) -> Solution:
    """Run one attempt: restricted Kohn-Sham for singlets, unrestricted for all else.

    Parameters
    ----------
    structure
        What to calculate; already checked by :func:`mlipq.dft.checks.refuse`.
    rung
        SCF settings of this attempt.
    grid
        Level of PySCF's grid, 0 to 9.
    forces
        Whether to compute forces, with the response of the grid: they are the exact gradient of the energy on it.

    Raises
    ------
    ScfFailure
        ``not_converged``, ``scf_failed`` or ``not_finite``.
    """
    molecule = _molecule(structure)
    field = _converged(molecule, rung, grid)
    density = np.asarray(field.make_rdm1()).reshape(-1, molecule.nao, molecule.nao).sum(axis=0)
    solution = Solution(
        energy=float(field.e_tot) * units.HARTREE,
        forces=_forces(field) if forces else None,
        populations=shell_populations(molecule, density, field.get_ovlp()),
        dipole=np.asarray(field.dip_moment(unit="AU", verbose=0)) * units.BOHR,
        gap=_gap(field.mo_energy, field.mo_occ) * units.HARTREE,
        spin_square=0.0 if structure.multiplicity == 1 else float(field.spin_square()[0]),
    )
    numbers = (
        solution.energy,
        solution.populations,
        solution.dipole,
        0.0 if solution.forces is None else solution.forces,
    )
    if not all(np.isfinite(values).all() for values in numbers):
        raise ScfFailure("not_finite", "the energy, a force or a population is not a number")
    return solution


def _molecule(structure: Structure) -> "Mole":
    from pyscf import gto

    symbols = [chemical_symbols[z] for z in structure.numbers]
    heavy = {symbol for symbol, z in zip(symbols, structure.numbers, strict=True) if REPLACED[z].any()}
    return gto.M(
        atom=list(zip(symbols, (structure.positions / units.BOHR).tolist(), strict=True)),
        unit="Bohr",
        basis=BASIS,
        ecp=dict.fromkeys(sorted(heavy), BASIS),
        charge=structure.charge,
        spin=structure.multiplicity - 1,
        verbose=0,
    )


def _converged(molecule: "Mole", rung: Rung, grid: int) -> Any:
    """Return the converged SCF object: coarse grid first, then the one that counts."""
    from pyscf import df, dft

    from mlipq.dft.grid import BlockedNumInt

    fitting = df.DF(molecule, auxbasis=AUXILIARY_BASIS)
    if molecule.nao <= MOST_STORED:
        fitting.build()
    density = None
    for level, tolerance in ((min(COARSE_GRID, grid), COARSE_CONVERGENCE), (grid, CONVERGENCE)):
        field = (dft.RKS if molecule.spin == 0 else dft.UKS)(molecule, xc=FUNCTIONAL).density_fit(with_df=fitting)
        field._numint, field.grids.level = BlockedNumInt(), level
        field = field.newton() if rung.second_order else field
        field.set(**{"chkfile": None, "conv_tol": tolerance, "conv_check": False, **rung.options})
        try:
            field.kernel(dm0=density)
        except MemoryError:
            raise
        except Exception as error:  # NumPy's and SciPy's of matrices with NaN, PySCF's own of several kinds
            raise ScfFailure("scf_failed", f"{type(error).__name__}: {error}") from None
        if not field.converged:  # on the coarse grid: then it would not on the fine one
            raise ScfFailure("not_converged", f"not converged in {rung.options['max_cycle']} cycles")
        density = field.make_rdm1()
    return field


def _forces(field: Any) -> NDArray[np.float64]:
    gradient = field.nuc_grad_method()
    gradient.grid_response = True
    return np.asarray(-gradient.kernel() * units.HARTREE_PER_BOHR)


def _gap(levels: NDArray, occupations: NDArray) -> float:
    """Lowest empty minus highest occupied level, of either spin; NaN where there is none."""
    occupied = np.asarray(occupations) > 0
    if occupied.all():
        return float("nan")
    return float(np.asarray(levels)[~occupied].min() - np.asarray(levels)[occupied].max())
