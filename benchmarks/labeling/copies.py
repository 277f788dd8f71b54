"""As many different structures as a benchmark wants: copies of real ones, each with atoms displaced a little at random."""

from itertools import cycle, islice
from pathlib import Path

import numpy as np

from datasets.samples.build import Frame

DISPLACEMENT = 0.02
"""Standard deviation in Å: bonds stay bonds."""


def write_copies(structures: list[Frame], count: int, path: Path) -> Path:
    """Write ``count`` displaced copies of these structures in turn, with their comments; the same ones each time.

    Columns beyond symbol and positions are dropped, so the comments must not describe any.
    """
    random = np.random.default_rng(seed=0)
    with path.open("w") as file:
        for frame in islice(cycle(structures), count):
            words = [line.split() for line in frame.lines[2:]]
            positions = np.array([row[1:4] for row in words], dtype=float)
            positions += random.normal(scale=DISPLACEMENT, size=positions.shape)
            rows = (f"{row[0]} {x:.6f} {y:.6f} {z:.6f}\n" for row, (x, y, z) in zip(words, positions, strict=True))
            file.write(f"{frame.lines[0]}\n{frame.lines[1]}\n{''.join(rows)}")
    return path
