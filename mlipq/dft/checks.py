"""What is checked before PySCF is called, and on every label after."""

from numpy.typing import NDArray

from mlipq.dft.basis import COVERED, N_FUNCTIONS, n_electrons
from mlipq.dft.singlepoint import Solution
from mlipq.errors import LabelError
from mlipq.methods import checks as common
from mlipq.schema import Flag
from mlipq.structures.structure import Structure

SPIN_CONTAMINATION = 0.1
"""⟨S²⟩ minus S(S+1)."""


def refuse(structure: Structure) -> float:
    """Refuse what cannot be labelled.

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
    common.refuse_periodic(structure, "PBE/def2-SVP labels molecules, in a basis of atomic orbitals and without a cell")
    common.refuse_atoms(structure, COVERED, "def2-SVP covers H (1) to La (57) and Hf (72) to Rn (86)")
    electrons = n_electrons(structure.numbers, structure.charge)
    if electrons < 1:
        raise LabelError(
            "no_electrons",
            f"charge {structure.charge:+d} leaves {electrons} electrons; PBE needs at least one: leave such bare nuclei "
            "out, or correct the charge",
        )
    common.refuse_spin(structure, structure.multiplicity - 1, electrons, int(N_FUNCTIONS[structure.numbers].sum()))
    return common.refuse_close_atoms(structure)


def flags(structure: Structure, solution: Solution, orbital_charges: NDArray, closest: float) -> Flag:
    """Return the quality bits that a label earns. Nothing is removed for a flag.

    Parameters
    ----------
    structure, solution, orbital_charges
        What was labelled, and with what result.
    closest
        As :func:`refuse` returned it.
    """
    found = common.common_flags(structure, orbital_charges, solution.forces, solution.gap, closest)
    spin = (structure.multiplicity - 1) / 2
    if abs(solution.spin_square - spin * (spin + 1)) > SPIN_CONTAMINATION:
        found |= Flag.F_SPIN_CONTAMINATION
    return found
