"""Draws: which structures of the pool a run with this many DFT labels and this seed trains and validates on."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError

TRAIN, VALIDATION, REST = "train", "validation", "rest"
"""Parts of the split of a draw."""
TENTH = 10
"""One structure of so many is for validation."""

_PERSON = b"mlipq-bench-draw"
"""Keeps these orders apart from those by which splits are drawn, with the same seeds (BLAKE2's personalisation)."""


def split_name(size: int, seed: int) -> str:
    """Return the name of the split of a draw: ``n300-s0``."""
    return f"n{size}-s{seed}"


def draw(identities: NDArray[np.uint64], size: int, seed: int) -> NDArray[np.str_]:
    """Draw structures of the pool, a tenth of them for validation.

    Structures come in the order of a keyed hash of their identities, so that a draw depends on the pool and the seed alone, not on
    the order of the dataset, the machine or a library. Whether the i-th of them trains or validates depends on i alone: what a smaller
    draw of the same seed trains on, a larger one trains on too, and so with validation.

    Parameters
    ----------
    identities
        ``(n, 2)`` u8 of the structures to draw from, each once.
    size
        Structures to draw.
    seed
        Another one gives another draw.

    Returns
    -------
    NDArray[np.str_]
        ``(n,)``: ``train``, ``validation``, or ``rest`` for what is not drawn.

    Raises
    ------
    InputError
        If there are fewer structures, or too few of them are drawn for one to validate on.
    """
    if not TENTH <= size <= len(identities):
        raise InputError(
            f"size {size:,}: expected {TENTH} to {len(identities):,} structures, which is how many may be drawn; give another size"
        )
    parts = np.full(len(identities), REST, dtype="U10")
    drawn = np.array(_order(identities, seed)[:size])
    # the middle one of each ten: of any number of structures from 5 on, the nearest whole number to a tenth validates
    validates = np.arange(size) % TENTH == TENTH // 2 - 1
    parts[drawn[~validates]] = TRAIN
    parts[drawn[validates]] = VALIDATION
    return parts


def _order(identities: NDArray[np.uint64], seed: int) -> list[int]:
    """Return the rows in the order of the keyed hashes of their identities."""
    key = seed.to_bytes(16, "little")
    rows = np.ascontiguousarray(identities, dtype="<u8")
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=16, key=key, person=_PERSON).digest() for row in rows]
    return sorted(range(len(hashes)), key=hashes.__getitem__)
