"""Arrays that the suite makes itself: what Δ-learning learns, and charges without their meaning as controls."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.modes import CONTROLS, DELTA
from mlipq.schema import ArraySpec, gfn1_shells
from mlipq.store import Table

ENERGY = "gfn1/energy"
CHARGES = "gfn1/orbital_charges"
MADE_FROM = {DELTA: ENERGY, **dict.fromkeys(CONTROLS.values(), CHARGES)}
"""The arrays that are made here, and what a dataset must have for it."""
SEED = 0
"""Of the controls: one array each, the same for all runs."""

CONTROL_SPECS = {
    CONTROLS[name]: ArraySpec(CONTROLS[name], "atom", (3,), "f4", "e", description)
    for name, description in (
        ("shuffled", f"{CHARGES} of another atom of the same element, by chance: a control"),
        ("gaussian", f"Random charges, by element with the mean and covariance of {CHARGES}: a control"),
    )
}

_METHOD = "GFN1-xTB"


def with_delta(tables: Iterable[Table], target: ArraySpec) -> Iterator[Table]:
    """Add to tables what Δ-learning learns: an energy less that of GFN1-xTB, NaN where either is missing.

    Ramakrishnan, Dral, Rupp, von Lilienfeld, JCTC 11, 2087 (2015), eq. 1.

    Parameters
    ----------
    tables
        With the target and ``gfn1/energy``.
    target
        The energy that is to be predicted, in eV.
    """
    spec = delta_spec(target)
    for table in tables:
        table.specs[DELTA] = spec
        table.arrays[DELTA] = table.arrays[target.name].astype(np.float64) - table.arrays[ENERGY]
        yield table


def delta_spec(target: ArraySpec) -> ArraySpec:
    """Return what the array is that Δ-learning on an energy learns."""
    level = f"{target.level_of_theory or target.name} minus {_METHOD}"
    return ArraySpec(DELTA, "structure", (), "f8", "eV", f"{target.name} minus {ENERGY}", "energy", level)


def shuffled(charges: NDArray, numbers: NDArray, seed: int = SEED) -> NDArray[np.float32]:
    """Exchange the charges of atoms among all atoms of the same element.

    Each atom gets those of one atom, all shells together, so what an element's charges are like stays as it is; what they say of the
    structure is gone.

    Parameters
    ----------
    charges
        ``(atoms, 3)`` of s, p and d, in e.
    numbers
        ``(atoms,)`` atomic numbers.
    seed
        Another one gives another exchange.
    """
    return _by_element(charges, numbers, seed, lambda own, rng: rng.permutation(own))


def gaussian(charges: NDArray, numbers: NDArray, seed: int = SEED) -> NDArray[np.float32]:
    """Draw charges from the normal distribution that has, element by element, the mean and covariance of these.

    Parameters and result as for :func:`shuffled`. The root of the covariance is the symmetric one, which no library chooses the sign
    of.
    """
    return _by_element(charges, numbers, seed, _normal)


def with_controls(tables: Iterable[Table], atoms: Table) -> Iterator[Table]:
    """Add the controls to tables.

    Parameters
    ----------
    tables
        Structures, a part at a time.
    atoms
        The same structures in the same order, all together, with ``atomic_numbers`` and the charges: what is exchanged, and what the
        moments are of.
    """
    charges, numbers = atoms.arrays[CHARGES], atoms.arrays["atomic_numbers"]
    made = {CONTROLS[name]: make(charges, numbers) for name, make in (("shuffled", shuffled), ("gaussian", gaussian))}
    start = 0
    for table in tables:
        stop = start + table.n_atoms
        for name, values in made.items():
            table.specs[name], table.arrays[name] = CONTROL_SPECS[name], values[start:stop]
        start = stop
        yield table


def _normal(own: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    deviations = own - own.mean(axis=0)
    values, vectors = np.linalg.eigh(deviations.T @ deviations / len(own))
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    drawn: NDArray[np.float64] = own.mean(axis=0) + rng.standard_normal(own.shape) @ root
    return drawn


def _by_element(
    charges: NDArray,
    numbers: NDArray,
    seed: int,
    replace: Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]],
) -> NDArray[np.float32]:
    """Replace the charges of each element's shells; shells that it lacks stay 0."""
    out = charges.astype(np.float32)
    for z in np.unique(numbers).tolist():
        atoms = np.flatnonzero(numbers == z)
        shells = len(gfn1_shells(z))  # "s", "sp" or "spd": the first columns
        rng = np.random.default_rng([seed, z])
        out[atoms, :shells] = replace(charges[atoms, :shells].astype(np.float64), rng)
    return out
