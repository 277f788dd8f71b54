"""Measure what compression and chunk size cost and give, for the settings of ``mlipq/store`` to be chosen by.

    python -m benchmarks.storage.choose [--dataset FOLDER ...] [--structures N] [--repeats N]

The same labelled structures are written and read with each setting, all settings one after the other, again and again.
Random batches are of 64 structures, read lazily.
"""

import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import spread, versions, write_results
from benchmarks.storage.contestants import TRAINING
from benchmarks.storage.structures import labelled_samples, make_source, source_parser, write_dataset
from mlipq.store import Table, open_dataset
from mlipq.store.shards import hdf5_shard, shard, zarr_array

RESULTS = Path(__file__).parent / "results" / "choose.json"
BATCHES, BATCH = 30, 64


@dataclass(frozen=True)
class Setting:
    """How arrays are cut and compressed."""

    suffix: str
    codec: str
    level: int | None
    shuffle: str
    chunk_values: int

    @property
    def name(self) -> str:
        codec = self.codec if self.level is None else f"{self.codec} {self.level}"
        return (
            f"{'zarr' if self.suffix == '.zarr.zip' else 'h5'}, {codec}, {self.shuffle}, {self.chunk_values:,} values"
        )

    @contextmanager
    def used(self):
        """Write with this setting inside the block."""
        old = zarr_array.CODEC, zarr_array.LEVEL, zarr_array.SHUFFLE, hdf5_shard.FILTERS, shard.CHUNK_VALUES
        zarr_array.CODEC, zarr_array.LEVEL, zarr_array.SHUFFLE = self.codec, self.level, self.shuffle
        hdf5_shard.FILTERS = {
            "compression": self.codec,
            "compression_opts": self.level,
            "shuffle": self.shuffle == "shuffle",
        }
        shard.CHUNK_VALUES = self.chunk_values
        try:
            yield
        finally:
            zarr_array.CODEC, zarr_array.LEVEL, zarr_array.SHUFFLE, hdf5_shard.FILTERS, shard.CHUNK_VALUES = old


ZARR, H5 = ".zarr.zip", ".h5"
CHUNKS = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144)
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
SETTINGS = list(
    dict.fromkeys(
        [
            *(Setting(ZARR, "zstd", 3, "noshuffle", chunk) for chunk in CHUNKS),
            *(Setting(ZARR, "zstd", level, shuffle, 16_384) for level in (1, 3, 5, 7) for shuffle in SHUFFLES),
            *(Setting(ZARR, "lz4", 5, shuffle, 16_384) for shuffle in SHUFFLES),
            *(Setting(H5, "gzip", 4, "noshuffle", chunk) for chunk in CHUNKS),
            *(Setting(H5, "gzip", level, shuffle, 16_384) for level in (1, 4, 6) for shuffle in SHUFFLES[:2]),
            Setting(H5, "lzf", None, "shuffle", 16_384),
        ]
    )
)
"""The chosen ones, and others that differ from them in chunk size, or in codec, level and shuffle."""


def measure(setting: Setting, tables: list[Table], batches: np.ndarray, folder: Path) -> dict[str, float]:
    started = time.perf_counter()
    with setting.used():
        write_dataset(tables, folder, setting.suffix)
    written = time.perf_counter()
    for _ in open_dataset(folder).tables(TRAINING):
        pass
    read = time.perf_counter()
    dataset, times = open_dataset(folder), []
    for rows in batches:
        begun = time.perf_counter()
        dataset.batch(rows, TRAINING)
        times.append(time.perf_counter() - begun)
    n_bytes = sum(file.stat().st_size for file in dataset.files)
    shutil.rmtree(folder)
    return {
        "bytes_per_atom": n_bytes / sum(table.n_atoms for table in tables),
        "write_s": written - started,
        "ordered_s": read - written,
        "random_ms": 1e3 * statistics.fmean(times),
    }


def main() -> None:
    parser = source_parser(__doc__, 25_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[Setting, dict[str, list[float]]] = {setting: defaultdict(list) for setting in SETTINGS}
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        work = Path(temporary)
        datasets = given.dataset or [labelled_samples(work)]
        source, n_copies = make_source(datasets, given.structures, work / "source")
        tables = list(source.tables())
        batches = np.random.default_rng(64).integers(0, len(source), (BATCHES, BATCH))
        for number in range(1, given.repeats + 1):
            for setting in SETTINGS:
                measured = measure(setting, tables, batches, work / "shards")
                for key, value in measured.items():
                    found[setting][key].append(value)
                figures = ", ".join(f"{key} {value:.3f}" for key, value in measured.items())
                print(f"  round {number}: {setting.name:44} {figures}", flush=True)
    rows: list[dict[str, Any]] = [
        {"contestant": setting.name, **{key: spread(values) for key, values in found[setting].items()}}
        for setting in SETTINGS
    ]
    settings = {
        "structures": len(source),
        "atoms": sum(table.n_atoms for table in tables),
        "copies": n_copies,
        "datasets": [path.name for path in datasets],
        "batch": BATCH,
        "batches": BATCHES,
    }
    write_results(
        given.results, "compression and chunk size", settings, versions("mlipq", "numpy", "numcodecs", "h5py"), rows
    )
    print(f"\n{'':46}{'B/atom':>8}{'write':>10}{'ordered':>10}{'random 64':>12}")
    for row in rows:
        size, write, ordered, random = (
            row[key]["median"] for key in ("bytes_per_atom", "write_s", "ordered_s", "random_ms")
        )
        print(f"{row['contestant']:46}{size:8.1f}{write:8.1f} s{ordered:8.2f} s{random:9.1f} ms")


if __name__ == "__main__":
    main()
