"""Orbital charges and moments from the density and overlap matrices.

The symmetrised on-site Mulliken block of atom A and angular momentum l is B = ½(PS + SP) restricted to A's orbitals of
that l, the diagonal blocks of shells of equal l added. Its diagonal is the per-orbital population, its trace the shell
population.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

Blocks = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def on_site_blocks(density: NDArray, overlap: NDArray, shells: list[tuple[int, ...]]) -> Blocks:
    """Sum ½(PS + SP) on each atom over shells of equal angular momentum.

    Parameters
    ----------
    density, overlap
        ``(norb, norb)``, symmetric, orbitals atom by atom and shell by shell.
    shells
        Angular momentum of each shell of each atom, in the order of the orbitals. GFN1 stores transition metals as d, s, p
        and hydrogen as s, s: go by these numbers, never by position.

    Returns
    -------
    s, p, d
        ``(n,)``, ``(n, 3, 3)`` and ``(n, 5, 5)`` in electrons; zero where an atom has no such shell.
    """
    n = len(shells)
    blocks = (np.zeros((n, 1, 1)), np.zeros((n, 3, 3)), np.zeros((n, 5, 5)))
    sizes = np.array([sum(2 * l + 1 for l in atom) for atom in shells])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    alike = defaultdict(list)  # atoms with the same shells are treated together
    for atom, its_shells in enumerate(shells):
        alike[its_shells].append(atom)
    for its_shells, atoms in alike.items():
        orbitals = starts[atoms][:, None] + np.arange(sizes[atoms[0]])
        products = np.matmul(density[orbitals], overlap[orbitals].transpose(0, 2, 1))  # (atoms, k, k)
        products = 0.5 * (products + products.transpose(0, 2, 1))
        first = 0
        for l in its_shells:
            last = first + 2 * l + 1
            blocks[l][atoms] += products[:, first:last, first:last]
            first = last
    return blocks[0][:, 0, 0], blocks[1], blocks[2]


def shell_populations(blocks: Blocks) -> NDArray[np.float64]:
    """Electrons in s, p and d of each atom: ``(n, 3)``, the traces of the blocks."""
    s, p, d = blocks
    return np.stack([s, np.trace(p, axis1=1, axis2=2), np.trace(d, axis1=1, axis2=2)], axis=1)
