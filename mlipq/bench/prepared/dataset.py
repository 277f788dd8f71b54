"""All that the runs of a suite read, prepared once: what is refused is refused here, before anything is written or trained."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.prepared.describe import describe
from mlipq.bench.prepared.draws import REST, TRAIN, VALIDATION, draw, split_name
from mlipq.bench.prepared.extra import Extra, find_extra
from mlipq.bench.prepared.folders import (
    POOL_FOLDER,
    TEST_FOLDER,
    Progress,
    add_splits,
    ref_of,
    write_extra,
    write_pool,
    write_test,
)
from mlipq.bench.prepared.label_cost import label_seconds
from mlipq.bench.prepared.selection import Selection, opened, select
from mlipq.bench.results import STRUCTURES, write_record
from mlipq.bench.suite import POOL, Suite
from mlipq.errors import InputError
from mlipq.store import Dataset, open_dataset
from mlipq.store.commit import TEMPORARY_PREFIX

FIXED = "fixed"
"""Split of the pool that is the same for all draws: its part ``pool`` has every structure that may be an extra one."""


@dataclass(frozen=True)
class Prepared:
    """What the runs of a suite read.

    Attributes
    ----------
    folder
        The suite's.
    name
        Of the suite's dataset: ``qm7-gfn1@1.0.0``, or as the suite names it.
    sha256
        Of that dataset's manifest.
    beside
        Arrays of labels that each drawn structure has beside the target, and not all of the pool.
    dataset
        The pool. Each draw is a split, as ``n300-s0`` with the parts ``train``, ``validation`` and ``rest``; the split ``fixed`` has
        the part ``pool``. A structure that is a test molecule in another geometry is neither in ``rest`` nor in ``pool``.
    test
        The test structures.
    extras
        For each entry of the suite's ``extra`` its dataset, ``None`` for the pool; empty where no mode needs any.
    extra_sha256s
        Of the manifests of the datasets that these are from, empty for the pool.
    label_seconds
        Core-seconds that the GFN1-xTB labels of a structure took: of the suite's dataset, then of each of ``extras``; ``None`` where
        nobody knows, as of published datasets.
    notes
        What was left out and why, a sentence each.
    """

    folder: Path
    name: str
    sha256: str
    beside: tuple[str, ...]
    dataset: Path
    test: Path
    extras: tuple[Path | None, ...]
    extra_sha256s: tuple[str, ...]
    label_seconds: tuple[float | None, ...]
    notes: tuple[str, ...]


def prepare_dataset(suite: Suite, folder: Path, progress: Progress = lambda what, done, total: None) -> Prepared:
    """Write the datasets of a suite, and ``structures.json``, as far as they are not there.

    Each dataset appears whole or not at all, and one that is there is taken as it is: a call that was killed is simply made again.
    Equal suites give equal bytes. More sizes and seeds add splits, and change nothing else.

    Parameters
    ----------
    suite
        Its target named.
    folder
        Of the suite; one process at a time works in it.
    progress
        Hears of datasets that are written.

    Raises
    ------
    InputError
        If there are too few structures for the sizes; if extra structures hold test molecules, or lack labels; or if the folder is of
        another suite.
    IncompleteError
        If the disk is full.
    """
    base = opened(suite.dataset)
    selection = select(base, suite)
    extras = find_extra(suite, selection.held_out, selection.elements)
    splits = _splits(suite, base, selection)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{TEMPORARY_PREFIX}*"):  # by a call that was killed
        shutil.rmtree(left, ignore_errors=True)
    write_test(suite, base, selection, folder, progress)
    write_pool(suite, base, selection, folder, progress)
    add_splits(folder, splits)
    paths = [
        None if extra is None else write_extra(suite, base, selection, extra, folder / f"extra-{number}", progress)
        for number, extra in enumerate(extras, 1)
    ]
    described = describe(open_dataset(folder / TEST_FOLDER))
    pooled = {str(group) for group in base.batch(selection.pool, ["group"])["group"]}
    held_out = {"groups_held_out": pooled.isdisjoint(described.group)}
    write_record(folder / STRUCTURES, described.model_copy(update=held_out))
    return Prepared(
        folder=folder,
        name=ref_of(base) or suite.dataset,
        sha256=base.sha256,
        beside=selection.beside,
        dataset=folder / POOL_FOLDER,
        test=folder / TEST_FOLDER,
        extras=tuple(paths),
        extra_sha256s=tuple(extra.dataset.sha256 if extra else "" for extra in extras),
        label_seconds=tuple(label_seconds(extra.dataset if extra else base) for extra in [None, *extras]),
        notes=tuple(_notes(suite, selection, extras)),
    )


def _splits(suite: Suite, base: Dataset, selection: Selection) -> dict[str, tuple[NDArray[np.str_], str]]:
    """Return the splits of the pool by name: ``(pooled,)`` names of parts, ``""`` for none, and how they were made."""
    pool = f"the pool of {suite.dataset} ({selection.split})"
    n_drawable, largest = int(selection.drawable.sum()), max(size for size, _ in suite.draws)
    if largest > n_drawable:
        raise InputError(
            f"sizes: {largest:,} structures are to be drawn, but {pool} has {n_drawable:,} with {_needed(selection)}; "
            "give smaller sizes" + (", or leave out the modes that learn these" if selection.beside else "")
        )
    identities, elements = base["identity"][selection.pool], base["elements"][selection.pool]
    splits = {FIXED: (np.where(selection.spare, POOL, ""), "all that may be extra structures")}
    for size, seed in suite.draws:
        drawn = np.full(len(identities), REST, dtype="U10")
        drawn[selection.drawable] = draw(identities[selection.drawable], size, seed)
        _refuse_unknown(elements, drawn, split_name(size, seed))
        parts = np.where((drawn != REST) | selection.spare, drawn, "")
        splits[split_name(size, seed)] = parts, f"{size} drawn, seed {seed}"
        if _learns_from_pool(suite) and not (parts == REST).any():
            raise InputError(
                f"extra: once {size:,} structures are drawn, {pool} has none left that is no test molecule; give smaller sizes, or "
                "name other datasets under extra"
            )
    return splits


def _refuse_unknown(elements: NDArray[np.uint64], drawn: NDArray[np.str_], split: str) -> None:
    """Refuse a draw whose validation structures all have elements that none of the training structures has."""
    trained = np.bitwise_or.reduce(elements[drawn == TRAIN], axis=0)
    if (elements[drawn == VALIDATION] & ~trained).any(axis=1).all():
        raise InputError(
            f"sizes: of {split}, each validation structure has an element that no training structure has; give larger sizes, or leave "
            "out rare elements by fewest"
        )


def _needed(selection: Selection) -> str:
    return " and ".join((*selection.labels, *selection.beside))


def _learns_from_pool(suite: Suite) -> bool:
    return suite.needs_extra and any(extra.dataset == POOL for extra in suite.extra)


def _notes(suite: Suite, selection: Selection, extras: Sequence[Extra | None]) -> Iterator[str]:
    counts = {
        **{f"left out: {what}": count for what, count in selection.left_out.items()},
        "no extra structures: those of the pool that are test molecules": int((~selection.spare).sum()),
    }
    yield from (f"{suite.dataset}: {what}: {count:,}" for what, count in counts.items() if count)
    if not selection.drawable.all():
        drawable, pool = int(selection.drawable.sum()), len(selection.pool)
        yield f"{suite.dataset}: all modes draw from the {drawable:,} of {pool:,} structures of the pool that have {_needed(selection)}"
    for extra in extras:
        yield from extra.notes if extra else ()
