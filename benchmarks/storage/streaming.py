"""Measure the bytes that streaming moves: a published dataset, read over HTTP from this machine.

    python -m benchmarks.storage.streaming [--dataset VERSION_FOLDER] [--structures N] [--repeats TIMES]

Without ``--structures`` the dataset's own shards are served. With it, structures of the dataset and turned copies of them are put
into shards of the published size first (see ``structures.py``). What a request moves is what its answer has, headers included.
It is set against what the structures take in memory, and against their share of the bytes that the same arrays take in the shards.
"""

import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import mlipq
from benchmarks.harness import spread, versions, write_results
from benchmarks.storage.structures import make_source, source_parser
from mlipq.store import Dataset, open_dataset
from mlipq.store.manifest import MANIFEST
from mlipq.store.reader.shuffle import BLOCK, MIXED
from mlipq.store.shards.source import LocalFile
from mlipq.store.shards.zip_entries import Tail, zip_entries

ROOT = Path(__file__).parents[2]
DATASET = ROOT / "datasets" / "qm7-gfn1" / "1.0.0"
RESULTS = Path(__file__).parent / "results" / "streaming.json"
BATCH = 256
TRAINING = ["atomic_numbers", "positions", "gfn1/energy", "gfn1/forces", "gfn1/orbital_charges", "gfn1/orbital_moments"]


class Server(ThreadingHTTPServer):
    """Files of a folder over HTTP, by ranges; it counts what it sends."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}/{MANIFEST}"
        self.n_bytes = self.n_requests = 0
        self._lock = threading.Lock()

    def count(self, n_bytes: int) -> None:
        """Note one answer."""
        with self._lock:
            self.n_bytes += n_bytes
            self.n_requests += 1


class Handler(BaseHTTPRequestHandler):
    """Answers one request for a file, or a range of it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        data = (self.server.folder / self.path.lstrip("/")).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = (int(asked[1]), int(asked[2] or len(data) - 1) + 1) if asked else (0, len(data))
        head = f"HTTP/1.1 {'206 Partial Content' if asked else '200 OK'}\r\nContent-Length: {stop - start}\r\n"
        if asked:
            head += f"Content-Range: bytes {start}-{stop - 1}/{len(data)}\r\n"
        answer = f"{head}\r\n".encode() + data[start:stop]
        self.server.count(len(answer))  # before who asked can go on
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Serve a folder while in the block."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def stored_bytes(dataset: Dataset, names: list[str]) -> int:
    """Return what the chunks of some arrays take in the shards, ``atom_offsets`` among them."""
    total = 0
    for path in dataset.files:
        file = LocalFile(path)
        for name, entry in zip_entries(Tail(file)).items():
            if name.partition("/c/")[0] in ("atom_offsets", *names) and "/c/" in name:
                total += entry.stop - entry.start
        file.close()
    return total


def moved(server: Server, names: list[str], read: Callable[[Dataset, list[str]], Iterator[dict]]) -> dict[str, float]:
    """Open the dataset anew, read from it, and return what was moved, against what came."""
    dataset = mlipq.open_dataset(server.url, stream=True)
    server.n_bytes = server.n_requests = 0  # the manifest aside
    memory = structures = 0
    for batch in read(dataset, names):
        memory += sum(values.nbytes for values in batch.values())
        structures += len(batch["atom_offsets"]) - 1
    share = stored_bytes(open_dataset(server.folder), names) * structures / len(dataset)
    return {
        "times_in_memory": server.n_bytes / memory,
        "times_in_shards": server.n_bytes / share,
        "requests": server.n_requests,
    }


def readings(
    n: int, rng: np.random.Generator, batch: int = BATCH
) -> dict[str, Callable[[Dataset, list[str]], Iterator[dict]]]:
    """Return what is read: all in shuffled batches, or one batch where nothing was read before."""

    def neighbours(size: int) -> Callable[[Dataset, list[str]], Iterator[dict]]:
        def read(dataset: Dataset, names: list[str]) -> Iterator[dict]:
            start = int(rng.integers(n // size)) * size
            yield dataset.batch(slice(start, start + size), names)

        return read

    def anywhere(dataset: Dataset, names: list[str]) -> Iterator[dict]:
        yield dataset.batch(rng.choice(n, batch, replace=False), names)

    return {
        f"an epoch of batches of {batch}": lambda dataset, names: dataset.batches(batch, names, seed=0),
        f"one block of {2 * batch}": neighbours(2 * batch),
        f"one block of {batch}": neighbours(batch),
        f"{batch} structures from anywhere": anywhere,
    }


def main() -> None:
    parser = source_parser(__doc__, 0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    paths = given.dataset or [DATASET]
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        folder, n_copies = paths[0], 0
        if given.structures:
            folder = Path(temporary) / "source"
            made, n_copies = make_source(paths, given.structures, folder)
            assert made.manifest is not None
            made.manifest.model_copy(update={"name": "source", "version": "1.0.0"}).write(folder / MANIFEST)
        here = open_dataset(folder)
        rng = np.random.default_rng(0)
        rows: list[dict[str, Any]] = []
        with served(folder) as server:
            for what, read in readings(len(here), rng).items():
                repeats = 1 if what.startswith("an epoch") else given.repeats
                found = [moved(server, TRAINING, read) for _ in range(repeats)]
                rows.append({"contestant": what, **{name: spread([one[name] for one in found]) for name in found[0]}})
                print(rows[-1], flush=True)
        settings = {
            "structures": len(here),
            "shards": len(here.files),
            "mb_of_a_shard": round(sum(file.stat().st_size for file in here.files) / len(here.files) / 1e6, 1),
            "copies": n_copies,
            "datasets": ["/".join(path.resolve().parts[-2:]) for path in paths],
            "arrays": TRAINING,
            "default_block": BLOCK,
            "blocks_mixed": MIXED,
        }
    write_results(given.results, "bytes moved by streaming", settings, versions("mlipq", "numpy", "urllib3"), rows)


if __name__ == "__main__":
    main()
