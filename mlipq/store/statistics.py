"""Statistics of a dataset, one shard at a time: moments of each array, atomic reference energies, energy outliers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.schema import KNOWN_ARRAYS, ArraySpec
from mlipq.store.columns import join_specs
from mlipq.store.labels import is_energy
from mlipq.store.manifest import ArrayStatistics, Outlier, ReferenceEnergies
from mlipq.store.table import Table
from mlipq.structures.structure import identity_hex

OUTLIER_Z = 30.0
"""Robust z-score of the energy per atom after the composition fit, beyond which a structure is listed: single atoms and ions
reach 10 to 30 in mixed datasets, a spurious SCF solution hundreds."""
OUTLIERS_LISTED = 100

FITTED_DECIMALS = 6
"""Of fitted energies in eV: with another BLAS the ninth decimal differs (44 elements, 2,000 structures), and manifests of equal
labels shall be equal everywhere."""

BLOCK_VALUES = 65_536

N_ELEMENTS = len(chemical_symbols)


@dataclass
class Moments:
    """Count, mean, spread and range of finite values, accumulated without keeping them (Chan's parallel update)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf

    def add(self, values: NDArray) -> None:
        """Take in more values, a block at a time: what is computed on the way takes more memory than they do."""
        values = values.ravel()
        for start in range(0, len(values), BLOCK_VALUES):
            self._add_block(values[start : start + BLOCK_VALUES].astype(np.float64))

    def _add_block(self, values: NDArray[np.float64]) -> None:
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
    """Least squares of energies on element counts: E ≈ Σ n(Z)·e(Z), by its normal equations; more terms may follow these."""

    terms: int = N_ELEMENTS
    structures: int = 0

    def __post_init__(self) -> None:
        self.normal: NDArray[np.float64] = np.zeros((self.terms, self.terms))
        self.right: NDArray[np.float64] = np.zeros(self.terms)

    def add(self, compositions: NDArray, energies: NDArray) -> None:
        """Take in more structures; those without an energy (NaN) are passed over."""
        known = np.isfinite(energies)
        self.normal += compositions[known].T @ compositions[known]
        self.right += compositions[known].T @ energies[known]
        self.structures += int(known.sum())

    def solve(self) -> tuple[NDArray[np.float64], int]:
        """Energy of one atom of each element in eV, by atomic number, and the rank of the fit.

        Zero where the element does not occur; where the structures do not determine them one by one (C and H only ever as
        CH4), the solution of least norm.
        """
        energies, _, rank, _ = np.linalg.lstsq(self.normal, self.right, rcond=1e-12)
        return np.asarray(energies), int(rank)


def compositions_of(table: Table) -> NDArray[np.float64]:
    """Count the atoms of each element in each structure: ``(structures, elements)``."""
    rows = np.repeat(np.arange(len(table)), np.diff(table.arrays["atom_offsets"]))
    cells = rows * N_ELEMENTS + table.arrays["atomic_numbers"]
    counts = np.bincount(cells, weights=np.ones(len(cells)), minlength=len(table) * N_ELEMENTS)
    return np.asarray(counts, dtype=np.float64).reshape(len(table), N_ELEMENTS)


@dataclass
class Description:
    """What one reading of a dataset's tables tells: statistics of its numbers, and the fit of every total energy.

    It is the same however the structures are cut into shards.
    """

    specs: dict[str, ArraySpec] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    fits: dict[str, CompositionFit] = field(default_factory=dict)
    isolated: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, table: Table) -> None:
        """Take in one table."""
        if not len(table):
            return
        self.specs = join_specs([self.specs, table.specs] if self.specs else [table.specs])
        compositions = compositions_of(table)
        for name, spec in table.specs.items():
            if _is_number(spec):
                self.moments.setdefault(name, Moments()).add(table.arrays[name])
            if is_energy(spec):
                self.fits.setdefault(name, CompositionFit()).add(compositions, table.arrays[name])
                _add_isolated(self.isolated.setdefault(name, {}), table, name)

    def statistics(self) -> dict[str, ArrayStatistics]:
        """Of the arrays of numbers that have finite values; what is text in any shard is text in all."""
        numbers = {name: found for name, found in self.moments.items() if self.specs[name].dtype != "str"}
        return {name: found.result() for name, found in numbers.items() if found.count}

    def reference_energies(self) -> dict[str, ReferenceEnergies]:
        """Energies of single atoms, by energy array."""
        return {name: self._energies(name, *fit.solve()) for name, fit in self.fits.items()}

    def _energies(self, name: str, energies: NDArray[np.float64], rank: int) -> ReferenceEnergies:
        present = np.flatnonzero(self.fits[name].normal.diagonal())
        return ReferenceEnergies(
            fitted={chemical_symbols[z]: round(float(energies[z]), FITTED_DECIMALS) for z in present},
            structures=self.fits[name].structures,
            rank=rank,
            isolated=dict(sorted(self.isolated[name].items())),
        )


@dataclass(frozen=True)
class Summary:
    """What :func:`summarise` finds; its fields are those of a manifest."""

    statistics: dict[str, ArrayStatistics]
    reference_energies: dict[str, ReferenceEnergies]
    outliers: list[Outlier]


def summarise(tables: Iterable[Table], again: Callable[[Sequence[str]], Iterable[Table]]) -> Summary:
    """Describe a dataset: all of it is read once, its energies twice.

    Parameters
    ----------
    tables
        The dataset's tables.
    again
        Called with names of arrays; gives the tables once more, with at least those of these arrays that each has.

    Returns
    -------
    Summary
        Statistics of every float array; for each total energy its fitted atomic energies and its outliers.
    """
    description = Description()
    for table in tables:
        description.add(table)
    residuals = {name: _Residuals(fit.solve()[0]) for name, fit in description.fits.items()}
    for table in again(("atom_offsets", "atomic_numbers", "identity", *residuals)) if residuals else ():
        compositions = compositions_of(table)
        for name in residuals.keys() & table.arrays.keys():
            residuals[name].add(table.arrays[name], compositions, table.arrays["identity"])
    return Summary(
        statistics=description.statistics(),
        reference_energies=description.reference_energies(),
        outliers=[outlier for name, found in residuals.items() for outlier in found.outliers(name)],
    )


def _add_isolated(isolated: dict[str, float], table: Table, name: str) -> None:
    """Note the energies of neutral single atoms, of each element the lowest."""
    offsets, energies = table.arrays["atom_offsets"], table.arrays[name]
    for row in np.flatnonzero((np.diff(offsets) == 1) & (table.arrays["charge"] == 0) & np.isfinite(energies)):
        symbol = chemical_symbols[table.arrays["atomic_numbers"][offsets[row]]]
        isolated[symbol] = min(float(energies[row]), isolated.get(symbol, np.inf))


@dataclass
class _Residuals:
    """What the composition fit leaves of each structure's energy, per atom: 24 bytes a structure are kept."""

    atomic_energies: NDArray[np.float64]
    per_atom: list[NDArray[np.float64]] = field(default_factory=list)
    identities: list[NDArray[np.uint64]] = field(default_factory=list)

    def add(self, energies: NDArray, compositions: NDArray, identities: NDArray) -> None:
        """Take in more structures."""
        residuals = energies - compositions @ self.atomic_energies
        self.per_atom.append(residuals / np.maximum(compositions.sum(axis=1), 1))
        self.identities.append(identities)

    def outliers(self, name: str) -> Iterator[Outlier]:
        """The structures furthest off, by the robust z-score."""
        per_atom = np.concatenate(self.per_atom)
        words = np.concatenate(self.identities)
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
    """True for the labels, and for whatever else the input carried as numbers: there, a shard's integers are another's floats."""
    if spec.name in KNOWN_ARRAYS:
        return spec.dtype.startswith("f") and spec.name not in ("positions", "cell")
    return spec.dtype != "str"
