"""Measure how fast labelled structures are read, from mlipq's shards and from what users would pick instead.

    python -m benchmarks.storage.compare [--dataset FOLDER ...] [--structures N] [--repeats N] [--work FOLDER]

Each measurement has a process of its own with one thread, contestants one after the other, again and
again (A B C … A B C …). Files are read once before each measurement, so that all are in the operating system's cache of
files. What each returns is hashed, and must be the same in every bit as what the first returns.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import spread, versions, write_results
from benchmarks.storage.contestants import CACHE_BYTES, CONTESTANTS, TRAINING, Materialised
from benchmarks.storage.structures import labelled_samples, make_source, source_parser
from mlipq.store import Dataset, open_dataset

RESULTS = Path(__file__).parent / "results" / "compare.json"
BATCHES, BATCH = 101, 64
"""Random batches, the first of which is timed with the start, and structures in each."""
PACKAGES = ("mlipq", "numpy", "ase", "h5py", "numcodecs")


class Comparison:
    """Files of all contestants in one folder, and what was measured of each."""

    def __init__(self, source: Dataset, work: Path, names: list[str]) -> None:
        self.source = source
        self.names = names
        self.files = work / "files"
        self.rows = work / "rows.npy"
        self.environment = {
            **os.environ,
            "MLIPQ_CACHE": str(work / "cache"),
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        }
        os.environ.update(self.environment)
        self.found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
        rng = np.random.default_rng(64)
        np.save(self.rows, rng.integers(0, len(source), (BATCHES, BATCH)))

    def path(self, name: str) -> Path:
        """Return what a contestant opens; the materialised ones open the shards that they were made of."""
        return self.files / name.removesuffix("-maps") / "structures"

    def convert(self) -> None:
        """Write the structures for each contestant, one after the other."""
        tables = list(self.source.tables())
        for name in self.names:
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            started = time.perf_counter()
            CONTESTANTS[name].convert(iter(tables), path)
            seconds = time.perf_counter() - started
            self.found[name]["convert_s"].append(seconds)
            self.found[name]["bytes_per_atom"].append(self._bytes(name) / self._atoms)
            print(f"  {CONTESTANTS[name].name:26} written in {seconds:7.1f} s", flush=True)

    def check(self) -> None:
        """Hash what each returns."""
        expected: dict[str, Any] = {}
        for name in self.names:
            found = self._measured(name, "values")
            found.pop("peak_mb")
            expected = expected or found
            wrong = [
                f"{how} {array}" for how in found for array in found[how] if found[how][array] != expected[how][array]
            ]
            if wrong:
                raise SystemExit(f"{CONTESTANTS[name].name} returns other values: {', '.join(wrong)}")
        print(f"  all {len(self.names)} return the same values, bit by bit", flush=True)

    def measure(self, repeats: int) -> None:
        """Time them all, again and again."""
        for number in range(1, repeats + 1):
            for name in self.names:
                found = self._measured(name, "random")
                ordered = self._measured(name, "ordered")
                assert ordered["structures"] == len(self.source)
                measured = {key: found[key] for key in ("first_batch_s", "random_ms", "peak_mb")}
                measured["ordered_s"] = ordered["ordered_s"]
                for key, value in measured.items():
                    self.found[name][key].append(value)
                print(
                    f"  round {number}: {CONTESTANTS[name].name:26} {found['random_ms']:9.2f} ms a batch, "
                    f"{ordered['ordered_s']:7.2f} s in order",
                    flush=True,
                )

    def table(self) -> list[dict[str, Any]]:
        """Return one row a contestant."""
        once = {"convert_s", "bytes_per_atom"}
        return [
            {
                "contestant": CONTESTANTS[name].name,
                **{key: values[0] if key in once else spread(values) for key, values in self.found[name].items()},
            }
            for name in self.names
        ]

    def _measured(self, name: str, what: str) -> dict[str, Any]:
        subprocess.run(["cat", *self._files(name)], stdout=subprocess.DEVNULL, check=True)
        command = [sys.executable, "-m", "benchmarks.storage.measure", name, self.path(name), self.rows, what]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _files(self, name: str) -> list[Path]:
        folder = self.path(name).parent
        if isinstance(CONTESTANTS[name], Materialised):
            folder = Path(self.environment["MLIPQ_CACHE"]) / "datasets" / open_dataset(self.path(name)).cache_key
        return [file for file in sorted(folder.rglob("*")) if file.is_file()]

    def _bytes(self, name: str) -> int:
        # an LMDB file is as long as its map, most of which takes no space: count what is taken
        return sum(min(file.stat().st_size, 512 * file.stat().st_blocks) for file in self._files(name))

    @property
    def _atoms(self) -> int:
        return int(self.source.atom_offsets[-1])


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table for people."""
    print(f"\n{'':26}{'ordered':>12}{'random 64':>12}{'first batch':>13}{'convert':>10}{'size':>12}{'peak':>10}")
    for row in rows:
        print(
            f"{row['contestant']:26}{row['ordered_s']['median']:10.2f} s{row['random_ms']['median']:9.2f} ms"
            f"{row['first_batch_s']['median']:11.2f} s{row['convert_s']:8.1f} s{row['bytes_per_atom']:7.1f} B/at"
            f"{row['peak_mb']['median']:7.0f} MB"
        )


def main() -> None:
    parser = source_parser(__doc__, 50_000)
    parser.add_argument("--work", type=Path, help="folder for all files, kept; default one that is removed")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    if "aselmdb" in given.only and importlib.util.find_spec("ase_db_backends") is None:
        parser.error("aselmdb needs ase-db-backends; it comes with mlipq's dev extra")
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        work = given.work or Path(temporary)
        for left in ("source", "files", "cache"):
            shutil.rmtree(work / left, ignore_errors=True)
        datasets = given.dataset or [labelled_samples(work)]
        source, n_copies = make_source(datasets, given.structures, work / "source")
        n_atoms = int(source.atom_offsets[-1])
        print(
            f"{len(source):,} structures, {n_atoms:,} atoms; {n_copies:,} are turned and perturbed copies", flush=True
        )
        comparison = Comparison(source, work, given.only)
        comparison.convert()
        comparison.check()
        comparison.measure(given.repeats)
    rows = comparison.table()
    settings = {
        "structures": len(source),
        "atoms": n_atoms,
        "copies": n_copies,
        "datasets": [path.name for path in datasets],
        "arrays": TRAINING,
        "batch": BATCH,
        "batches": BATCHES - 1,
        "cache_bytes": CACHE_BYTES,
        "page_cache": "every file read once before each measurement",
        "threads": 1,
    }
    peers = ("ase-db-backends", "lmdb") if "aselmdb" in given.only else ()
    write_results(given.results, "reading labelled structures", settings, versions(*PACKAGES, *peers), rows)
    show(rows)


if __name__ == "__main__":
    main()
