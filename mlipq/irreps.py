"""On-site orbital blocks as irreps: the constant map between a symmetric block and its moments.

A symmetric p block (3 × 3) is ``0e + 2e`` under rotation, a d block (5 × 5) is ``0e + 2e + 4e``. The tables below are
e3nn's ``ReducedTensorProducts('ij=ji', i='1x1o')`` and ``…, i='1x2e')`` carried over to tblite's order of orbitals
(p: y, z, x; d: xy, yz, z², xz, x²-y²) by D_l(M), M: (x, y, z) → (y, z, x). Each map is orthonormal, so the Frobenius norm of
a block is the norm of its moments. Every coefficient is the signed square root of a multiple of 1/3360; a test derives
the tables from e3nn.
"""

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import MOMENT_SLICES

_DENOMINATOR = 3360

_P_TERMS = (
    # 0e
    ((0, 0, 1120), (1, 1, 1120), (2, 2, 1120)),
    # 2e
    ((1, 2, 1680),),
    ((0, 2, 1680),),
    ((0, 0, 2240), (1, 1, -560), (2, 2, -560)),
    ((0, 1, 1680),),
    ((1, 1, 1680), (2, 2, -1680)),
)

_D_TERMS = (
    # 0e
    ((0, 0, 672), (1, 1, 672), (2, 2, 672), (3, 3, 672), (4, 4, 672)),
    # 2e
    ((0, 1, 720), (2, 3, 240), (3, 4, 720)),
    ((0, 2, -960), (1, 3, 720)),
    ((0, 0, 240), (1, 1, 240), (2, 2, -240), (2, 4, 720), (3, 3, -960), (4, 4, 240)),
    ((0, 3, 720), (1, 2, 240), (1, 4, -720)),
    ((0, 0, -720), (1, 1, 720), (2, 2, 720), (2, 4, 240), (4, 4, -720)),
    # 4e
    ((2, 3, 1260), (3, 4, -420)),
    ((0, 2, 630), (0, 4, -210), (1, 3, 840)),
    ((0, 1, 960), (2, 3, -180), (3, 4, -540)),
    ((0, 2, -90), (0, 4, -1470), (1, 3, -120)),
    ((0, 0, -768), (1, 1, -768), (2, 2, 243), (2, 4, 225), (3, 3, 48), (4, 4, 1083)),
    ((0, 3, -120), (1, 2, -810), (1, 4, -750)),
    ((0, 0, -960), (1, 1, 960), (2, 2, -540), (2, 4, -180), (4, 4, 540)),
    ((0, 3, -840), (1, 2, 630), (1, 4, -210)),
    ((2, 2, 945), (2, 4, -315), (3, 3, -1680), (4, 4, 105)),
)


def _basis(terms: tuple[tuple[tuple[int, int, int], ...], ...], size: int) -> NDArray[np.float64]:
    basis = np.zeros((len(terms), size, size))
    for row, entries in enumerate(terms):
        for i, j, signed_square in entries:
            basis[row, i, j] = basis[row, j, i] = np.sign(signed_square) * np.sqrt(abs(signed_square) / _DENOMINATOR)
    return basis


P_BASIS = _basis(_P_TERMS, 3)
"""``(6, 3, 3)``: moments of a p block are ``einsum('kij,ij->k', P_BASIS, block)``; rows 0e, 2e."""

D_BASIS = _basis(_D_TERMS, 5)
"""``(15, 5, 5)``: the same for a d block; rows 0e, 2e, 4e."""


def to_moments(s: NDArray, p: NDArray, d: NDArray) -> NDArray[np.float64]:
    """Turn on-site blocks into the 22 moments of ``gfn1/orbital_moments``.

    Parameters
    ----------
    s, p, d
        ``(n,)``, ``(n, 3, 3)`` and ``(n, 5, 5)`` symmetric blocks in tblite's order of orbitals; zero where an atom has
        no such shell.

    Returns
    -------
    ndarray
        ``(n, 22)``: s0, p0, d0, p2, d2, d4, that is ``3x0e+2x2e+1x4e``.
    """
    p_moments = np.einsum("kij,nij->nk", P_BASIS, p)
    d_moments = np.einsum("kij,nij->nk", D_BASIS, d)
    parts = (s[:, None], p_moments[:, :1], d_moments[:, :1], p_moments[:, 1:], d_moments[:, 1:6], d_moments[:, 6:])
    return np.concatenate(parts, axis=1)


def to_blocks(moments: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Turn the 22 moments back into on-site blocks; the inverse of :func:`to_moments`.

    The diagonals of the blocks are the per-orbital populations, their traces the shell populations.

    Parameters
    ----------
    moments
        ``(n, 22)``.

    Returns
    -------
    s, p, d
        ``(n,)``, ``(n, 3, 3)`` and ``(n, 5, 5)``.
    """
    part = {name: moments[:, where] for name, where in MOMENT_SLICES.items()}
    p_moments = np.concatenate([part["p0"], part["p2"]], axis=1)
    d_moments = np.concatenate([part["d0"], part["d2"], part["d4"]], axis=1)
    return part["s0"][:, 0], np.einsum("kij,nk->nij", P_BASIS, p_moments), np.einsum("kij,nk->nij", D_BASIS, d_moments)
