"""Draw the structures of the labeling benchmarks from the source files named in README.md.

    python -m benchmarks.labeling.structures.build --source FOLDER

500 frames of each source, those whose text has the lowest SHA-256 after :data:`SEED`: at random, whatever their size or
what a calculation makes of them. Frames are copied verbatim and stay in source order. Equal sources give equal files (of equal
bytes, where zlib is the same).
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

from datasets.samples.build import frames, ranked, read_checked

SEED = b"mlipq labeling benchmark 1"
COUNT = 500
SOURCES = {
    "qm7": ("qm7/qm7.extxyz.gz", "ef3f9b2b59b85308de4ae7359e44dddef7180d8336e4d96383c05bdadffc1bba"),
    "tmqm": ("tmqm/tmqm_86k.extxyz.gz", "95ff640344ecf14e41fcf57da4446d1201577a8ad4132661bc4774d66a7d1df2"),
}
"""Path below the folder of sources, and sha256, by the name of the file that is drawn."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder that holds the source files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write (default: here)")
    arguments = parser.parse_args()
    for name, (path, sha256) in SOURCES.items():
        everything = list(frames(read_checked(arguments.source / path, sha256)))
        drawn = set(map(id, sorted(everything, key=ranked(SEED))[:COUNT]))
        chosen = [frame for frame in everything if id(frame) in drawn]
        text = "".join(frame.text for frame in chosen)
        (arguments.out / f"{name}.extxyz.gz").write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        sizes = [frame.n_atoms for frame in chosen]
        shown = " ".join(f"{size:.0f}" for size in np.quantile(sizes, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]))
        print(f"{name}: {len(chosen)} of {len(everything)}; atoms at 0, 5, 25, 50, 75, 95, 100 %: {shown}")


if __name__ == "__main__":
    main()
