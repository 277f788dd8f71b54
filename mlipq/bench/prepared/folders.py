"""The datasets in a suite's folder: the pool with its splits, the test structures, the extra structures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipq.bench.prepared.derived import CHARGES, ENERGY, with_controls, with_delta
from mlipq.bench.prepared.extra import Extra
from mlipq.bench.prepared.selection import BY_GROUP, Selection
from mlipq.bench.prepared.writing import taken, write_once
from mlipq.bench.suite import Suite
from mlipq.store import Dataset, Manifest, Table, open_dataset
from mlipq.store.labels import is_energy
from mlipq.store.manifest import MANIFEST
from mlipq.store.splits import write_split

POOL_FOLDER, TEST_FOLDER = "dataset", "test"
"""Of the pool and of the test structures, in the suite's folder."""

Progress = Callable[[str, int, int], None]
"""Called with what is written, how many structures are, and how many there are."""


def write_pool(suite: Suite, base: Dataset, selection: Selection, folder: Path, progress: Progress) -> None:
    """Write the pool, with the energy that Δ-learning learns and the controls; errors as of :func:`write_once`."""

    def tables() -> Iterable[Table]:
        found = _with_delta(suite, base, selection.pool, partial(progress, "pool"))
        if CHARGES not in base.specs:
            return found
        return with_controls(found, base.take(selection.pool, ["atomic_numbers", CHARGES]))

    recipe = {**_recipe(suite, base, selection), "part": "pool"}
    write_once(
        folder / POOL_FOLDER, recipe, base, tables, f"All but the test structures of {_described(base, selection)}"
    )


def write_test(suite: Suite, base: Dataset, selection: Selection, folder: Path, progress: Progress) -> None:
    """Write the test structures, with the energy that Δ-learning learns; errors as of :func:`write_once`."""
    recipe = {**_recipe(suite, base, selection), "part": "test"}
    tables = partial(_with_delta, suite, base, selection.test, partial(progress, "test structures"))
    write_once(folder / TEST_FOLDER, recipe, base, tables, f"The test structures of {_described(base, selection)}")


def write_extra(
    suite: Suite, base: Dataset, selection: Selection, extra: Extra, path: Path, progress: Progress
) -> Path:
    """Write extra structures with their GFN1-xTB labels, and controls of these; return their folder.

    Errors as of :func:`write_once`.
    """
    dataset, rows = extra.dataset, extra.rows

    def tables() -> Iterable[Table]:
        found = _told(taken(dataset, rows, extra.names), len(rows), partial(progress, extra.entry.dataset))
        if CHARGES not in dataset.specs:
            return found
        return with_controls(found, dataset.take(rows, ["atomic_numbers", CHARGES]))

    recipe = {**_recipe(suite, base, selection), "extra": dataset.sha256, "known_by": extra.entry.known_by}
    write_once(path, recipe, dataset, tables, "Structures with GFN1-xTB labels alone, none of them a test molecule")
    return path


def add_splits(folder: Path, splits: Mapping[str, tuple[NDArray[np.str_], str]]) -> None:
    """Keep splits beside the pool; those that are there already stay as they are.

    Parameters
    ----------
    folder
        Of the suite.
    splits
        By name the ``(pooled,)`` parts, ``""`` for none, and how they were made.
    """
    pool = folder / POOL_FOLDER
    manifest, identities = Manifest.read(pool / MANIFEST), open_dataset(pool)["identity"][:]
    made = {
        name: write_split(pool, f"splits/{name}.csv", identities, parts, made_by)
        for name, (parts, made_by) in splits.items()
        if name not in manifest.splits
    }
    if made:
        manifest.model_copy(update={"splits": {**manifest.splits, **made}}).write(pool / MANIFEST)


def ref_of(dataset: Dataset) -> str:
    """Return ``name@version``; empty for what is not published."""
    return dataset.manifest.ref if dataset.manifest else ""


def _recipe(suite: Suite, base: Dataset, selection: Selection) -> dict[str, Any]:
    """Return all that it follows from which structures are in the pool, which are drawn, and which are tested on."""
    drawn = {"test": suite.test} if selection.split == BY_GROUP else {}
    chosen = suite.model_dump(mode="json", include={"groups", "fewest", "target", "forces"})
    beside = {"labels": list(selection.beside)} if selection.beside else {}
    return {"dataset": base.sha256, "split": selection.split, **drawn, **chosen, **beside}


def _described(base: Dataset, selection: Selection) -> str:
    return f"{ref_of(base) or base.path.name}, split {selection.split}"


def _with_delta(
    suite: Suite, base: Dataset, rows: NDArray[np.int64], progress: Callable[[int, int], None]
) -> Iterable[Table]:
    tables = _told(taken(base, rows, base.specs), len(rows), progress)
    target = base.specs[suite.target]
    has_delta = is_energy(target) and ENERGY in base.specs and target.name != ENERGY
    return with_delta(tables, target) if has_delta else tables


def _told(tables: Iterable[Table], total: int, progress: Callable[[int, int], None]) -> Iterator[Table]:
    """Yield tables, and tell how many structures went by."""
    done = 0
    for table in tables:
        yield table
        done += len(table)
        progress(done, total)
