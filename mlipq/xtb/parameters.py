"""GFN1-xTB's electrons: what its shells can hold, how many it treats, and how many are unpaired."""

import numpy as np
from numpy.typing import NDArray

from mlipq.methods.electrons import REFERENCE_OCCUPATION
from mlipq.schema import GFN1_MAX_Z, gfn1_shells

CAPACITY = np.array([2.0, 6.0, 10.0])
"""Electrons that an s, p and d shell can hold."""

HAS_SHELL = np.array([[False] * 3] + [[l in gfn1_shells(z) for l in "spd"] for z in range(1, GFN1_MAX_Z + 1)])
"""``(87, 3)``: which of s, p, d an element has."""

SHELL_CAPACITY = np.where(HAS_SHELL, CAPACITY, 0.0)
"""``(87, 3)``: electrons that an element's s, p and d hold in any physical solution."""

ORBITALS = SHELL_CAPACITY.sum(axis=1).astype(int) // 2
"""``(87,)``: atomic orbitals of an element."""
ORBITALS[1] = 2  # hydrogen has a second, diffuse s shell, which polarises the first and is never filled beside it

HAS_4F_IN_CORE = np.isin(np.arange(GFN1_MAX_Z + 1), np.arange(58, 72))
"""``(87,)``: Ce to Lu, whose 4f electrons GFN1 keeps in the core."""


def valence_electrons(numbers: NDArray, charge: int) -> int:
    """Electrons that GFN1 treats: Σ reference occupations - charge.

    Parameters
    ----------
    numbers
        ``(n,)`` atomic numbers, 1 to 86.
    charge
        Total charge in e.
    """
    return int(REFERENCE_OCCUPATION[numbers].sum()) - charge


def unpaired_electrons(numbers: NDArray, charge: int, multiplicity: int) -> int:
    """Unpaired electrons for GFN1, which keeps 4f electrons in the core.

    ``multiplicity - 1``, but where Ce to Lu (Z 58 to 71) are present the lowest number of the parity of GFN1's valence
    electrons: the 4f electrons that carry the rest of the spin are not there to be paired.
    """
    if HAS_4F_IN_CORE[numbers].any():
        return valence_electrons(numbers, charge) % 2
    return multiplicity - 1
