"""Tables as a dataset: shards and a manifest in a folder that appears whole or not at all, and is made once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.store import Dataset, Manifest, Table, read_shard, write_shard
from mlipq.store.commit import committing_folder
from mlipq.store.manifest import MANIFEST, Provenance
from mlipq.store.statistics import summarise
from mlipq.store.tally import Tally

RECIPE = "recipe"
"""Key of the manifest's settings that says what the dataset was made from."""


def write_once(
    folder: Path, recipe: Mapping[str, Any], source: Dataset, tables: Callable[[], Iterable[Table]], description: str
) -> None:
    """Write tables as a dataset, unless it is there; equal recipes give equal bytes.

    Parameters
    ----------
    folder
        Of the dataset; its parent exists.
    recipe
        All that the tables follow from, as JSON has it.
    source
        Dataset that the structures are from: licence, citation and provenance are its own.
    tables
        Called where the dataset is not there. All tables have the same arrays, and at least one has structures; each becomes a shard.
    description
        In the manifest, for people.

    Raises
    ------
    InputError
        If the folder holds a dataset of another recipe, or cannot be written to.
    IncompleteError
        If the disk is full; nothing is left behind.
    """
    if folder.exists():
        _refuse_other(folder, recipe)
        return
    with committing_folder(folder) as temporary:
        (temporary / "shards").mkdir()
        tally = Tally()
        for table in tables():
            if len(table):
                file = f"shards/part-{len(tally.entries):05d}.zarr.zip"
                tally.add(file, *write_shard(temporary / file, table, {}), table)
        files = [temporary / entry.file for entry in tally.entries]
        found = summarise(map(read_shard, files), lambda names: (read_shard(file, names) for file in files))
        whole = source.manifest or Manifest(shards=[], arrays=[])
        settings = {**whole.provenance.settings, RECIPE: dict(recipe)}
        manifest = Manifest(
            **tally.fields(),
            **vars(found),
            description=description,
            licence=whole.licence,
            citation=whole.citation,
            level_of_theory=whole.level_of_theory,
            provenance=Provenance(software=whole.provenance.software, settings=settings),
        )
        manifest.write(temporary / MANIFEST)


def _refuse_other(folder: Path, recipe: Mapping[str, Any]) -> None:
    found = Manifest.read(folder / MANIFEST).provenance.settings.get(RECIPE)
    before: Mapping[str, Any] = found if isinstance(found, dict) else {}
    changed = [key for key in {**recipe, **before} if before.get(key) != recipe.get(key)]
    if changed:
        key = changed[0]
        raise InputError(
            f"{folder} was made for another suite: its {key} was {before.get(key, 'none')}, and is now "
            f"{recipe.get(key, 'none')}. Results of both cannot be compared: name another folder with -o"
        )


def taken(dataset: Dataset, rows: NDArray[np.int64], names: Iterable[str]) -> Iterator[Table]:
    """Yield some structures of a dataset with some arrays, those of a shard together.

    Parameters
    ----------
    dataset
        Where they are.
    rows
        Ascending.
    names
        Arrays.
    """
    start = 0
    for table in dataset.tables(list(names)):
        inside = rows[(rows >= start) & (rows < start + len(table))]
        yield table.take(inside - start)
        start += len(table)
