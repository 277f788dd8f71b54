"""What is checked before tblite is called, and on every label after."""

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import LabelError
from mlipq.methods import checks as common
from mlipq.methods.electrons import REFERENCE_OCCUPATION
from mlipq.schema import GFN1_MAX_Z, Flag
from mlipq.structures.structure import Structure
from mlipq.xtb.parameters import ORBITALS, SHELL_CAPACITY, unpaired_electrons, valence_electrons
from mlipq.xtb.singlepoint import Solution

_COVERED = np.arange(GFN1_MAX_Z + 1) > 0

EXPECTED_POPULATION = (-0.10, 0.03)
"""Electrons under zero and over capacity that ordinary solutions stay within."""


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
    common.refuse_periodic(
        structure,
        "GFN1-xTB labels molecules: tblite's periodic GFN1 samples the Γ point only, so a crystal's label would depend on "
        "the size of its cell",
    )
    common.refuse_atoms(structure, _COVERED, f"GFN1-xTB covers H (1) to Rn ({GFN1_MAX_Z})")
    _refuse_electrons(structure)
    return common.refuse_close_atoms(structure)


def _refuse_electrons(structure: Structure) -> None:
    electrons = valence_electrons(structure.numbers, structure.charge)
    if electrons < 1:
        raise LabelError(
            "no_electrons",
            f"charge {structure.charge:+d} leaves {electrons} of {electrons + structure.charge} valence electrons; GFN1 needs at "
            "least one: leave such bare ions out, or correct the charge",
        )
    unpaired = unpaired_electrons(structure.numbers, structure.charge, structure.multiplicity)
    common.refuse_spin(structure, unpaired, electrons, n_orbitals(structure.numbers), "valence electrons")


def n_orbitals(numbers: NDArray) -> int:
    """Atomic orbitals that GFN1 gives these atoms."""
    return int(ORBITALS[np.minimum(numbers, GFN1_MAX_Z)].sum())


def flags(structure: Structure, solution: Solution, uhf: int, closest: float) -> Flag:
    """Return the quality bits that a label earns. Nothing is removed for a flag.

    Parameters
    ----------
    structure, solution, uhf
        What was labelled, with what result, as how many unpaired electrons.
    closest
        As :func:`refuse` returned it.
    """
    numbers = structure.numbers
    excess = solution.populations - SHELL_CAPACITY[numbers]
    charges = REFERENCE_OCCUPATION[numbers] - solution.populations
    found = common.common_flags(structure, charges, solution.forces, solution.gap, closest)
    if uhf != structure.multiplicity - 1:
        found |= Flag.F_IN_CORE
    if solution.populations.min() < EXPECTED_POPULATION[0] or excess.max() > EXPECTED_POPULATION[1]:
        found |= Flag.F_POPULATION
    return found
