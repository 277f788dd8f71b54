"""def2-SVP (Weigend, Ahlrichs, PCCP 7, 3297 (2005)): functions of an element, electrons in its core, and what an atom has.

Orbital charges compare with GFN1's, so the core is the same: what GFN1 does not treat. An all-electron calculation has it
too, and Mulliken populations count it; from Rb on an effective core potential takes its place in part.
"""

import numpy as np
from numpy.typing import NDArray

from mlipq.methods.electrons import REFERENCE_OCCUPATION
from mlipq.schema import GFN1_MAX_Z

BASIS = "def2-svp"

_SIZES = (  # first Z, last Z, functions
    (1, 2, 5),
    (3, 4, 9),
    (5, 10, 14),
    (11, 11, 15),
    (12, 18, 18),
    (19, 20, 24),
    (21, 30, 31),
    (31, 36, 32),
    (37, 37, 24),
    (38, 38, 23),
    (39, 48, 31),
    (49, 53, 26),
    (54, 54, 50),
    (55, 55, 24),
    (56, 56, 23),
    (57, 57, 32),
    (72, 80, 32),
    (81, 85, 26),
    (86, 86, 50),
)

_CLOSED = {  # s, p, d, f electrons of the noble gases, by their atomic number
    0: (0, 0, 0, 0),
    2: (2, 0, 0, 0),
    10: (4, 6, 0, 0),
    18: (6, 12, 0, 0),
    36: (8, 18, 10, 0),
    54: (10, 24, 20, 0),
}

_POTENTIALS = (  # first Z, last Z, s, p, d, f electrons that the effective core potential replaces
    (37, 54, (6, 12, 10, 0)),
    (55, 57, (8, 18, 20, 0)),
    (72, 86, (8, 18, 20, 14)),
)


def _sizes() -> NDArray[np.int64]:
    table = np.zeros(GFN1_MAX_Z + 1, dtype=np.int64)
    for first, last, size in _SIZES:
        table[first : last + 1] = size
    return table


def _replaced() -> NDArray[np.int64]:
    table = np.zeros((GFN1_MAX_Z + 1, 4), dtype=np.int64)
    for first, last, electrons in _POTENTIALS:
        table[first : last + 1] = electrons
    return table


def _core(z: int) -> NDArray[np.int64]:
    """Electrons of an atom in s, p, d and f that GFN1 does not treat: a noble gas, and full d and f shells after it."""
    gas = max(closed for closed in _CLOSED if closed < z)
    rest = z - gas - int(REFERENCE_OCCUPATION[z].sum())
    f = min(rest, 14) if gas == 54 else 0
    return np.add(_CLOSED[gas], (0, 0, rest - f, f))


def _references() -> NDArray[np.float64]:
    table = np.zeros((GFN1_MAX_Z + 1, 3))
    for z in np.flatnonzero(COVERED).tolist():
        s, p, d, f = _core(z) - REPLACED[z]
        table[z] = REFERENCE_OCCUPATION[z] + (s, p, d + f)
    return table


N_FUNCTIONS = _sizes()
"""``(87,)``: spherical basis functions of an element, 0 where def2-SVP has none (Ce to Lu)."""

COVERED = N_FUNCTIONS > 0
"""``(87,)``: elements that def2-SVP covers."""

REPLACED = _replaced()
"""``(87, 4)``: electrons in s, p, d, f that an effective core potential stands for."""

REFERENCE = _references()
"""``(87, 3)``: electrons of the neutral atom in s, p, and d with f, as the calculation counts them: its core and GFN1's valence."""


def n_electrons(numbers: NDArray, charge: int) -> int:
    """Electrons that the calculation treats.

    Parameters
    ----------
    numbers
        ``(n,)`` atomic numbers that are covered.
    charge
        Total charge in e.
    """
    return int(REFERENCE[numbers].sum()) - charge
