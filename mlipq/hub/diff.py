"""What changed from one version of a dataset to another, and how large a step of the version that makes.

Structures are matched by identity, wherever they stand. Two labels are the same where they lie within the tolerances of
:mod:`mlipq.hub.tolerances`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.hub.refs import Version
from mlipq.hub.tolerances import TOLERANCES
from mlipq.schema import STRUCTURE_ARRAYS, ArraySpec
from mlipq.store import Dataset, Manifest, Table
from mlipq.structures.structure import identity_hex

EXAMPLES = 5
"""Identities shown of each kind of change."""
WORDS = ("description", "licence", "citation", "provenance")
"""Fields of the manifest that may change while structures and labels stay."""

_IMPLIED = {spec.name for spec in STRUCTURE_ARRAYS} - {"quality", "group", "name"}
"""Arrays that equal identities make equal, and those that say where a structure came from."""


class Step(IntEnum):
    """A step from one version to the next."""

    PATCH = 0
    """Nothing but words changed."""
    MINOR = 1
    """Structures, arrays or splits were added, and nothing else."""
    MAJOR = 2
    """Something was removed, relabelled or renamed."""

    @classmethod
    def between(cls, old: Version, new: Version) -> "Step":
        """Return the step that two version numbers promise."""
        if new.major != old.major:
            return cls.MAJOR
        return cls.PATCH if new.minor == old.minor else cls.MINOR


@dataclass
class Named:
    """Something with names that was added, removed or changed.

    Parameters
    ----------
    added, removed
        Names.
    changed
        Arrays of another type, unit or level of theory; splits where a structure went to another part.
    extended
        Splits where all structures kept their parts, and others were added.
    """

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)


@dataclass
class Relabelled:
    """How the values of one array changed, over structures that both versions have.

    Parameters
    ----------
    tolerance
        Up to which numbers are the same.
    structures
        How many have another value.
    largest
        Difference of numbers; of anything else 0.
    examples
        Identities of some.
    """

    tolerance: float
    structures: int = 0
    largest: float = 0.0
    examples: list[str] = field(default_factory=list)

    def add(self, gaps: NDArray[np.float64], identities: NDArray[np.uint64]) -> None:
        """Take in more structures, by how far their values lie apart."""
        beyond = np.flatnonzero(gaps > self.tolerance)
        self.structures += len(beyond)
        self.largest = max(self.largest, float(gaps[np.isfinite(gaps)].max(initial=0.0)))
        self.examples += _some(identities[beyond], EXAMPLES - len(self.examples))


@dataclass
class Difference:
    """What changed from an old version to a new one.

    Parameters
    ----------
    added, removed, kept
        Structures.
    examples_added, examples_removed
        Identities of some.
    labels
        Every array that both have, with how its values changed, or did not.
    arrays, splits
        By name.
    words
        Fields of the manifest that differ without a structure or a label being another one.
    """

    added: int = 0
    removed: int = 0
    kept: int = 0
    examples_added: list[str] = field(default_factory=list)
    examples_removed: list[str] = field(default_factory=list)
    labels: dict[str, Relabelled] = field(default_factory=dict)
    arrays: Named = field(default_factory=Named)
    splits: Named = field(default_factory=Named)
    words: list[str] = field(default_factory=list)

    @property
    def relabelled(self) -> dict[str, Relabelled]:
        """The arrays whose values changed beyond their tolerances."""
        return {name: found for name, found in self.labels.items() if found.structures}

    @property
    def step(self) -> Step | None:
        """The least step of the version that this asks for; ``None`` where nothing changed."""
        named = (self.arrays, self.splits)
        if self.removed or self.relabelled or any(one.removed or one.changed for one in named):
            return Step.MAJOR
        if self.added or any(one.added or one.extended for one in named):
            return Step.MINOR
        return Step.PATCH if self.words else None


def compare(old: Dataset, new: Dataset, progress: Callable[[int, int], None] = lambda done, total: None) -> Difference:
    """Compare two versions of a dataset, or two datasets of the same structures.

    Parameters
    ----------
    old, new
        Datasets, read shard by shard: some 40 bytes a structure are kept.
    progress
        Called after each shard with the structures compared, and of all.

    Raises
    ------
    InputError
        If one was pulled in part.
    CheckError
        If a shard or a split is damaged.
    """
    if old.missing or new.missing:
        part = old if old.missing else new
        raise InputError(
            f"{part.path} was pulled in part and cannot be compared; pull the rest first:  mlipq data pull NAME"
        )
    found = Difference(arrays=_arrays(old.specs, new.specs))
    unequal = {*found.arrays.removed, *found.arrays.changed, *_IMPLIED}
    names = [name for name in old.specs if name not in unequal]
    found.labels = {name: Relabelled(TOLERANCES.get(name, 0.0)) for name in sorted(names)}
    lookup = _Lookup(new["identity"][:])
    seen = np.zeros(len(new), dtype=bool)
    for table in old.tables(["identity", *names]):
        rows = lookup.rows(table.arrays["identity"])
        here = rows >= 0
        found.kept += int(here.sum())
        found.removed += int((~here).sum())
        found.examples_removed += _some(table.arrays["identity"][~here], EXAMPLES - len(found.examples_removed))
        seen[rows[here]] = True
        if here.any():
            _compare_labels(table.take(np.flatnonzero(here)), new.take(rows[here], names), found.labels)
        progress(found.kept + found.removed, len(old))
    found.added = int((~seen).sum())
    found.examples_added = _some(lookup.identities[~seen], EXAMPLES)
    if old.manifest is not None and new.manifest is not None:
        found.splits = _splits(old, new)
        found.words = words_changed(old.manifest, new.manifest)
    return found


def words_changed(old: Manifest, new: Manifest) -> list[str]:
    """Return the fields of :data:`WORDS` that differ."""
    return [name for name in WORDS if getattr(old, name) != getattr(new, name)]


def check_step(old: Version, new: Version, found: Difference) -> None:
    """Refuse a version whose number promises less change than there is.

    Raises
    ------
    InputError
        Naming the least version that would do.
    """
    needed = found.step or Step.PATCH
    if Step.between(old, new) >= needed:
        return
    least = Version(old.major + 1, 0, 0) if needed is Step.MAJOR else Version(old.major, old.minor + 1, 0)
    raise InputError(
        f"changes since version {old}: {summary(found)}. That makes a {needed.name.lower()} version, {least} or later, not {new} "
        "(see: mlipq data diff)"
    )


def summary(found: Difference) -> str:
    """Say what changed in one sentence."""
    parts = [
        f"structures added: {found.added:,}" if found.added else "",
        f"structures removed: {found.removed:,}" if found.removed else "",
        *(f"structures with another {name}: {change.structures:,}" for name, change in found.relabelled.items()),
    ]
    for what, named in (("arrays", found.arrays), ("splits", found.splits)):
        for how in ("added", "removed", "changed", "extended"):
            names = getattr(named, how)
            parts.append(f"{what} {how}: {', '.join(names)}" if names else "")
    parts.append(f"words changed: {', '.join(found.words)}" if found.words else "")
    return "; ".join(filter(None, parts)) or "nothing changed"


class _Lookup:
    """Rows of structures by their identities."""

    def __init__(self, identities: NDArray[np.uint64]) -> None:
        self.identities = identities
        digests = _digests(identities)
        self._order = np.argsort(digests)
        self._sorted = digests[self._order]

    def rows(self, identities: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each structure, -1 where there is none."""
        if not len(self._sorted):
            return np.full(len(identities), -1)
        asked = _digests(identities)
        places = np.searchsorted(self._sorted, asked).clip(max=len(self._sorted) - 1)
        return np.where(self._sorted[places] == asked, self._order[places], -1)


def _digests(identities: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(identities, dtype="<u8").reshape(-1, 2).view("S16").ravel()


def _some(identities: NDArray[np.uint64], n: int) -> list[str]:
    return [identity_hex(identity) for identity in identities[: max(n, 0)]]


def _compare_labels(old: Table, new: Table, labels: dict[str, Relabelled]) -> None:
    """Take the same structures of both versions into account."""
    offsets = old.arrays["atom_offsets"]
    for name, change in labels.items():
        gaps = _gaps(old.arrays[name], new.arrays[name])
        if old.specs[name].level == "atom":
            gaps = np.maximum.reduceat(gaps, offsets[:-1])
        change.add(gaps, old.arrays["identity"])


def _gaps(old: NDArray, new: NDArray) -> NDArray[np.float64]:
    """Return by how much each row differs at most: infinity where it is not by a number."""
    if old.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):
            gaps = np.abs(new.astype(np.float64) - old.astype(np.float64))
        gaps[np.isnan(gaps)] = np.inf
        if old.dtype.kind == "f":
            gaps[np.isnan(old) & np.isnan(new)] = 0.0
        else:
            gaps[(old != new) & (gaps == 0)] = 1.0  # whole numbers that no float tells apart
        gaps[old == new] = 0.0  # also infinities
    else:
        gaps = np.where(old == new, 0.0, np.inf)
    return np.asarray(gaps.reshape(len(gaps), -1).max(axis=1, initial=0.0))


def _arrays(old: dict[str, ArraySpec], new: dict[str, ArraySpec]) -> Named:
    """Say which arrays came, went, or mean something else."""
    return Named(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(name for name in old.keys() & new.keys() if _meaning(old[name]) != _meaning(new[name])),
    )


def _meaning(spec: ArraySpec) -> tuple[object, ...]:
    return (spec.level, spec.shape, spec.dtype, spec.unit, spec.kind, spec.level_of_theory)


def _splits(old: Dataset, new: Dataset) -> Named:
    """Say which splits came, went, got more structures, or put one elsewhere."""
    assert old.manifest is not None
    assert new.manifest is not None
    before, after = old.manifest.splits, new.manifest.splits
    named = Named(added=sorted(after.keys() - before.keys()), removed=sorted(before.keys() - after.keys()))
    for name in sorted(before.keys() & after.keys()):
        if before[name].sha256 != after[name].sha256:
            parts = old.split(name)
            kept = np.array_equal(new.split(name).of(parts.identities), parts.parts)
            (named.extended if kept else named.changed).append(name)
    return named
