"""A structure as the page's script draws it: elements, positions in thousandths of Å, bonds, cell."""

import re

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.neighborlist import natural_cutoffs, neighbor_list
from markupsafe import Markup

from mlipq.store.table import Table

MOST_ATOMS = 1500
"""Of a structure that is drawn: 24 of them fit into a page of a few MB, and a phone turns one smoothly."""

BOND = 1.15
"""Atoms are joined up to this times the sum of their covalent radii."""

_IONIC = [11, 19, 37, 55, 20, 38, 56]
"""Na to Cs and Ca to Ba: their radii reach every neighbour, so they are drawn as ions, without bonds."""


def drawing(table: Table, marked: set[int]) -> dict[str, object] | None:
    """Return what is needed to draw the one structure of a table, or ``None`` where it is too large.

    Parameters
    ----------
    table
        With one structure.
    marked
        Atoms to point at.
    """
    numbers, positions = table.arrays["atomic_numbers"], table.arrays["positions"]
    if len(numbers) > MOST_ATOMS or not np.isfinite(positions).all():
        return None
    periodic = "pbc" in table.arrays and bool(table.arrays["pbc"][0].any())
    centre = positions.mean(axis=0) if len(positions) else np.zeros(3)
    return {
        "elements": [symbol(z) for z in numbers],
        "positions": _thousandths(positions - centre),
        "bonds": _bonds(numbers, positions),
        "cell": _thousandths(table.arrays["cell"][0]) if periodic else [],
        "origin": _thousandths(-centre),
        "marked": sorted(marked),
    }


def formula(numbers: np.ndarray) -> Markup:
    """Return the formula in Hill's order, its numbers lowered."""
    text = Atoms([symbol(z) for z in numbers]).get_chemical_formula("hill")
    return Markup("").join(
        Markup("<sub>{}</sub>").format(part) if part.isdigit() else part for part in re.split(r"(\d+)", text) if part
    )


def symbol(z: int) -> str:
    """Return an element's symbol, ``X`` for what is none."""
    return str(chemical_symbols[z]) if z < len(chemical_symbols) else "X"


def _thousandths(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.rint(1000 * values).ravel()]


def _bonds(numbers: np.ndarray, positions: np.ndarray) -> list[int]:
    """Pairs of joined atoms, one after the other; bonds through a cell's faces are left out."""
    atoms = Atoms([symbol(z) for z in numbers], positions)
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BOND))
    joined = (first < second) & ~np.isin(numbers[first], _IONIC) & ~np.isin(numbers[second], _IONIC)
    return [int(atom) for pair in zip(first[joined], second[joined], strict=True) for atom in pair]
