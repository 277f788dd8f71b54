"""Energies as a linear function of the features of atoms, with weights of each element: fitted at once by ridge regression.

Few labels determine such a function better than gradient steps find it. The penalty is chosen by the errors of structures that are left out one at a time,
which have a closed form: Allen, *The relationship between variable selection and data augmentation and a method for prediction* (Technometrics 16, 125
(1974)).
"""

import numpy as np
from numpy.typing import NDArray

from mlipq.training.models.layers import N_ELEMENTS

PENALTIES = 10.0 ** np.arange(-2, 4.1, 0.5)
"""Tried in turn; features count in units of their spread over the structures."""
_ALONE = 0.999
"""A structure that composition alone fits so nearly tells nothing when it is left out: no other has its element."""


def fit_readout(
    features: NDArray[np.float64], atomic_numbers: NDArray, offsets: NDArray, energies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit weights of each element, so that energies are the sum over atoms of weights · features, and of an energy of each element.

    Parameters
    ----------
    features
        ``(atoms, channels)``.
    atomic_numbers
        ``(atoms,)``.
    offsets
        ``(structures + 1,)``: where the atoms of each structure start.
    energies
        ``(structures,)`` eV; structures without one (NaN) are passed over.

    Returns
    -------
    NDArray[np.float64]
        ``(119, channels)`` eV by atomic number, penalised, which the energies of elements are not; 0 for an element that no structure with
        an energy has.
    """
    known = np.isfinite(energies)
    elements = np.unique(atomic_numbers[np.repeat(known, np.diff(offsets))])
    sums, counts = (
        _sums(values, atomic_numbers, offsets, elements)[known] for values in (features, np.ones((len(features), 1)))
    )
    found = np.zeros((N_ELEMENTS, features.shape[1]))
    found[elements] = _ridge(sums, counts, energies[known]).reshape(len(elements), -1)
    return found


def _sums(values: NDArray[np.float64], atomic_numbers: NDArray, offsets: NDArray, elements: NDArray) -> NDArray:
    """Return sums over the atoms of each structure and element, ``(structures, elements · columns)``."""
    sums = np.zeros((len(offsets) - 1, len(elements), values.shape[1]))
    rows = np.repeat(np.arange(len(sums)), np.diff(offsets))
    for place, element in enumerate(elements):
        own = atomic_numbers == element
        np.add.at(sums[:, place], rows[own], values[own])
    return sums.reshape(len(sums), -1)


def _ridge(features: NDArray, free: NDArray, energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of features; those of the free columns are not penalised."""
    spread = features.std(axis=0)
    spread[spread <= 1e-9 * spread.max(initial=0.0)] = np.inf  # those that do not differ have no weight
    basis, sizes, _ = np.linalg.svd(free, full_matrices=False)
    basis = basis[:, sizes > 1e-10 * sizes.max(initial=0)]
    left = energies - basis @ (basis.T @ energies)
    scaled = features / spread
    u, s, axes = np.linalg.svd(scaled - basis @ (basis.T @ scaled), full_matrices=False)
    composition = (basis**2).sum(axis=1)  # share of the energy of each structure that it decides by itself
    told = composition < _ALONE

    def error_left_out(penalty: float) -> float:
        kept = s**2 / (s**2 + penalty)
        residuals = left - u @ (kept * (u.T @ left))
        return float(np.abs(residuals[told] / (1 - composition - u**2 @ kept)[told]).mean())

    penalty = min(PENALTIES, key=error_left_out) if told.any() else PENALTIES[-1]
    return np.asarray(axes.T @ (s / (s**2 + penalty) * (u.T @ left)) / spread)
