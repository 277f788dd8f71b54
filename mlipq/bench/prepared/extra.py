"""Extra structures: of which a run learns xTB labels alone, from other datasets than the suite's own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.prepared.derived import MADE_FROM
from mlipq.bench.prepared.guard import ARRAYS, HeldOut, Rule
from mlipq.bench.prepared.selection import opened
from mlipq.bench.suite import POOL, ExtraData, Suite
from mlipq.errors import InputError
from mlipq.schema import GFN1_ARRAYS, STRUCTURE_ARRAYS
from mlipq.store import Dataset
from mlipq.store.elements import symbols_of

_RULES: dict[str, list[Rule]] = {"formula": ["formula"], "graph": ["graph", "origin"]}
"""By what test molecules are known; copies of a frame are found as such too, since moved far they may lose their bonds."""
_SAME = {"formula": "the same formula and charge", "graph": "the same molecular graph and charge, or frame of a file"}


@dataclass(frozen=True, eq=False)
class Extra:
    """Structures of another dataset.

    Attributes
    ----------
    entry
        What the suite says of them.
    dataset
        Where they are.
    rows
        ``(structures,)`` ascending: those that are no test molecules, of the elements of the suite's own structures.
    notes
        What was left out and why, a sentence each.
    """

    entry: ExtraData
    dataset: Dataset
    rows: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Arrays that runs may read: the structures and their GFN1-xTB labels; no others leave the dataset."""
        own = {spec.name for spec in (*STRUCTURE_ARRAYS, *GFN1_ARRAYS)}
        return [name for name in self.dataset.specs if name in own]


def find_extra(suite: Suite, test: HeldOut, elements: NDArray[np.uint64]) -> list[Extra | None]:
    """Open the datasets of the suite's extra structures, and look for test molecules and for foreign elements in them.

    Parameters
    ----------
    suite
        Its ``extra`` tells which.
    test
        The test structures.
    elements
        ``(2,)`` bits of those that the suite's own structures have. What has others is left out: no model of the suite meets them.

    Returns
    -------
    list
        An entry each; ``None`` for the pool. Empty where no mode learns from extra structures.

    Raises
    ------
    InputError
        If one holds test molecules and is not to be used without them, has no structures, or lacks labels that a mode learns.
    """
    if not suite.needs_extra:
        return []
    return [None if entry.dataset == POOL else _find(suite, entry, test, elements) for entry in suite.extra]


def _find(suite: Suite, entry: ExtraData, test: HeldOut, elements: NDArray[np.uint64]) -> Extra:
    dataset = opened(entry.dataset)
    for mode in (mode for mode in suite.found_modes if mode.labels_from == "extra"):
        lacking = [name for name in map(_source, mode.arrays) if name not in dataset.specs]
        if lacking:
            raise InputError(f"extra: {entry.dataset} has no {lacking[0]}, which {mode.name} learns; label it first")
    met = np.concatenate([test.among(table, _RULES[entry.known_by]) for table in dataset.tables(ARRAYS)])
    if met.any() and not entry.exclude_test:
        raise InputError(
            f"extra: {int(met.sum()):,} of {len(dataset):,} structures of {entry.dataset} may be test molecules of {suite.dataset}, "
            f"having {_SAME[entry.known_by]}; the first is {dataset.structure(int(np.flatnonzero(met)[0])).where}. Leave them out by "
            f"{{dataset: {entry.dataset}, exclude_test: true}}, or name another dataset"
        )
    others = dataset["elements"][:] & ~elements
    foreign = others.any(axis=1) & ~met
    rows = np.flatnonzero(~met & ~foreign)
    if not len(rows):
        raise InputError(
            f"extra: all structures of {entry.dataset} may be test molecules, or have elements that {suite.dataset} lacks"
        )
    named = ", ".join(symbols_of(np.bitwise_or.reduce(others, axis=0)))
    reasons = {
        f"since they may be test molecules by {entry.known_by}": int(met.sum()),
        f"with elements that the suite's own structures lack, {named}": int(foreign.sum()),
    }
    notes = (f"{entry.dataset}: left out, {why}: {n:,} structures" for why, n in reasons.items() if n)
    return Extra(entry, dataset, rows, tuple(notes))


def _source(array: str) -> str:
    return MADE_FROM.get(array, array)
