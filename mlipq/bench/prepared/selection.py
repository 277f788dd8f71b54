"""Which structures of the suite's dataset take part: the test structures, the pool, and what of the pool may be drawn."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.prepared.guard import ARRAYS, HeldOut
from mlipq.bench.suite import Suite
from mlipq.errors import InputError
from mlipq.hub import open_dataset
from mlipq.hub.split import parts_by_group
from mlipq.store import Dataset, Table
from mlipq.store.elements import bits_of, symbols_of

TEST = "test"
"""Part of a split that is fixed; all others are the pool."""
BY_GROUP = "by group"
"""Stands for the split of a dataset that has none with a part ``test``: it is drawn here, by the seed 0."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Structures of the suite's dataset, as its rows.

    Attributes
    ----------
    split
        Name of the split that the test structures are a part of, or :data:`BY_GROUP`.
    test
        ``(tested,)`` ascending.
    pool
        ``(pooled,)`` ascending; none is among ``test``.
    labels
        Arrays that each drawn structure has, and each test structure: the target, the forces.
    beside
        Arrays that each drawn structure has too, and not all of the pool: what a mode learns beside.
    drawable
        ``(pooled,)``: which have all of these.
    spare
        ``(pooled,)``: which may serve as extra structures, being no test molecules.
    held_out
        The test structures, for the guard.
    elements
        ``(2,)`` bits of all that test structures and pool have.
    left_out
        Why structures are in neither, and how many.
    """

    split: str
    test: NDArray[np.int64]
    pool: NDArray[np.int64]
    labels: tuple[str, ...]
    beside: tuple[str, ...]
    drawable: NDArray[np.bool_]
    spare: NDArray[np.bool_]
    held_out: HeldOut
    elements: NDArray[np.uint64]
    left_out: dict[str, int]


def select(dataset: Dataset, suite: Suite) -> Selection:
    """Find the structures that take part in a suite.

    Parameters
    ----------
    dataset
        The suite's.
    suite
        Its ``split``, ``test``, ``groups`` and ``fewest`` tell which; so do the labels that are predicted, and those that modes learn
        beside.

    Raises
    ------
    InputError
        If there is no such split or group, or no structure to test or to train on.
    """
    labels = (suite.target, *filter(None, [suite.forces]))
    here, labelled = _of_groups(dataset, suite.groups), complete(dataset, labels)
    split, inside, is_test = _split(dataset, suite, here & labelled)
    takes_part = here & inside & (labelled | ~is_test)
    left_out = {f"test structures without {' and '.join(labels)}": int((here & inside & is_test & ~labelled).sum())}
    rare = _rare(dataset, takes_part & labelled & ~is_test, suite.fewest)
    if rare:
        has_rare = (dataset["elements"][:] & bits_of(rare)).any(axis=1)
        what = f"structures with elements that fewer than {suite.fewest} of the pool have, {', '.join(rare)}"
        left_out[what] = int((takes_part & has_rare).sum())
        takes_part &= ~has_rare
    test, pool = np.flatnonzero(takes_part & is_test), np.flatnonzero(takes_part & ~is_test)
    if not len(test) or not len(pool):
        raise InputError(
            f"{suite.dataset}: of {len(dataset):,} structures with {' and '.join(labels)}, {len(test):,} are to be tested on and "
            f"{len(pool):,} to be drawn from; a suite needs both"
        )
    held_out = HeldOut(dataset.take(test, ARRAYS))
    spare = _spare(held_out, dataset.take(pool, ARRAYS), labelled[pool])
    having = {name: complete(dataset, [name])[pool] for name in suite.labels_beside}
    beside = tuple(name for name, has in having.items() if not has[labelled[pool]].all())
    drawable = np.logical_and.reduce([labelled[pool], *having.values()])
    elements = np.bitwise_or.reduce(dataset["elements"][:][takes_part], axis=0)
    return Selection(split, test, pool, labels, beside, drawable, spare, held_out, elements, left_out)


def _spare(held_out: HeldOut, pool: Table, labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which structures of the pool are no test molecules."""
    of_a_test_group = held_out.among(pool, ["group"])
    # a split that keeps groups apart says what it means by a molecule; of a random one, formulas on both sides mean nothing
    apart = not of_a_test_group[labelled].any()
    excluded = held_out.among(pool, ["origin", "named group", "graph"]) | (of_a_test_group & apart)
    return ~excluded


def opened(where: str) -> Dataset:
    """Open a dataset that must be whole.

    Raises
    ------
    InputError
        If there is none, or shards of it are missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is an error here
        dataset = open_dataset(where)
    if dataset.missing:
        raise InputError(
            f"{where}: {len(dataset.missing)} shards are not here; pull them first:  mlipq data pull {where}"
        )
    return dataset


def complete(dataset: Dataset, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which structures have finite values in all of these arrays that the dataset has: ``(structures,)``."""
    found = np.ones(len(dataset), dtype=bool)
    starts = dataset.atom_offsets[:-1]
    for spec in (dataset.specs[name] for name in names if name in dataset.specs):
        finite = np.isfinite(dataset[spec.name][:]).reshape(-1, int(np.prod(spec.shape))).all(axis=1)
        found &= np.logical_and.reduceat(finite, starts) if spec.level == "atom" and len(starts) else finite
    return found


def _of_groups(dataset: Dataset, groups: Sequence[str]) -> NDArray[np.bool_]:
    found = dataset["group"][:].astype(np.str_)
    unknown = sorted(set(groups) - set(found.tolist()))
    if unknown:
        raise InputError(f"groups: {dataset.path} has no structure of group {unknown[0]!r}")
    return np.isin(found, groups) if groups else np.ones(len(dataset), dtype=bool)


def _split(
    dataset: Dataset, suite: Suite, usable: NDArray[np.bool_]
) -> tuple[str, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the name of the split, which structures belong to it, and which of them are for the test."""
    splits = dataset.manifest.splits if dataset.manifest else {}
    fitting = [name for name, split in splits.items() if TEST in split.counts]
    if suite.split and suite.split not in fitting:
        known = ", ".join(fitting) or "none"
        raise InputError(
            f"{suite.dataset} has no split {suite.split!r} with a part {TEST}; splits that have one: {known}"
        )
    if not suite.split and len(fitting) > 1:
        raise InputError(
            f"{suite.dataset} has several splits with a part {TEST}; name one by split: {', '.join(fitting)}"
        )
    if fitting:
        name = suite.split or fitting[0]
        parts = dataset.split(name).of(dataset["identity"][:])
        return name, parts != "", parts == TEST
    is_test = np.zeros(len(dataset), dtype=bool)
    size = suite.test if isinstance(suite.test, int) else f"{suite.test:f}"
    is_test[usable] = parts_by_group(dataset["group"][np.flatnonzero(usable)], f"{TEST}={size},pool=rest", 0) == TEST
    return BY_GROUP, np.ones(len(dataset), dtype=bool), is_test


def _rare(dataset: Dataset, pool: NDArray[np.bool_], fewest: int) -> list[str]:
    """Return the elements of the dataset that fewer structures of the pool have."""
    if not fewest:
        return []
    bits = dataset["elements"][:]
    there = symbols_of(np.bitwise_or.reduce(bits, axis=0))
    counts = {symbol: int((bits[pool] & bits_of([symbol])).any(axis=1).sum()) for symbol in there}
    return [symbol for symbol in there if counts[symbol] < fewest]
