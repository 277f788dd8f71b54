"""The periodic table: where each element stands, and how a dataset fills it."""

import math
from dataclasses import dataclass

from ase.data import atomic_names, chemical_symbols

from mlipq.hub.inspect.parts import Energy, Makeup

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers at the ends of the periods."""


@dataclass(frozen=True)
class Cell:
    """An element: its place, and what the dataset has of it."""

    z: int
    symbol: str
    name: str
    row: int
    column: int
    structures: int
    atoms: int
    level: float
    energies: tuple[tuple[str, float], ...]


def place(z: int) -> tuple[int, int]:
    """Return row and column, from 1; the 4f and 5f elements stand in rows 9 and 10, below the others.

    Examples
    --------
    >>> place(1), place(2), place(26), place(58), place(79)
    ((1, 1), (1, 18), (4, 8), (9, 4), (6, 11))
    """
    period = next(row for row, last in enumerate(_NOBLE) if z <= last)
    inside, left = z - _NOBLE[period - 1], _NOBLE[period] - z
    if (inside <= 2 and period > 1) or z == 1:
        return period, inside
    if period >= 6 and 3 <= inside <= 16:
        return period + 3, inside
    return period, 18 - left


def cells(makeup: Makeup, energies: list[Energy]) -> list[Cell]:
    """Return all elements; ``level`` is 0 where there is none, else from 0.15 to 1 by the logarithm of the structures that have it."""
    most = max(int(makeup.structures_with.max()), 1)
    found = []
    for z in range(1, len(chemical_symbols)):
        structures = int(makeup.structures_with[z])
        level = 0.15 + 0.85 * math.log1p(structures) / math.log1p(most) if structures else 0.0
        fitted = tuple((energy.spec.name, float(energy.fitted[0][z])) for energy in energies if energy.fit.normal[z, z])
        row, column = place(z)
        found.append(
            Cell(
                z,
                chemical_symbols[z],
                atomic_names[z],
                row,
                column,
                structures,
                int(makeup.atoms_of[z]),
                round(level, 3),
                fitted,
            )
        )
    return found
