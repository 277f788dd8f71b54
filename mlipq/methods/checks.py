"""What any method refuses before it calculates, and what it flags after, by atoms, forces and gap alone."""

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from mlipq.errors import LabelError
from mlipq.schema import Flag
from mlipq.structures.structure import Structure

REFUSED_DISTANCE = 0.4
"""Two atoms closer than this fraction of the sum of their covalent radii (ASE's, Cordero et al. 2008) are refused."""

CLOSE_DISTANCE = 0.7
"""… closer than this are flagged."""

NET_FORCE = 1e-3
"""eV/Å: length of the sum of all forces; and, acting on the outermost atom, the allowed net torque."""

LARGE_FORCE = 20.0
"""eV/Å."""

SMALL_GAP = 0.1
"""eV."""

CHARGE_SUM = 1e-6
"""e: Σ orbital charges against the total charge, in float64."""

_PAIR_ROWS = 500
"""Atoms whose distances to all others are held in memory at a time."""


def refuse_periodic(structure: Structure, reason: str) -> None:
    """Refuse a periodic structure, and say why this method cannot label it.

    Raises
    ------
    LabelError
        ``periodic``.
    """
    if structure.is_periodic:
        raise LabelError("periodic", f"{reason}; for molecules in a box use --ignore-pbc, which drops the cell")


def refuse_atoms(structure: Structure, covered: NDArray[np.bool_], coverage: str) -> None:
    """Refuse what has no atoms, elements that the method does not cover, and coordinates that are no numbers.

    Parameters
    ----------
    structure
        What is to be labelled.
    covered
        By atomic number: whether the method covers the element.
    coverage
        The same in words: ``GFN1-xTB covers H (1) to Rn (86)``.

    Raises
    ------
    LabelError
        ``no_atoms``, ``unknown_element`` or ``bad_coordinates``.
    """
    if len(structure) == 0:
        raise LabelError("no_atoms", "the structure has no atoms")
    outside = [z for z in structure.numbers.tolist() if z >= len(covered) or not covered[z]]
    if outside:
        symbol = chemical_symbols[outside[0]] if 0 < outside[0] < len(chemical_symbols) else "?"
        raise LabelError(
            "unknown_element", f"{coverage}; the structure holds Z = {outside[0]} ({symbol}); leave it out"
        )
    if not np.isfinite(structure.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(structure.positions).all(axis=1))[0])
        raise LabelError("bad_coordinates", f"atom {atom} has a coordinate that is not a finite number")


def refuse_spin(structure: Structure, unpaired: int, electrons: int, orbitals: int, kind: str = "electrons") -> None:
    """Refuse a spin that so many electrons in so many orbitals cannot have.

    Parameters
    ----------
    structure
        What is to be labelled.
    unpaired, electrons, orbitals
        Unpaired electrons, all that are treated (at least one), and spatial orbitals that there are for them.
    kind
        What is treated, for the message: ``valence electrons``.

    Raises
    ------
    LabelError
        ``impossible_spin``.
    """
    most = min(electrons, 2 * orbitals - electrons)
    if not 0 <= unpaired <= most or (electrons - unpaired) % 2:
        raise LabelError(
            "impossible_spin",
            f"multiplicity {structure.multiplicity} ({unpaired} unpaired) is impossible with {electrons} {kind} "
            f"(charge {structure.charge:+d}) in {orbitals} orbitals: {'odd' if electrons % 2 else 'even'} numbers from "
            f"{electrons % 2} to {most} are; correct charge and multiplicity in the file, or see --charge-key and --spin-key",
        )


def refuse_close_atoms(structure: Structure) -> float:
    """Refuse atoms that are so close that the coordinates must be wrong.

    Returns
    -------
    float
        The smallest distance of two atoms over the sum of their covalent radii, for :func:`common_flags`.

    Raises
    ------
    LabelError
        ``atoms_too_close``.
    """
    ratio, i, j = closest_pair(structure)
    if ratio < REFUSED_DISTANCE:
        distance = np.linalg.norm(structure.positions[i] - structure.positions[j])
        pair = f"{chemical_symbols[structure.numbers[i]]} (atom {i}) and {chemical_symbols[structure.numbers[j]]} (atom {j})"
        raise LabelError(
            "atoms_too_close",
            f"{pair} are {distance:.3f} Å apart, under {REFUSED_DISTANCE} of the sum of their covalent radii; check the file's units",
        )
    return ratio


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


def common_flags(
    structure: Structure, orbital_charges: NDArray, forces: NDArray | None, gap: float, closest: float
) -> Flag:
    """Return the quality bits that a label of any method may earn. Nothing is removed for a flag.

    Parameters
    ----------
    structure
        What was labelled.
    orbital_charges
        ``(n, 3)`` in e.
    forces
        ``(n, 3)`` in eV/Å, or ``None`` where there are none.
    gap
        HOMO-LUMO gap in eV, or NaN.
    closest
        As :func:`refuse_close_atoms` returned it.
    """
    found = {
        Flag.F_CHARGE_SUM: abs(orbital_charges.sum() - structure.charge) > CHARGE_SUM,
        Flag.F_SMALL_GAP: gap < SMALL_GAP,
        Flag.F_CLOSE_ATOMS: closest < CLOSE_DISTANCE,
    }
    if forces is not None:
        arms = structure.positions - structure.positions.mean(axis=0)
        virial = arms.T @ forces
        torque = np.linalg.norm(virial - virial.T) / np.sqrt(2)  # its antisymmetric part is the torque
        found |= {
            Flag.F_NET_FORCE: np.linalg.norm(forces.sum(axis=0)) > NET_FORCE,
            Flag.F_NET_TORQUE: torque > NET_FORCE * max(1.0, np.linalg.norm(arms, axis=1).max()),
            Flag.F_LARGE_FORCE: np.abs(forces).max() > LARGE_FORCE,
        }
    return Flag(sum(flag for flag, raised in found.items() if raised))
