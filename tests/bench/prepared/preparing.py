"""A small dataset as labeling leaves one, with a split, and suites on it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlipq import open_dataset, resources
from mlipq.bench.prepared import Prepared, prepare_dataset
from mlipq.bench.suite import Suite, read_suite
from mlipq.store import Dataset, Manifest, Table, write_shard
from mlipq.store.splits import write_split
from mlipq.store.tally import Tally

TARGET = "reference/pbe0_energy"
FRAMES, TESTED = 120, 30


@functools.cache
def _molecules() -> Table:
    """Molecules of QM7 with PBE0 energies and GFN1-xTB labels."""
    dataset = open_dataset(resources.samples().parent / "samples-gfn1" / "1.0.0")
    return dataset.select(split="pool", max_atoms=14).take(slice(0, FRAMES))


def molecules() -> Table:
    """Some molecules, to be changed at will."""
    return _molecules().take(np.arange(FRAMES))


def write_base(folder: Path, table: Table, tested: int | None = TESTED) -> Path:
    """Write structures in three shards, every so many of them for the test, or without a split."""
    (folder / "shards").mkdir(parents=True)
    tally = Tally()
    for number, rows in enumerate(np.array_split(np.arange(len(table)), 3)):
        file, part = f"shards/part-{number:05d}.zarr.zip", table.take(rows)
        tally.add(file, *write_shard(folder / file, part, {}), part)
    splits = {}
    if tested:
        parts = np.full(len(table), "pool", dtype="U4")
        parts[:: len(table) // tested] = "test"
        splits["random"] = write_split(folder, "splits/random.csv", table.arrays["identity"], parts, "every so many")
    Manifest(**tally.fields(), splits=splits, licence="CC0-1.0").write(folder / "manifest.json")
    return folder


def base(folder: Path, change: Callable[[Table], None] = lambda table: None, tested: int | None = TESTED) -> Path:
    """Write the molecules, with something changed."""
    table = molecules()
    change(table)
    return write_base(folder, table, tested)


def suite_of(dataset: Path, **keys: Any) -> Suite:
    """A suite on a dataset."""
    content = {
        "title": "A test",
        "dataset": str(dataset),
        "target": TARGET,
        "sizes": [20, 50],
        "seeds": 2,
        "modes": ["energy", "charges", "charges+extra", "delta", "shuffled"],
    }
    return read_suite({**content, **keys})


def prepared(dataset: Path, folder: Path, **keys: Any) -> Prepared:
    """Prepare a suite on a dataset."""
    return prepare_dataset(suite_of(dataset, **keys), folder)


def part(dataset: Dataset | Path, named: str) -> set[tuple[int, int]]:
    """Identities of a part of a split."""
    opened = open_dataset(dataset) if isinstance(dataset, Path) else dataset
    return {tuple(words) for words in opened.select(split=named)["identity"][:].tolist()}


def identities(dataset: Path) -> set[tuple[int, int]]:
    """Identities of all structures."""
    return {tuple(words) for words in open_dataset(dataset)["identity"][:].tolist()}


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
