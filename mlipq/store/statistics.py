"""Statistics of a dataset, one shard at a time: moments of each array, atomic reference energies, energy outliers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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

BLOCK_VALUES = 65_536

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
    """Least squares of energies on element counts: E ≈ Σ n(Z)·e(Z), by its normal equations."""

    normal: NDArray[np.float64] = field(default_factory=lambda: np.zeros((_N_ELEMENTS, _N_ELEMENTS)))
    right: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_N_ELEMENTS))
    structures: int = 0

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
    cells = rows * _N_ELEMENTS + table.arrays["atomic_numbers"]
    counts = np.bincount(cells, weights=np.ones(len(cells)), minlength=len(table) * _N_ELEMENTS)
    return np.asarray(counts, dtype=np.float64).reshape(len(table), _N_ELEMENTS)


@dataclass(frozen=True)
class Summary:
    """What :func:`summarise` finds."""

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
    moments: dict[str, Moments] = {}
    fits: dict[str, CompositionFit] = {}
    isolated: dict[str, dict[str, float]] = {}
    for table in tables:
        compositions = compositions_of(table)
        for name, spec in table.specs.items():
            if _is_number(spec):
                moments.setdefault(name, Moments()).add(table.arrays[name])
            if is_energy(spec):
                fits.setdefault(name, CompositionFit()).add(compositions, table.arrays[name])
                _add_isolated(isolated.setdefault(name, {}), table, name)
    solved = {name: fit.solve() for name, fit in fits.items()}
    fitted = {name: energies for name, (energies, _) in solved.items()}
    residuals = {name: _Residuals(energies) for name, energies in fitted.items()}
    for table in again(("atom_offsets", "atomic_numbers", "identity", *fitted)) if fitted else ():
        compositions = compositions_of(table)
        for name in residuals.keys() & table.arrays.keys():
            residuals[name].add(table.arrays[name], compositions, table.arrays["identity"])
    return Summary(
        statistics={name: found.result() for name, found in moments.items() if found.count},
        reference_energies={
            name: ReferenceEnergies(
                fitted={chemical_symbols[z]: float(e[z]) for z in np.flatnonzero(fits[name].normal.diagonal())},
                structures=fits[name].structures,
                rank=rank,
                isolated=dict(sorted(isolated[name].items())),
            )
            for name, (e, rank) in solved.items()
        },
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
    return spec.dtype.startswith("f") and spec.name not in ("positions", "cell")
