"""The rows with the largest scores among any number, kept in flat memory."""

import numpy as np
from numpy.typing import NDArray


class Ranking:
    """The ``keep`` rows of largest score; of equal scores the first row.

    Attributes
    ----------
    rows, scores
        Best first.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.scores: NDArray[np.float64] = np.empty(0)

    def add(self, rows: NDArray[np.int64], scores: NDArray) -> None:
        """Take in more rows, none seen before; scores that are not finite, or not above zero, do not count."""
        scores = scores.astype(np.float64)
        counted = np.isfinite(scores) & (scores > 0)
        rows = np.concatenate([self.rows, rows[counted]])
        scores = np.concatenate([self.scores, scores[counted]])
        best = np.lexsort((rows, -scores))[: self.keep]
        self.rows, self.scores = rows[best], scores[best]
