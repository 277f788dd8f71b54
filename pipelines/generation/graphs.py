"""Molecular graphs: the bonds of a geometry, and what makes two graphs the same."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds, rdMolHash

RDLogger.DisableLog("rdApp.*")  # what fails here is counted, not told

ORDER_CHOICES = 1000
"""Assignments of bond orders that are tried before a molecule is given up: their number can explode."""


class UnclearBondsError(Exception):
    """No Lewis structure fits the geometry."""


def bonded(numbers: NDArray, positions: NDArray) -> Chem.Mol:
    """Return a molecule whose atoms are bonded where they are close; the bonds have no orders yet.

    Parameters
    ----------
    numbers
        ``(n,)`` atomic numbers.
    positions
        ``(n, 3)`` in Å.
    """
    molecule = Chem.RWMol()
    for number in numbers.tolist():
        molecule.AddAtom(Chem.Atom(number))
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.array(positions, dtype=np.float64))
    molecule.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(molecule)
    return molecule


def skeleton(molecule: Chem.Mol) -> str:
    """Return which elements are bonded to which, as text: equal for equal graphs.

    Orders of bonds, formal charges and stereochemistry do not count, so it cannot differ between two ways to draw one
    molecule; molecules of equal SMILES without stereochemistry have equal skeletons.

    Parameters
    ----------
    molecule
        With all its hydrogens explicit.
    """
    flat = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(flat)
    return str(rdMolHash.MolHash(flat, rdMolHash.HashFunction.ElementGraph))


def perceived(molecule: Chem.Mol) -> Chem.Mol:
    """Return a neutral, closed-shell molecule with the orders of its bonds, without explicit hydrogens.

    The method is that of Y. Kim and W. Y. Kim, Bull. Korean Chem. Soc. 36, 1769 (2015).

    Parameters
    ----------
    molecule
        As :func:`bonded` makes it.

    Raises
    ------
    UnclearBondsError
        If there is no Lewis structure without radicals, or there are several fragments.
    """
    # Of several Lewis structures the first that fits is taken: let the graph say which.
    ranks = _canonical_ranks(molecule)
    whole = Chem.RWMol(Chem.RenumberAtoms(molecule, sorted(range(len(ranks)), key=ranks.__getitem__)))
    try:
        rdDetermineBonds.DetermineBondOrders(whole, charge=0, embedChiral=False, maxIterations=ORDER_CHOICES)
        whole = Chem.RenumberAtoms(whole, ranks)
        Chem.SanitizeMol(whole)
        bare = Chem.RemoveHs(whole)
    except (ValueError, RuntimeError) as error:
        raise UnclearBondsError(str(error)) from None
    if has_radicals(bare) or len(Chem.GetMolFrags(bare)) > 1:
        raise UnclearBondsError("radicals or several fragments")
    return bare


def _canonical_ranks(molecule: Chem.Mol) -> list[int]:
    """Return a number for each atom that the graph decides, whatever the order of atoms."""
    graph = Chem.Mol(molecule)
    graph.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(graph)
    return list(Chem.CanonicalRankAtoms(graph, breakTies=True))


def has_radicals(molecule: Chem.Mol) -> bool:
    """Return whether any atom lacks a bond."""
    return any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def smiles_of(molecule: Chem.Mol) -> str:
    """Return the canonical SMILES without stereochemistry."""
    return str(Chem.MolToSmiles(molecule, isomericSmiles=False))


def formula_of(molecule: Chem.Mol) -> str:
    """Return the formula as :attr:`mlipq.structures.Structure.formula` writes it: ``C2H6O``.

    Parameters
    ----------
    molecule
        With all its hydrogens explicit.
    """
    counts = sorted(Counter(atom.GetSymbol() for atom in molecule.GetAtoms()).items())
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in counts)


def environments(molecule: Chem.Mol) -> Iterator[tuple[object, ...]]:
    """Yield the kind of each heavy atom, and of each bond between two.

    An atom's kind is its element, formal charge, hydrogens and heavy neighbours; a bond's its two elements, its order (1.5 where it is
    aromatic) and the size of the smallest ring that it is in, or 0.

    Parameters
    ----------
    molecule
        Sanitized, without explicit hydrogens.
    """
    for atom in molecule.GetAtoms():
        yield atom.GetSymbol(), atom.GetFormalCharge(), atom.GetTotalNumHs(), atom.GetDegree()
    rings = molecule.GetRingInfo()
    for bond in molecule.GetBonds():
        elements = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
        yield *elements, bond.GetBondTypeAsDouble(), rings.MinBondRingSize(bond.GetIdx())
