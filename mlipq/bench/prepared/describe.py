"""What a report needs to know of the test structures beside their errors."""

import numpy as np
from ase.symbols import Symbols
from numpy.typing import NDArray
from scipy.spatial import KDTree

from mlipq.bench.results import Structures
from mlipq.store import Dataset, Table
from mlipq.store.elements import symbols_of
from mlipq.store.statistics import compositions_of
from mlipq.structures.structure import identity_hex

XTB_CHARGES, DFT_CHARGES = "gfn1/atomic_charges", "pbe/atomic_charges"

_ARRAYS = ("atomic_numbers", "charge", "elements", "group", "identity", "name")


def describe(test: Dataset) -> Structures:
    """Describe the test structures, in the order of the dataset."""
    known = [name for name in (XTB_CHARGES, DFT_CHARGES) if name in test.specs]
    table = test.take(slice(None), [*_ARRAYS, *known])
    arrays, rows = table.arrays, range(len(table))
    return Structures(
        identities=[identity_hex(words) for words in arrays["identity"]],
        name=[str(name) for name in arrays["name"]],
        n_atoms=np.diff(arrays["atom_offsets"]).tolist(),
        formula=[Symbols(arrays["atomic_numbers"][table.atoms_of(row)]).get_chemical_formula("hill") for row in rows],
        elements=[symbols_of(words) for words in arrays["elements"]],
        charge=arrays["charge"].tolist(),
        group=[str(group) for group in arrays["group"]],
        charge_deviation=charge_deviations(table),
    )


def charge_deviations(table: Table) -> list[float | None]:
    """Return how far GFN1's charges are from DFT's: the mean of |q(GFN1) − q(DFT)| over the atoms of each structure.

    Mulliken charges both, in e; ``None`` where the dataset, or an atom of the structure, lacks either.
    """
    if not {XTB_CHARGES, DFT_CHARGES} <= table.arrays.keys():
        return [None] * len(table)
    deviations = np.abs(table.arrays[XTB_CHARGES].astype(np.float64) - table.arrays[DFT_CHARGES])
    means = [float(deviations[table.atoms_of(row)].mean()) for row in range(len(table))]
    return [round(mean, 6) if np.isfinite(mean) else None for mean in means]


def composition_distances(test: Dataset, training: Dataset) -> NDArray[np.int64]:
    """Return how far each test structure's composition is from the nearest among training structures.

    With n_Z(A) the number of atoms of element Z in A, the distance of A and B is Σ_Z |n_Z(A) − n_Z(B)|: how many atoms to add and to
    take away for the composition of one to be that of the other. Charge and geometry do not count.

    Parameters
    ----------
    test, training
        Datasets, or selections from such (:meth:`mlipq.store.Dataset.select`).

    Returns
    -------
    NDArray[np.int64]
        ``(structures of test,)``; 0 where a training structure has the same composition.
    """
    known = np.unique(_compositions(training), axis=0)
    distances, _ = KDTree(known).query(_compositions(test), p=1)
    rounded: NDArray[np.int64] = np.rint(distances).astype(np.int64)
    return rounded


def _compositions(dataset: Dataset) -> NDArray[np.float64]:
    return compositions_of(dataset.take(slice(None), ["atomic_numbers"]))
