"""As many different structures as a benchmark wants: copies of real ones, each with atoms displaced a little at random."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from datasets.samples.build import Frame

DISPLACEMENT = 0.02
"""Standard deviation in Å: bonds stay bonds."""


def write_copies(structures: list[Frame], count: int, path: Path) -> Path:
    """Write the text of :func:`copies` to a file."""
    with path.open("w") as file:
        file.writelines(copies(structures, count))
    return path


def copies(structures: list[Frame], count: int) -> Iterator[str]:
    """Yield the text of ``count`` displaced copies of these structures in turn, with their comments; the same ones each time.

    Columns beyond symbol and positions are dropped, so the comments must not describe any.
    """
    random = np.random.default_rng(seed=0)
    for text, positions in islice(cycle([_template(frame) for frame in structures]), count):
        moved = positions + random.normal(scale=DISPLACEMENT, size=positions.shape)
        yield text % tuple(moved.ravel().tolist())


def _template(frame: Frame) -> tuple[str, np.ndarray]:
    """Cut a frame into its positions and the text around them: to fill it in is three times faster than to write it anew."""
    words = [line.split() for line in frame.lines[2:]]
    rows = "".join(f"{row[0]} %.6f %.6f %.6f\n" for row in words)
    comment = frame.lines[1].replace("%", "%%")
    return f"{frame.lines[0]}\n{comment}\n{rows}", np.array([row[1:4] for row in words], dtype=float)
