"""GFN1-xTB's electrons: reference occupations of s, p and d, valence electrons, and how many are unpaired.

The occupations are the ``refocc`` of the published parameters (Grimme, Bannwarth, Shushkov, JCTC 13, 1989 (2017)), taken
from the file ``gfn1-xtb.toml`` that dxtb 0.4.0 carries (Apache-2.0).
"""

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import GFN1_MAX_Z, gfn1_shells

_PERIODS = (  # first Z, s, p, d, a digit an element
    (1, "12", "00", "00"),
    (3, "12222222", "00123456", "00000000"),
    (11, "12222222", "00123456", "00000000"),
    (19, "122222222222222222", "000000000000123456", "001234567890000000"),
    (37, "122222222222222222", "000000000000123456", "001234567890000000"),
    (55, "12222222222222222222222222222222", "00000000000000000000000000123456", "00111111111111111234567890000000"),
)


def _table() -> NDArray[np.float64]:
    table = np.zeros((GFN1_MAX_Z + 1, 3))
    for first, *shells in _PERIODS:
        for column, digits in enumerate(shells):
            table[first : first + len(digits), column] = [int(digit) for digit in digits]
    table.flags.writeable = False
    return table


REFERENCE_OCCUPATION = _table()
"""``(87, 3)``: electrons of the neutral atom in s, p and d, by atomic number; row 0 is empty."""

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
