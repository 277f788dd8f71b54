"""What is checked before tblite is called, and on every label after."""

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from mlipq.errors import LabelError
from mlipq.schema import GFN1_MAX_Z, Flag
from mlipq.structures.structure import Structure
from mlipq.xtb.parameters import ORBITALS, REFERENCE_OCCUPATION, SHELL_CAPACITY, unpaired_electrons, valence_electrons
from mlipq.xtb.singlepoint import Solution

REFUSED_DISTANCE = 0.4
"""Two atoms closer than this fraction of the sum of their covalent radii (ASE's, Cordero et al. 2008) are refused."""

CLOSE_DISTANCE = 0.7
"""… closer than this are flagged."""

CHARGE_SUM = 1e-6
"""e: Σ orbital charges against the total charge, in float64."""

EXPECTED_POPULATION = (-0.10, 0.03)
"""Electrons under zero and over capacity that ordinary solutions stay within."""

NET_FORCE = 1e-3
"""eV/Å: length of the sum of all forces; and, acting on the outermost atom, the allowed net torque."""

LARGE_FORCE = 20.0
"""eV/Å."""

SMALL_GAP = 0.1
"""eV."""

_PAIR_ROWS = 500
"""Atoms whose distances to all others are held in memory at a time."""


def refuse(structure: Structure) -> float:
    """Refuse what GFN1 cannot label but tblite would swallow or die of.

    Returns
    -------
    float
        The smallest distance of two atoms over the sum of their covalent radii, for :func:`flags`.

    Raises
    ------
    LabelError
        ``periodic``, ``no_atoms``, ``unknown_element``, ``bad_coordinates``, ``no_electrons``, ``impossible_spin`` or
        ``atoms_too_close``, with what was expected, what came and what to do.
    """
    _refuse_periodic(structure)
    _refuse_atoms(structure)
    _refuse_electrons(structure)
    return _refuse_close_atoms(structure)


def _refuse_periodic(structure: Structure) -> None:
    if structure.is_periodic:
        raise LabelError(
            "periodic",
            "GFN1-xTB labels molecules: tblite's periodic GFN1 samples the Γ point only, so a crystal's label would depend on "
            "the size of its cell; for molecules in a box use --ignore-pbc, which drops the cell",
        )


def _refuse_atoms(structure: Structure) -> None:
    if len(structure) == 0:
        raise LabelError("no_atoms", "the structure has no atoms")
    outside = structure.numbers[(structure.numbers < 1) | (structure.numbers > GFN1_MAX_Z)]
    if len(outside):
        z = int(outside[0])
        symbol = chemical_symbols[z] if z < len(chemical_symbols) else "?"
        raise LabelError(
            "unknown_element",
            f"GFN1-xTB covers H (1) to Rn ({GFN1_MAX_Z}); the structure holds Z = {z} ({symbol}); leave it out",
        )
    if not np.isfinite(structure.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(structure.positions).all(axis=1))[0])
        raise LabelError("bad_coordinates", f"atom {atom} has a coordinate that is not a finite number")


def _refuse_electrons(structure: Structure) -> None:
    electrons = valence_electrons(structure.numbers, structure.charge)
    if electrons < 1:
        raise LabelError(
            "no_electrons",
            f"charge {structure.charge:+d} leaves {electrons} of {electrons + structure.charge} valence electrons; GFN1 needs at "
            "least one: leave such bare ions out, or correct the charge",
        )
    unpaired = unpaired_electrons(structure.numbers, structure.charge, structure.multiplicity)
    orbitals = n_orbitals(structure.numbers)
    most = min(electrons, 2 * orbitals - electrons)
    if not 0 <= unpaired <= most or (electrons - unpaired) % 2:
        raise LabelError(
            "impossible_spin",
            f"multiplicity {structure.multiplicity} ({unpaired} unpaired) is impossible with {electrons} valence electrons "
            f"(charge {structure.charge:+d}) in {orbitals} orbitals: {'odd' if electrons % 2 else 'even'} numbers from "
            f"{electrons % 2} to {most} are; correct charge and multiplicity in the file, or see --charge-key and --spin-key",
        )


def _refuse_close_atoms(structure: Structure) -> float:
    ratio, i, j = closest_pair(structure)
    if ratio < REFUSED_DISTANCE:
        distance = np.linalg.norm(structure.positions[i] - structure.positions[j])
        pair = f"{chemical_symbols[structure.numbers[i]]} (atom {i}) and {chemical_symbols[structure.numbers[j]]} (atom {j})"
        raise LabelError(
            "atoms_too_close",
            f"{pair} are {distance:.3f} Å apart, under {REFUSED_DISTANCE} of the sum of their covalent radii; check the file's units",
        )
    return ratio


def n_orbitals(numbers: NDArray) -> int:
    """Atomic orbitals that GFN1 gives these atoms."""
    return int(ORBITALS[np.minimum(numbers, GFN1_MAX_Z)].sum())


def closest_pair(structure: Structure) -> tuple[float, int, int]:
    """Return the smallest distance over the sum of covalent radii, and the two atoms; infinity for one atom."""
    positions, radii = structure.positions, covalent_radii[structure.numbers]
    closest = (float("inf"), 0, 0)
    for start in range(0, len(structure), _PAIR_ROWS):
        rows = slice(start, start + _PAIR_ROWS)
        vectors = positions[rows, None] - positions
        ratios = np.sqrt(np.einsum("ijk,ijk->ij", vectors, vectors)) / (radii[rows, None] + radii)
        np.fill_diagonal(ratios[:, rows], np.inf)
        i, j = divmod(int(ratios.argmin()), len(structure))
        closest = min(closest, (float(ratios[i, j]), start + i, j))
    return closest


def flags(structure: Structure, solution: Solution, uhf: int, closest: float) -> Flag:
    """Return the quality bits that a label earns. Nothing is removed for a flag.

    Parameters
    ----------
    structure, solution, uhf
        What was labelled, with what result, as how many unpaired electrons.
    closest
        As :func:`refuse` returned it.
    """
    numbers, forces = structure.numbers, solution.forces
    excess = solution.populations - SHELL_CAPACITY[numbers]
    orbital_charge = REFERENCE_OCCUPATION[numbers].sum() - solution.populations.sum()
    arms = structure.positions - structure.positions.mean(axis=0)
    virial = arms.T @ forces
    torque = np.linalg.norm(virial - virial.T) / np.sqrt(2)  # its antisymmetric part is the torque
    found = {
        Flag.F_IN_CORE: uhf != structure.multiplicity - 1,
        Flag.F_CHARGE_SUM: abs(orbital_charge - structure.charge) > CHARGE_SUM,
        Flag.F_POPULATION: solution.populations.min() < EXPECTED_POPULATION[0] or excess.max() > EXPECTED_POPULATION[1],
        Flag.F_NET_FORCE: np.linalg.norm(forces.sum(axis=0)) > NET_FORCE,
        Flag.F_NET_TORQUE: torque > NET_FORCE * max(1.0, np.linalg.norm(arms, axis=1).max()),
        Flag.F_LARGE_FORCE: np.abs(forces).max() > LARGE_FORCE,
        Flag.F_SMALL_GAP: solution.gap < SMALL_GAP,
        Flag.F_CLOSE_ATOMS: closest < CLOSE_DISTANCE,
    }
    return Flag(sum(flag for flag, raised in found.items() if raised))
