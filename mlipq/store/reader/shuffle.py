"""Batches in random order at about the cost of reading in order: blocks of neighbours are read, many mixed at a time.

Structures that are neighbours in a dataset share chunks, so reading them one by one in random order unpacks, or moves over a
network, each chunk many times. Here blocks of consecutive structures are read in random order, :data:`MIXED` blocks at a time,
and these structures are put into random order. A dataset that fits in one such window is shuffled throughout. In a larger one
the blocks of a window are a random sample, but neighbours stay in one window; ``docs/reading.md`` says what was measured.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.store.table import Table

BLOCK = 512
"""Consecutive structures that are read together. Of those measured it is the smallest at which less than three times a block's own
bytes are moved where it is all that is read of a shard of molecules (``benchmarks/storage/shuffle.py`` and ``streaming.py``)."""

MIXED = 64
"""Blocks that are in memory together."""


def batches(
    take: Callable[[NDArray[np.int64]], Table], n: int, size: int, block: int, mixed: int, seed: int | None
) -> Iterator[Table]:
    """Yield all of ``n`` structures once, in tables of ``size``, the last with what is left.

    Parameters
    ----------
    take
        Returns the structures of these rows; called once a window.
    n, size, block, mixed, seed
        As in :meth:`mlipq.store.reader.dataset.Dataset.batches`.

    Raises
    ------
    InputError
        If a number is too small.
    """
    least = {"size": (size, 1), "block": (block, 1), "mixed": (mixed, 1), "seed": (seed or 0, 0)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise InputError(f"{name} should be {minimum} or more, not {value}")
    return _cut(take, windows(n, block, mixed, seed), size)


def windows(n: int, block: int, mixed: int, seed: int | None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows of each window, ascending, and the order in which to use them: each of ``n`` rows comes once."""
    starts = np.arange(0, n, block)
    rng = np.random.default_rng(seed)
    if seed is not None:
        rng.shuffle(starts)
    for first in range(0, len(starts), mixed):
        chosen = np.sort(starts[first : first + mixed])
        rows = np.concatenate([np.arange(start, min(start + block, n)) for start in chosen])
        yield rows, np.arange(len(rows)) if seed is None else rng.permutation(len(rows))


def _cut(
    take: Callable[[NDArray[np.int64]], Table],
    windows: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]],
    size: int,
) -> Iterator[Table]:
    pieces: list[Table] = []
    lacking = size
    for rows, order in windows:
        window = take(rows)
        while len(order):
            pieces.append(window.take(order[:lacking]))
            order = order[lacking:]
            lacking -= len(pieces[-1])
            if not lacking:
                yield Table.concatenate(pieces)
                pieces, lacking = [], size
        del window  # so that it does not stand in memory beside the next one
    if pieces:
        yield Table.concatenate(pieces)
