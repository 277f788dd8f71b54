"""Orbital charges and moments from the density and overlap matrices.

The symmetrised on-site Mulliken block of atom A and angular momentum l is B = ½(PS + SP) restricted to A's orbitals of
that l, the diagonal blocks of shells of equal l added. Its diagonal is the per-orbital population, its trace the shell
population.
"""

import numpy as np
from numpy.typing import NDArray

Blocks = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def on_site_blocks(density: NDArray, overlap: NDArray, momenta: NDArray, atoms: NDArray) -> Blocks:
    """Sum ½(PS + SP) on each atom over shells of equal angular momentum.

    Parameters
    ----------
    density, overlap
        ``(norb, norb)``, symmetric, orbitals shell by shell.
    momenta, atoms
        ``(nshell,)`` angular momentum and atom of each shell, in the order of the orbitals. GFN1 stores transition metals as
        d, s, p and hydrogen as s, s: go by these numbers, never by position.

    Returns
    -------
    s, p, d
        ``(n,)``, ``(n, 3, 3)`` and ``(n, 5, 5)`` in electrons; zero where an atom has no such shell.
    """
    sizes = 2 * momenta + 1
    starts = np.cumsum(sizes) - sizes
    s, p, d = (np.zeros((atoms[-1] + 1, size, size)) for size in (1, 3, 5))
    for l, blocks in enumerate((s, p, d)):
        shells = momenta == l
        orbitals = starts[shells][:, None] + np.arange(2 * l + 1)  # (shells, 2l + 1)
        products = density[orbitals] @ overlap[orbitals].transpose(0, 2, 1)
        np.add.at(blocks, atoms[shells], 0.5 * (products + products.transpose(0, 2, 1)))
    return s[:, 0, 0], p, d


def shell_populations(blocks: Blocks) -> NDArray[np.float64]:
    """Electrons in s, p and d of each atom: ``(n, 3)``, the traces of the blocks."""
    s, p, d = blocks
    return np.stack([s, np.trace(p, axis1=1, axis2=2), np.trace(d, axis1=1, axis2=2)], axis=1)
