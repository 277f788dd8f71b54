"""Fixed maps of orbital moments: which shells there are, how two 2e make a 4e, what populations follow.

Components are in e3nn's order and sign, as in ``gfn1/orbital_moments``. :mod:`mlipq.irreps` has the bases of the blocks in
tblite's order of orbitals; ``_FROM_E3NN`` carries l = 2 from e3nn's axes to tblite's.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlipq.irreps import D_BASIS, P_BASIS
from mlipq.schema import GFN1_MAX_Z, MOMENT_SLICES, gfn1_shells
from mlipq.training.models.layers import N_ELEMENTS

_ROOT = np.sqrt(0.75)
_FROM_E3NN = np.array(
    [
        [0, 1, 0, 0, 0],  # xy
        [0, 0, 0, 1, 0],  # yz
        [0, 0, -0.5, 0, _ROOT],  # z²
        [1, 0, 0, 0, 0],  # xz
        [0, 0, -_ROOT, 0, -0.5],  # x² - y²
    ]
)
"""``(5, 5)``: e3nn's xz, xy, y², yz, z² - x² to tblite's order."""

COUPLING_4: NDArray[np.float64] = np.einsum("kij,ia,jb->kab", D_BASIS[6:], _FROM_E3NN, _FROM_E3NN)
"""``(9, 5, 5)``: the 4e of two 2e a and b is ``einsum('kab,a,b->k', COUPLING_4, a, b)``; orthonormal."""


def _shell_mask() -> Tensor:
    mask = torch.zeros(N_ELEMENTS, 3)
    for z in range(1, GFN1_MAX_Z + 1):
        mask[z, : len(gfn1_shells(z))] = 1
    return mask


def _population_map() -> Tensor:
    p, d = np.einsum("kii->ki", P_BASIS), np.einsum("kii->ki", D_BASIS)
    rows = np.zeros((22, 9))
    rows[MOMENT_SLICES["s0"], 0] = 1
    rows[MOMENT_SLICES["p0"], 1:4], rows[MOMENT_SLICES["p2"], 1:4] = p[:1], p[1:]
    rows[MOMENT_SLICES["d0"], 4:], rows[MOMENT_SLICES["d2"], 4:], rows[MOMENT_SLICES["d4"], 4:] = d[:1], d[1:6], d[6:]
    return torch.from_numpy(rows)


SHELL_MASK = _shell_mask()
"""``(119, 3)``: 1 where GFN1-xTB gives an element s, p or d."""

MOMENT_SHELLS = [0, 1, 2, *[1] * 5, *[2] * 5, *[2] * 9]
"""Which of s, p, d (0, 1, 2) each of the 22 moments belongs to."""

POPULATION_NAMES = ("s", "p_y", "p_z", "p_x", "d_xy", "d_yz", "d_z2", "d_xz", "d_x2-y2")
"""What :func:`populations` returns, in its order."""

_POPULATION_MAP = _population_map()


def populations(moments: Tensor) -> Tensor:  # (N, 22) -> (N, 9)
    """Return the electrons in each orbital, the diagonals of the on-site blocks, in the order of :data:`POPULATION_NAMES`."""
    return moments @ _POPULATION_MAP.to(moments)
