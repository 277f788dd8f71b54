"""Read an extended XYZ file with ASE alone, in the fastest way that it has: blocks of frames from memory.

python benchmarks/labeling/ase_reader.py molecules.extxyz
"""

import sys
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path

import ase.io

BLOCK_FRAMES = 300


def blocks(path: Path) -> Iterator[str]:
    """Cut the text into blocks of frames: ASE scans what it is given and seeks back, which is slow in a large file."""
    with path.open() as file:
        frames = (first + "".join(islice(file, int(first) + 1)) for first in iter(file.readline, ""))
        while block := "".join(islice(frames, BLOCK_FRAMES)):
            yield block


def main() -> None:
    count = sum(1 for text in blocks(Path(sys.argv[1])) for _ in ase.io.iread(StringIO(text), ":", format="extxyz"))
    print(count)


if __name__ == "__main__":
    main()
