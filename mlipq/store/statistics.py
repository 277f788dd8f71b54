"""Statistics of a dataset, one shard at a time: moments of each array, atomic reference energies, energy outliers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.schema import ArraySpec
from mlipq.store.labels import is_energy
from mlipq.store.manifest import ArrayStatistics, Outlier, ReferenceEnergies
from mlipq.store.table import Table
from mlipq.structures.structure import identity_hex

OUTLIER_Z = 30.0
"""Robust z-score of the energy per atom after the composition fit, beyond which a structure is listed: single atoms and ions
reach 10 to 30 in mixed datasets, a spurious SCF solution hundreds."""
OUTLIERS_LISTED = 100

_N_ELEMENTS = len(chemical_symbols)


@dataclass
class Moments:
    """Count, mean, spread and range of finite values, accumulated without keeping them (Chan's parallel update)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf

    def add(self, values: NDArray) -> None:
        """Take in more values."""
        values = np.asarray(values, dtype=np.float64).ravel()
        values = values[np.isfinite(values)]
        if not len(values):
            return
        mean = float(values.mean())
        squares = float(((values - mean) ** 2).sum())
        total = self.count + len(values)
        self.squares += squares + (mean - self.mean) ** 2 * self.count * len(values) / total
        self.mean += (mean - self.mean) * len(values) / total
        self.count = total
        self.minimum, self.maximum = min(self.minimum, float(values.min())), max(self.maximum, float(values.max()))

    def result(self) -> ArrayStatistics:
        """The statistics so far; at least one value must have come."""
        std = float(np.sqrt(self.squares / self.count))
        return ArrayStatistics(count=self.count, mean=self.mean, std=std, minimum=self.minimum, maximum=self.maximum)


@dataclass
class CompositionFit:
    """Least squares of energies on element counts: E ≈ Σ n(Z)·e(Z), by its normal equations."""

    normal: NDArray[np.float64] = field(default_factory=lambda: np.zeros((_N_ELEMENTS, _N_ELEMENTS)))
    right: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_N_ELEMENTS))

    def add(self, compositions: NDArray, energies: NDArray) -> None:
        """Take in more structures; those without an energy (NaN) are passed over."""
        known = np.isfinite(energies)
        self.normal += compositions[known].T @ compositions[known]
        self.right += compositions[known].T @ energies[known]

    def energies(self) -> NDArray[np.float64]:
        """Energy of one atom of each element in eV, by atomic number; zero where the element does not occur.

        Where the structures do not determine them one by one (C and H only ever as CH4), the solution of least norm.
        """
        return np.asarray(np.linalg.lstsq(self.normal, self.right, rcond=1e-12)[0])


def compositions_of(table: Table) -> NDArray[np.float64]:
    """Count the atoms of each element in each structure: ``(structures, elements)``."""
    counts = np.zeros((len(table), _N_ELEMENTS))
    rows = np.repeat(np.arange(len(table)), np.diff(table.arrays["atom_offsets"]))
    np.add.at(counts, (rows, table.arrays["atomic_numbers"]), 1)
    return counts


@dataclass(frozen=True)
class Summary:
    """What :func:`summarise` finds."""

    statistics: dict[str, ArrayStatistics]
    reference_energies: dict[str, ReferenceEnergies]
    outliers: list[Outlier]


def summarise(tables: Callable[[], Iterable[Table]]) -> Summary:
    """Go through a dataset twice and describe it.

    Parameters
    ----------
    tables
        Gives an iterator over the dataset's tables, each time it is called.

    Returns
    -------
    Summary
        Statistics of every float array; for each total energy its fitted atomic energies and its outliers.
    """
    moments: dict[str, Moments] = {}
    fits: dict[str, CompositionFit] = {}
    for table in tables():
        compositions = compositions_of(table)
        for name, spec in table.specs.items():
            if _is_number(spec):
                moments.setdefault(name, Moments()).add(table.arrays[name])
            if is_energy(spec):
                fits.setdefault(name, CompositionFit()).add(compositions, table.arrays[name])
    fitted = {name: fit.energies() for name, fit in fits.items()}
    return Summary(
        statistics={name: found.result() for name, found in moments.items() if found.count},
        reference_energies={
            name: ReferenceEnergies(
                fitted={chemical_symbols[z]: float(e[z]) for z in np.flatnonzero(fits[name].normal.diagonal())}
            )
            for name, e in fitted.items()
        },
        outliers=[outlier for name, e in fitted.items() for outlier in _outliers(name, e, tables())],
    )


def _outliers(name: str, atomic_energies: NDArray, tables: Iterable[Table]) -> Iterator[Outlier]:
    residuals, identities = [], []
    for table in tables:
        if name in table.arrays:
            residual = table.arrays[name] - compositions_of(table) @ atomic_energies
            residuals.append(residual / np.maximum(np.diff(table.arrays["atom_offsets"]), 1))
            identities.append(table.arrays["identity"])
    per_atom = np.concatenate([np.zeros(0), *residuals])
    words = np.concatenate([np.zeros((0, 2), dtype="u8"), *identities])
    known = np.isfinite(per_atom)
    if not known.any():
        return
    centre = np.median(per_atom[known])
    spread = 1.4826 * np.median(np.abs(per_atom[known] - centre))
    scores = np.nan_to_num((per_atom - centre) / spread) if spread > 0 else np.zeros(len(per_atom))
    worst = np.argsort(-np.abs(scores), kind="stable")[:OUTLIERS_LISTED]
    for row in worst[np.abs(scores[worst]) > OUTLIER_Z]:
        yield Outlier(identity=identity_hex(words[row]), array=name, z_score=round(float(scores[row]), 2))


def _is_number(spec: ArraySpec) -> bool:
    return spec.dtype.startswith("f") and spec.name not in ("positions", "cell")
