"""Complexes of a dataset, each with metals of one element, and what is known of their metal atoms."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.latent.periodic import is_metal
from mlipq.errors import InputError
from mlipq.schema import MOMENT_SLICES
from mlipq.store import Dataset
from mlipq.training.models.batch import MODEL_INPUTS
from mlipq.training.models.moments import SHELL_MASK

MOMENTS = "gfn1/orbital_moments"
FULL_SHELL = 10.0
"""d electrons of zinc, cadmium and mercury, whose shell GFN1-xTB counts to the core."""
_BLOCK = 200
"""Structures at a time."""

Arrays = Mapping[str, NDArray]


@dataclass(frozen=True)
class Complexes:
    """Structures whose metals, of the d block, are all of one element.

    Attributes
    ----------
    dataset
        Where they are.
    rows
        Its rows.
    metals
        Atomic number of the metal of each.
    """

    dataset: Dataset
    rows: NDArray[np.int64]
    metals: NDArray[np.int64]

    def pooled(self, of_atoms: Callable[[Arrays], NDArray], arrays: Sequence[str] = ()) -> NDArray[np.float64]:
        """Return the mean over the metal atoms of each complex of something that every atom has.

        Parameters
        ----------
        of_atoms
            From arrays of some structures, as :meth:`mlipq.store.Dataset.batch` gives them, to ``(atoms, …)``.
        arrays
            What it reads beside the inputs of a model.
        """
        found = []
        for block in _blocks(self.dataset, self.rows, arrays):
            values = np.asarray(of_atoms(block), dtype=np.float64)
            metal = is_metal(block["atomic_numbers"])
            structures = _structures(block)[metal]
            sums = np.zeros((len(block["atom_offsets"]) - 1, *values.shape[1:]))
            np.add.at(sums, structures, values[metal])
            counts = np.bincount(structures, minlength=len(sums))
            found.append(sums / counts.reshape(-1, *[1] * (values.ndim - 1)))
        return np.concatenate(found)

    def d_electrons(self) -> NDArray[np.float64]:
        """Return the electrons in the d shell of the metal, by GFN1-xTB."""
        return self.pooled(_d_electrons, [MOMENTS])


def find_complexes(dataset: Dataset, elements: Collection[int]) -> Complexes:
    """Return the structures that have metals of exactly one element, and no element that is not among these.

    Raises
    ------
    InputError
        If they are of fewer than three metals, so that there is nothing to sort, or the dataset has no orbital moments.
    """
    if MOMENTS not in dataset.specs:
        raise InputError(f"the dataset of the metals has no {MOMENTS}; label it first:  mlipq label")
    kept, metals = [], []
    known = np.array(sorted(elements))
    for row, numbers in enumerate(_numbers(dataset)):
        found = np.unique(numbers[is_metal(numbers)])
        if len(found) == 1 and np.isin(numbers, known).all():
            kept.append(row)
            metals.append(int(found[0]))
    if len(set(metals)) < 3:
        raise InputError(
            f"expected complexes of three metals of the d block at least, found {len(set(metals))}: of {len(dataset):,} structures "
            f"{len(kept):,} have one metal and only elements that all encoders know; take another dataset or part for metals"
        )
    return Complexes(dataset, np.array(kept), np.array(metals))


def _numbers(dataset: Dataset) -> Iterator[NDArray[np.int64]]:
    for block in _blocks(dataset, np.arange(len(dataset))):
        yield from np.split(block["atomic_numbers"].astype(np.int64), block["atom_offsets"][1:-1])


def _blocks(dataset: Dataset, rows: NDArray[np.int64], arrays: Sequence[str] = ()) -> Iterator[Arrays]:
    periodic = [name for name in ("cell", "pbc") if name in dataset.specs]
    for start in range(0, len(rows), _BLOCK):
        yield dataset.batch(rows[start : start + _BLOCK], [*MODEL_INPUTS, *periodic, *arrays])


def _structures(arrays: Arrays) -> NDArray[np.int64]:
    offsets = arrays["atom_offsets"]
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _d_electrons(arrays: Arrays) -> NDArray[np.float64]:
    trace = arrays[MOMENTS][:, MOMENT_SLICES["d0"]][:, 0].astype(np.float64)
    has_shell = SHELL_MASK.numpy()[arrays["atomic_numbers"], 2] > 0
    return np.where(has_shell, np.sqrt(5.0) * trace, FULL_SHELL)  # a scalar of five equal diagonal elements, normalised
