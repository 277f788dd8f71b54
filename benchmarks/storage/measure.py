"""Measure one contestant in this process, and print what was found as JSON.

    python -m benchmarks.storage.measure CONTESTANT PATH ROWS.npy {random|ordered|values}

``random`` reads the batches of rows in ``ROWS.npy``, ``(batches, 64)``; ``ordered`` reads everything once in order; both add
up every value of what they read, so that none is left unread. ``values`` hashes what the two return instead.
"""

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import hashlib  # noqa: E402
import json  # noqa: E402
from collections.abc import Iterable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from benchmarks.storage.contestants import CONTESTANTS, PER_ATOM, TRAINING, Arrays, Contestant  # noqa: E402


def read_at_random(contestant: Contestant, batches: np.ndarray) -> dict[str, Any]:
    total = touch(contestant.batch(batches[0]))
    first = time.perf_counter() - STARTED
    started = time.perf_counter()
    for rows in batches[1:]:
        total += touch(contestant.batch(rows))
    return {
        "first_batch_s": first,
        "random_ms": 1e3 * (time.perf_counter() - started) / (len(batches) - 1),
        "sum": total,
    }


def read_in_order(contestant: Contestant) -> dict[str, Any]:
    started = time.perf_counter()
    total, structures = 0.0, 0
    for arrays in contestant.epoch():
        total += touch(arrays)
        structures += len(arrays["charge"])
    return {"ordered_s": time.perf_counter() - started, "structures": structures, "sum": total}


def hash_values(contestant: Contestant, batches: np.ndarray) -> dict[str, Any]:
    return {
        "random": digests(contestant.batch(rows) for rows in batches[:20]),
        "ordered": digests(contestant.epoch()),
    }


def touch(arrays: Arrays) -> float:
    """Read every value."""
    return sum(float(arrays[name].sum(dtype="f8")) for name in TRAINING)


def digests(batches: Iterable[Arrays]) -> dict[str, str]:
    """Hash each array over all batches, however it is cut into them; the number of atoms stands for the offsets."""
    hashes = {name: hashlib.blake2b(digest_size=16) for name in (*TRAINING, "atoms")}
    for arrays in batches:
        for name in TRAINING:
            hashes[name].update(np.ascontiguousarray(arrays[name]).tobytes())
        counts = np.diff(arrays["atom_offsets"]).astype("<i8")
        assert all(len(arrays[name]) == (counts.sum() if name in PER_ATOM else len(counts)) for name in TRAINING)
        hashes["atoms"].update(counts.tobytes())
    return {name: found.hexdigest() for name, found in hashes.items()}


def peak_mb() -> float:
    """Return the most memory that this process held, files that it mapped among it; ``getrusage`` counts its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("path", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("what", choices=["random", "ordered", "values"])
    given = parser.parse_args()
    contestant, batches = CONTESTANTS[given.contestant], np.load(given.rows)
    contestant.open(given.path)
    if given.what == "random":
        found = read_at_random(contestant, batches)
    elif given.what == "ordered":
        found = read_in_order(contestant)
    else:
        found = hash_values(contestant, batches)
    print(json.dumps({**found, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
