"""Small random changes of molecular graphs that keep every valence."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from rdkit import Chem

Choice = TypeVar("Choice")

Elements = Mapping[int, int]
"""Atomic numbers, and how often each shall be chosen against the others."""

BONDS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
RINGS = range(3, 8)
"""Sizes of rings that are closed."""


class NoPlaceError(Exception):
    """The change does not fit anywhere into this molecule."""


def mutated(molecule: Chem.Mol, elements: Elements, random: np.random.Generator) -> tuple[Chem.Mol, str]:
    """Change a molecule at one place.

    Parameters
    ----------
    molecule
        Sanitized, without explicit hydrogens.
    elements
        Atomic numbers to choose from, and how often.
    random
        Draws the move and its place.

    Returns
    -------
    Mol, str
        The new molecule, sanitized, and the name of the move.

    Raises
    ------
    NoPlaceError
        If the move that was drawn fits nowhere, or breaks a valence.
    """
    name = _one_of(random, list(MOVES))
    changed = Chem.RWMol(molecule)
    Chem.Kekulize(changed, clearAromaticFlags=True)
    MOVES[name](changed, elements, random)
    for atom in changed.GetAtoms():
        if not atom.GetFormalCharge():  # hydrogens are counted anew
            atom.SetNoImplicit(False)
            atom.SetNumExplicitHs(0)
    try:
        Chem.SanitizeMol(changed)
    except ValueError as error:
        raise NoPlaceError(str(error)) from None
    return changed.GetMol(), name


def _add_atom(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Replace a hydrogen by an atom, or several by one with a multiple bond."""
    neighbour = _one_of(random, [atom for atom in molecule.GetAtoms() if _free(atom)])
    added = molecule.AddAtom(Chem.Atom(_element(random, elements)))
    molecule.AddBond(neighbour.GetIdx(), added, BONDS[_one_of(random, range(1, min(_free(neighbour), 3) + 1))])


def _insert_atom(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Put an atom into a single bond."""
    bond = _one_of(random, _neutral_bonds(molecule, 1))
    first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    molecule.RemoveBond(first, second)
    added = molecule.AddAtom(Chem.Atom(_element(random, elements)))
    molecule.AddBond(first, added, BONDS[1])
    molecule.AddBond(added, second, BONDS[1])


def _remove_atom(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Take an atom away from an end, or out of a chain or ring, whose ends are joined."""
    atom = _one_of(random, [atom for atom in molecule.GetAtoms() if _neutral(atom) and 1 <= atom.GetDegree() <= 2])
    neighbours = [neighbour.GetIdx() for neighbour in atom.GetNeighbors()]
    if len(neighbours) == 2:
        if molecule.GetBondBetweenAtoms(*neighbours):
            raise NoPlaceError
        molecule.AddBond(*neighbours, BONDS[1])
    molecule.RemoveAtom(atom.GetIdx())


def _replace_atom(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Make another element of an atom."""
    atom = _one_of(random, [atom for atom in molecule.GetAtoms() if _neutral(atom)])
    atom.SetAtomicNum(_element(random, elements, but=atom.GetAtomicNum()))


def _change_bond(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Make a bond single, double or triple."""
    bond = _one_of(random, _neutral_bonds(molecule, 1, 2, 3))
    order = bond.GetBondTypeAsDouble()
    spare = min(_free(bond.GetBeginAtom()), _free(bond.GetEndAtom()))
    bond.SetBondType(BONDS[_one_of(random, [new for new in BONDS if new != order and new - order <= spare])])


def _close_ring(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Bond two atoms, so that a ring of three to seven closes."""
    distances = Chem.GetDistanceMatrix(molecule)
    free = [atom.GetIdx() for atom in molecule.GetAtoms() if _free(atom)]
    pairs = [(a, b) for a in free for b in free if a < b and distances[a, b] + 1 in RINGS]
    molecule.AddBond(*_one_of(random, pairs), BONDS[1])


def _open_ring(molecule: Chem.RWMol, elements: Elements, random: np.random.Generator) -> None:
    """Cut a single bond of a ring."""
    bond = _one_of(random, [bond for bond in _neutral_bonds(molecule, 1) if bond.IsInRing()])
    molecule.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())


MOVES: dict[str, Callable[[Chem.RWMol, Elements, np.random.Generator], None]] = {
    "add atom": _add_atom,
    "insert atom": _insert_atom,
    "remove atom": _remove_atom,
    "replace atom": _replace_atom,
    "change bond": _change_bond,
    "close ring": _close_ring,
    "open ring": _open_ring,
}


def _one_of(random: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    if not choices:
        raise NoPlaceError
    return choices[int(random.integers(len(choices)))]


def _element(random: np.random.Generator, elements: Elements, but: int = 0) -> int:
    choices = sorted(number for number in elements if number != but)
    if not choices:
        raise NoPlaceError
    often = np.array([elements[number] for number in choices], dtype=np.float64)
    return int(random.choice(choices, p=often / often.sum()))


def _neutral(atom: Chem.Atom) -> bool:
    """True for what may be changed: groups with formal charges, such as nitro, stay as they are."""
    return not atom.GetFormalCharge()


def _free(atom: Chem.Atom) -> int:
    """Hydrogens that may give way to other bonds."""
    return int(atom.GetTotalNumHs()) if _neutral(atom) else 0


def _neutral_bonds(molecule: Chem.Mol, *orders: int) -> list[Chem.Bond]:
    """Bonds of these orders between atoms without formal charges."""
    return [
        bond
        for bond in molecule.GetBonds()
        if bond.GetBondTypeAsDouble() in orders and _neutral(bond.GetBeginAtom()) and _neutral(bond.GetEndAtom())
    ]
