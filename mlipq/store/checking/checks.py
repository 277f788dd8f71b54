"""Do the labels of a shard add up, and is a dataset what its manifest says of it?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isclose

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import MlipqError
from mlipq.schema import PARTIAL_ARRAYS
from mlipq.store.elements import element_bits
from mlipq.store.manifest import ArrayStatistics, Manifest, ReferenceEnergies, ShardEntry, Split
from mlipq.store.splits import digests_of, read_split
from mlipq.store.statistics import Description
from mlipq.store.table import Table
from mlipq.store.tally import Tally
from mlipq.structures.structure import identity, identity_hex, identity_words

CHARGE_SUM = 1e-5
"""e: Σ of stored (float32) orbital charges against the total charge."""

MEAN = 1e-9
"""Of the largest value: means and spreads depend, this far down, on the order in which structures were added."""
FITTED = 1e-4
"""eV: atomic energies from a fit on another machine."""


def table_against_entry(table: Table, entry: ShardEntry) -> Iterator[str]:
    """Yield where a shard is not what the manifest says of it."""
    tally = Tally()
    tally.add(entry.file, entry.bytes, entry.sha256, table)
    (found,) = tally.entries
    yield from _differences(
        {"structures": found.n_structures, "atoms": found.n_atoms, "elements": " ".join(found.elements)},
        {"structures": entry.n_structures, "atoms": entry.n_atoms, "elements": " ".join(entry.elements)},
    )


def label_problems(table: Table) -> Iterator[str]:
    """Yield where identities, elements and orbital charges are not those of the structures; a structure may lack the latter."""
    arrays = table.arrays
    for row in range(len(table)):
        atoms = table.atoms_of(row)
        cell, pbc = (arrays[name][row] if name in arrays else None for name in ("cell", "pbc"))
        charge, multiplicity = int(arrays["charge"][row]), int(arrays["multiplicity"][row])
        digest = identity(arrays["atomic_numbers"][atoms], arrays["positions"][atoms], charge, multiplicity, cell, pbc)
        if not np.array_equal(identity_words(digest), arrays["identity"][row]):
            yield f"structure {row}: its identity {identity_hex(arrays['identity'][row])} is not that of its atoms"
    wrong = element_bits(arrays["atomic_numbers"], arrays["atom_offsets"]) != arrays["elements"]
    for row in np.flatnonzero(wrong.any(axis=1)).tolist():
        yield f"structure {row}: elements are not those of its atoms"
    if len(table):
        yield from _charge_problems(table)


def _charge_problems(table: Table) -> Iterator[str]:
    charges = table.arrays["charge"]
    for name in (name for name in table.arrays if name.endswith("/orbital_charges")):
        atoms = table.arrays[name].astype("f8").reshape(table.n_atoms, -1).sum(axis=1)
        totals = np.add.reduceat(atoms, table.arrays["atom_offsets"][:-1])
        known = ~np.isnan(totals) if name in PARTIAL_ARRAYS else np.ones(len(table), dtype=bool)
        for row in np.flatnonzero(known & ~(np.abs(totals - charges) <= CHARGE_SUM)).tolist():
            yield f"structure {row}: {name} add up to {totals[row]:.6f} e, the charge is {charges[row]}"


@dataclass
class Whole:
    """All shards of a dataset, one after the other, to be compared with what its manifest says of them together."""

    tally: Tally = field(default_factory=Tally)
    description: Description = field(default_factory=Description)
    identities: list[NDArray[np.uint64]] = field(default_factory=list)

    def add(self, entry: ShardEntry, table: Table) -> None:
        """Take in one shard."""
        self.tally.add(entry.file, entry.bytes, entry.sha256, table)
        self.description.add(table)
        self.identities.append(table.arrays["identity"])

    def problems(self, manifest: Manifest, read_file: Callable[[str], bytes]) -> Iterator[str]:
        """Yield where the manifest, or a split, is not that of the shards.

        Parameters
        ----------
        read_file
            Returns the file of a split.
        """
        arrays = {spec.name: spec for spec in manifest.arrays}
        if manifest.n_structures or arrays:  # where every structure was refused, it may list no arrays
            yield from _differences({spec.name: spec for spec in self.tally.arrays()}, arrays, "array ")
        yield from _differences(dict(self.tally.flags), manifest.quality, "quality ")
        yield from _differences(dict(self.tally.attempts), manifest.scf_attempts, "scf_attempts ")
        yield from _statistics_problems(self.description.statistics(), manifest.statistics)
        yield from _energy_problems(self.description.reference_energies(), manifest.reference_energies)
        known = np.unique(digests_of(np.concatenate([np.empty((0, 2), dtype=np.uint64), *self.identities])))
        if len(known) < manifest.n_structures:
            yield f"{manifest.n_structures - len(known)} structures are in it twice, by their identities"
        met = np.isin(np.array([bytes.fromhex(found.identity) for found in manifest.outliers], dtype="S16"), known)
        for outlier, is_met in zip(manifest.outliers, met, strict=True):
            if not is_met or outlier.array not in arrays:
                yield f"outlier {outlier.identity} of {outlier.array} is not in the shards"
        for name, split in manifest.splits.items():
            yield from _split_problems(name, read_file, split, known)


def _split_problems(
    name: str, read_file: Callable[[str], bytes], split: Split, known: NDArray[np.bytes_]
) -> Iterator[str]:
    try:
        parts = read_split(read_file(split.file), split)
    except MlipqError as error:
        yield str(error)
        return
    strangers = np.flatnonzero(~np.isin(digests_of(parts.identities), known))
    if len(strangers):
        first = identity_hex(parts.identities[strangers[0]])
        yield f"split {name}: {len(strangers)} structures are in no shard, {first} first"


def _differences(found: Mapping[str, object], said: Mapping[str, object], what: str = "") -> Iterator[str]:
    for name in sorted(found.keys() | said.keys()):
        if found.get(name) != said.get(name):
            yield f"{what}{name}: the shards have {found.get(name, 'none')}, the manifest says {said.get(name, 'none')}"


def _statistics_problems(found: dict[str, ArrayStatistics], said: dict[str, ArrayStatistics]) -> Iterator[str]:
    close = {name: said[name] for name in found.keys() & said.keys() if _equal_statistics(found[name], said[name])}
    yield from _differences({**found, **close}, said, "statistics of ")


def _equal_statistics(one: ArrayStatistics, other: ArrayStatistics) -> bool:
    exact = all(getattr(one, name) == getattr(other, name) for name in ("count", "minimum", "maximum"))
    scale = max(abs(one.minimum), abs(one.maximum))
    return exact and all(
        isclose(getattr(one, name), getattr(other, name), rel_tol=0, abs_tol=MEAN * scale) for name in ("mean", "std")
    )


def _energy_problems(found: dict[str, ReferenceEnergies], said: dict[str, ReferenceEnergies]) -> Iterator[str]:
    close = {name: said[name] for name in found.keys() & said.keys() if _equal_energies(found[name], said[name])}
    yield from _differences({**found, **close}, said, "reference energies of ")


def _equal_energies(one: ReferenceEnergies, other: ReferenceEnergies) -> bool:
    exact = all(getattr(one, name) == getattr(other, name) for name in ("structures", "rank", "isolated"))
    return (
        exact
        and one.fitted.keys() == other.fitted.keys()
        and all(
            isclose(energy, other.fitted[symbol], rel_tol=0, abs_tol=FITTED) for symbol, energy in one.fitted.items()
        )
    )
