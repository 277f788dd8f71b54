"""Valence electrons of the elements, as orbital charges count them, and the centre that dipoles are about.

The occupations are the ``refocc`` of GFN1-xTB's published parameters (Grimme, Bannwarth, Shushkov, JCTC 13, 1989 (2017)),
taken from the file ``gfn1-xtb.toml`` that dxtb 0.4.0 carries (Apache-2.0). They are those of the free atom, but that d^n s²
stands for every transition metal, and that the full d shell of Zn, Cd, Hg and what follows them belongs to the core.
"""

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import GFN1_MAX_Z
from mlipq.structures.structure import Structure

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
"""``(87, 3)``: valence electrons of the neutral atom in s, p and d, by atomic number; row 0 is empty."""


def nuclear_charge_centre(structure: Structure) -> NDArray[np.float64]:
    """Return the centre of nuclear charge: ``(3,)`` in Å."""
    weights = structure.numbers / structure.numbers.sum()
    return np.asarray(weights @ structure.positions)
