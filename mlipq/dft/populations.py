"""Mulliken populations of s, p and d from PySCF's density and overlap."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyscf.gto import Mole


def shell_populations(molecule: "Mole", density: NDArray, overlap: NDArray) -> NDArray[np.float64]:
    """Electrons in s, p and d of each atom, f functions with d.

    Parameters
    ----------
    molecule
        Says which atom and angular momentum each basis function has.
    density, overlap
        ``(nao, nao)``, the density summed over spins.

    Returns
    -------
    NDArray
        ``(n, 3)``: the diagonal of PS, summed.
    """
    orbitals = np.einsum("ij,ji->i", density, overlap)
    starts = molecule.ao_loc_nr()
    populations = np.zeros((molecule.natm, 3))
    for shell in range(molecule.nbas):
        column = min(molecule.bas_angular(shell), 2)
        populations[molecule.bas_atom(shell), column] += orbitals[starts[shell] : starts[shell + 1]].sum()
    return populations
