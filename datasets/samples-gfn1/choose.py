"""Choose 2,000 qm7 molecules for the bundled dataset, those of the bundled samples among them.

    python datasets/samples-gfn1/choose.py qm7.extxyz.gz chosen.extxyz.gz

400 are from the test part of ``qm7-gfn1``'s split and 1,600 from its pool, and ``split`` in each frame says so: what is a test
molecule there is none to train on here. Those whose text has the lowest SHA-256 after :data:`SEED` are chosen. Frames
stay in source order.
"""

import gzip
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import mlipq
from datasets.samples.build import Frame, frames, ranked

SEED = b"mlipq samples-gfn1 1"
COUNTS = {"test": 400, "pool": 1600}
DATASETS = Path(__file__).parents[1]


def main() -> None:
    """Write the chosen molecules."""
    source, target = map(Path, sys.argv[1:])
    qm7 = mlipq.open_dataset(DATASETS / "qm7-gfn1" / "1.0.0")
    everything = list(frames(gzip.decompress(source.read_bytes()).decode()))
    bundled = {f.text for f in frames(gzip.decompress((DATASETS / "samples" / "qm7.extxyz.gz").read_bytes()).decode())}
    chosen: dict[int, Frame] = {}
    rank = ranked(SEED)
    for part, count in COUNTS.items():
        rows = qm7.select(split=part)["source_index"][:].tolist()
        first = sorted(rows, key=lambda row: (everything[row].text not in bundled, rank(everything[row])))[:count]
        for row in first:
            n_atoms, comment, atoms = everything[row].text.split("\n", 2)
            chosen[row] = Frame(f"{n_atoms}\n{comment} split={part}\n{atoms}")
    text = "".join(chosen[row].text for row in sorted(chosen))
    target.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
