"""Energies of elements, of which an energy is taken to be the sum before anything is learned; in float64 throughout."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from ase.data import atomic_numbers as number_of
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.errors import InputError

N_ELEMENTS = len(chemical_symbols)
BLOCK = 20_000
"""Structures whose compositions are in memory at a time."""


@dataclass(frozen=True, eq=False)
class References:
    """Energies of elements, and how well they are known.

    Attributes
    ----------
    values
        ``(119,)`` float64, eV by atomic number; NaN for an element that no structure with an energy has.
    elements
        Atomic numbers of those that have one.
    rank
        Of the compositions: below ``len(elements)`` some energies are known in sums alone. Given energies have full rank.
    undetermined
        Atomic numbers of elements whose energy is not determined by itself; theirs are of the solution of least norm.
    structures
        How many had an energy.
    residual
        Root mean square of what the references leave of the energies, in eV.
    """

    values: NDArray[np.float64]
    elements: tuple[int, ...]
    rank: int
    undetermined: tuple[int, ...]
    structures: int
    residual: float

    def energies(self, atomic_numbers: NDArray, offsets: NDArray) -> NDArray[np.float64]:
        """Return the sum over the atoms of each structure, ``(structures,)`` in eV; NaN where an element has none."""
        return sum_structures(self.values[atomic_numbers], offsets)

    def by_symbol(self) -> dict[str, float]:
        """Return the energies by symbol."""
        return {chemical_symbols[z]: float(self.values[z]) for z in self.elements}


def fit_references(atomic_numbers: NDArray, offsets: NDArray, energies: NDArray) -> References:
    """Fit energies of elements by least squares: E ≈ Σ n(Z)·e(Z), of least norm where that leaves a choice.

    Parameters
    ----------
    atomic_numbers
        ``(atoms,)``.
    offsets
        ``(structures + 1,)``: where the atoms of each structure start.
    energies
        ``(structures,)`` eV; structures without one (NaN) are passed over.

    Examples
    --------
    >>> found = fit_references(np.array([1, 1, 1, 8, 1]), np.array([0, 2, 5]), np.array([-2.0, -12.0]))
    >>> found.by_symbol(), found.rank
    ({'H': -1.0, 'O': -10.0}, 2)
    """
    known = np.isfinite(energies)
    elements = np.unique(atomic_numbers[np.repeat(known, np.diff(offsets))])
    # the triangle of the QR decomposition stands for all rows: neither their number nor squares of them are kept
    triangle: NDArray[np.float64] = np.zeros((0, len(elements) + 1))
    for counts, rows in _compositions(atomic_numbers, offsets, elements):
        block = np.column_stack([counts, energies[rows]])[known[rows]]
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, block]), mode="r"))
    u, sizes, axes = np.linalg.svd(triangle[:, :-1], full_matrices=True)
    limit = max(known.sum(), len(elements)) * np.finfo(np.float64).eps
    rank = int((sizes > limit * sizes.max(initial=0)).sum())
    values = np.full(N_ELEMENTS, np.nan)
    values[elements] = axes[:rank].T @ ((u[:, :rank].T @ triangle[:, -1]) / sizes[:rank])
    free = np.linalg.norm(axes[rank:], axis=0) > 1e-6
    return _known(values, elements, rank, elements[free], atomic_numbers, offsets, energies)


def given_references(
    given: Mapping[str, float], atomic_numbers: NDArray, offsets: NDArray, energies: NDArray, task: str
) -> References:
    """Return energies of elements that are given in eV by symbol; other arguments as for :func:`fit_references`.

    Raises
    ------
    InputError
        If a symbol is no element, or an element of the structures is not given.
    """
    odd = [symbol for symbol in given if symbol not in number_of]
    if odd:
        raise InputError(f"task {task}: references should be by symbol of an element, such as C, got {', '.join(odd)}")
    known = np.repeat(np.isfinite(energies), np.diff(offsets))
    elements = np.unique(atomic_numbers[known])
    lacking = [chemical_symbols[z] for z in elements if chemical_symbols[z] not in given]
    if lacking:
        raise InputError(
            f"task {task}: the training structures have {', '.join(lacking)}, whose energies are not among the references "
            f"({', '.join(given) or 'none'}); add them, or use references: fit"
        )
    values = np.full(N_ELEMENTS, np.nan)
    for z in elements:
        values[z] = given[chemical_symbols[z]]
    return _known(values, elements, len(elements), elements[:0], atomic_numbers, offsets, energies)


def sum_structures(atoms: NDArray, offsets: NDArray) -> NDArray[np.float64]:
    """Return sums of ``(atoms,)`` numbers over the atoms of each structure, in float64."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return cast(NDArray[np.float64], np.bincount(rows, weights=atoms, minlength=len(offsets) - 1))


def _known(
    values: NDArray[np.float64],
    elements: NDArray,
    rank: int,
    undetermined: NDArray,
    atomic_numbers: NDArray,
    offsets: NDArray,
    energies: NDArray,
) -> References:
    known = np.isfinite(energies)
    left = (energies - sum_structures(values[atomic_numbers], offsets))[known]
    return References(
        values=values,
        elements=tuple(elements.tolist()),
        rank=rank,
        undetermined=tuple(undetermined.tolist()),
        structures=int(known.sum()),
        residual=float(np.sqrt(np.mean(left**2))) if len(left) else 0.0,
    )


def _compositions(
    atomic_numbers: NDArray, offsets: NDArray, elements: NDArray
) -> Iterator[tuple[NDArray[np.float64], slice]]:
    """Yield the atoms of each of the elements, ``(structures, elements)``, of some structures at a time, and which."""
    column = np.zeros(N_ELEMENTS, dtype=np.int64)
    column[elements] = np.arange(len(elements))
    wanted = np.isin(np.arange(N_ELEMENTS), elements)
    for start in range(0, len(offsets) - 1, BLOCK):
        rows = slice(start, min(start + BLOCK, len(offsets) - 1))
        ends = offsets[rows.start : rows.stop + 1]
        numbers = atomic_numbers[ends[0] : ends[-1]]
        cells = np.repeat(np.arange(len(ends) - 1), np.diff(ends)) * len(elements) + column[numbers]
        counts = np.bincount(cells[wanted[numbers]], minlength=(len(ends) - 1) * len(elements))
        yield counts.reshape(len(ends) - 1, len(elements)).astype(np.float64), rows
