"""Rows by identity: sorted once, then found at once."""

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.structures.structure import identity_words


class IdentityIndex:
    """Where structures are, by their identities.

    Parameters
    ----------
    identities
        ``(structures, 2)`` u8, as datasets store them.
    """

    def __init__(self, identities: NDArray[np.uint64]) -> None:
        self._identities = identities
        self._order = np.argsort(identities[:, 0], kind="stable")

    def row(self, identity: bytes | str) -> int | None:
        """Return the first row with this identity (16 bytes, or 32 hex digits), or ``None``.

        Raises
        ------
        InputError
            If it is not an identity.
        """
        try:
            digest = bytes.fromhex(identity) if isinstance(identity, str) else bytes(identity)
        except ValueError:
            digest = b""
        if len(digest) != 16:
            raise InputError(f"an identity is 16 bytes or 32 hex digits, not {identity!r}")
        words = identity_words(digest)
        column = self._identities[:, 0]
        first, last = (np.searchsorted(column, words[0], side=side, sorter=self._order) for side in ("left", "right"))
        matches = [int(row) for row in self._order[first:last] if self._identities[row, 1] == words[1]]
        return min(matches, default=None)
