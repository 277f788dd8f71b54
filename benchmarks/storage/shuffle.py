"""Measure what the blocks of ``Dataset.batches`` cost in bytes, and what they take from the randomness of batches.

    python -m benchmarks.storage.shuffle [--dataset FOLDER ...] [--structures N] [--repeats EPOCHS]

The structures stay in the order of their files, in shards of the published size. Bytes are those read from the shards, metadata
aside, over those that all chunks of the same arrays take: of whole epochs in which a block is all that is read of its shard at a
time and no chunk is kept, which is what very large datasets come to. Randomness is the variance of the mean composition of
batches of 256 (atoms of each element, and of all), over that of batches shuffled throughout, where it is 1; a batch with a variance
of 4 tells as much of the dataset as one of 64 that are independent.
"""

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.harness import spread, versions, write_results
from benchmarks.storage.structures import labelled_samples, make_source, source_parser
from mlipq.store import Dataset, open_dataset
from mlipq.store.reader.shuffle import BLOCK, MIXED, windows
from mlipq.store.shards import chunks
from mlipq.store.shards.source import LocalFile

RESULTS = Path(__file__).parent / "results" / "shuffle.json"
BATCH = 256
BLOCKS = (64, 128, 256, 512, 1024, 2048)
MIXES = (4, 16, 64)
ENERGY_AND_FORCES = ["atomic_numbers", "positions", "gfn1/energy", "gfn1/forces"]


class Counted:
    """Bytes read from files while in the block."""

    def __enter__(self) -> "Counted":
        self.n_bytes = 0
        read = LocalFile.read

        def counting(file: LocalFile, start: int, stop: int) -> bytes:
            self.n_bytes += stop - start
            return read(file, start, stop)

        self._patch = mock.patch.object(LocalFile, "read", counting)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def moved(dataset: Dataset, names: list[str] | None, block: int) -> float:
    """Return the bytes of an epoch in which each block is read alone, over those of its chunks."""
    with mock.patch.object(chunks, "CACHE_BYTES", 0):
        dataset = open_dataset(dataset.path)
        assert dataset.atom_offsets[0] == 0  # read: from here on all shards are open
        with Counted() as epoch:
            for _ in dataset.batches(BATCH, names, seed=0, block=block, mixed=1):
                pass
        with Counted() as own:
            for rows in np.split(np.arange(len(dataset)), _first_rows(dataset)[1:]):
                dataset.take(rows, names)
    return epoch.n_bytes / own.n_bytes


def _first_rows(dataset: Dataset) -> np.ndarray:
    assert dataset.manifest is not None
    counts = [entry.n_structures for entry in dataset.manifest.shards]
    return np.cumsum([0, *counts[:-1]])


def compositions(dataset: Dataset) -> np.ndarray:
    """Return ``(structures, elements + 1)``: atoms of each element that a tenth of the structures have, and of all."""
    batch = dataset.batch(slice(None), ["atomic_numbers"])
    numbers, starts = batch["atomic_numbers"], batch["atom_offsets"][:-1]
    counts = [np.add.reduceat(numbers == z, starts, dtype=np.int64) for z in np.unique(numbers)]
    return np.stack([*(count for count in counts if (count > 0).mean() > 0.1), sum(counts)], axis=1)


def variance(values: np.ndarray, block: int, mixed: int, seed: int) -> float:
    """Return the variance of the means of an epoch's batches over what it is for random ones, the mean over the columns."""
    order = np.concatenate([rows[picked] for rows, picked in windows(len(values), block, mixed, seed)])
    whole = len(order) // BATCH * BATCH
    means = values[order[:whole]].reshape(-1, BATCH, values.shape[1]).mean(axis=1)
    return float((means.var(axis=0) / (values.var(axis=0) / BATCH)).mean())


def main() -> None:
    parser = source_parser(__doc__, 20_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        work = Path(temporary)
        paths = given.dataset or [labelled_samples(work)]
        dataset, n_copies = make_source(paths, given.structures, work / "source")
        values = compositions(dataset)
        rows: list[dict[str, Any]] = []
        for block in BLOCKS:
            row: dict[str, Any] = {
                "contestant": f"blocks of {block:,}",
                "what": "the default" if block == BLOCK else "",
                "times_own_bytes": moved(dataset, None, block),
                "times_own_bytes_energy_and_forces": moved(dataset, ENERGY_AND_FORCES, block),
            }
            for mixed in MIXES:
                if block * mixed < len(dataset):
                    found = [variance(values, block, mixed, seed) for seed in range(given.repeats)]
                    row[f"variance_of_{mixed}_mixed"] = spread(found)
            rows.append(row)
            print(row, flush=True)
        settings = {
            "structures": len(dataset),
            "shards": len(dataset.files),
            "copies": n_copies,
            "datasets": [path.name for path in paths],
            "batch": BATCH,
            "default_block": BLOCK,
            "default_mixed": MIXED,
        }
    write_results(given.results, "blocks of shuffled batches", settings, versions("mlipq", "numpy", "numcodecs"), rows)


if __name__ == "__main__":
    main()
