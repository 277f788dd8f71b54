"""Which structures make the k-th batch, and which process works on which of them.

A batch is a pure function of the seed, of the structures to draw from and of its number: to go on from batch 5,000 takes the
number 5,000, and no batch depends on what else is trained on.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray


class Batches:
    """Batches of some structures: epoch after epoch all of them, each time in another random order.

    Parameters
    ----------
    costs
        ``(structures,)`` what each takes of the budget: 1, or its atoms, or its edges.
    budget
        Most that a batch may take; a structure above it makes a batch of its own.
    seed
        Numbers that the order follows from: the run's seed, and what tells these structures from others.

    Examples
    --------
    >>> batches = Batches(np.ones(7, dtype=np.int64), 3, [0])
    >>> [len(batches[k]) for k in range(4)], batches.steps_in(2)
    ([3, 2, 2, 3], 6)
    """

    def __init__(self, costs: NDArray[np.int64], budget: int, seed: list[int]) -> None:
        self._costs, self._budget, self._seed = costs, budget, seed
        self._equal = bool((costs == 1).all())
        self._starts = [0]  # of each epoch, as far as was asked for
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def __getitem__(self, k: int) -> NDArray[np.int64]:
        """Return the structures of batch ``k``, counted from 0, as positions among those drawn from."""
        epoch = self.epoch_of(k)
        return self._batches_of(epoch)[k - self._starts[epoch]]

    def epoch_of(self, k: int) -> int:
        """Return the epoch, counted from 0, that batch ``k`` belongs to."""
        while self._starts[-1] <= k:
            self._starts.append(self._starts[-1] + len(self._batches_of(len(self._starts) - 1)))
        return bisect_right(self._starts, k) - 1

    def epochs_in(self, steps: int) -> float:
        """Return how many epochs the first ``steps`` batches are."""
        epoch = self.epoch_of(steps)
        return epoch + (steps - self._starts[epoch]) / (self.steps_in(epoch + 1) - self._starts[epoch])

    def steps_in(self, epochs: int) -> int:
        """Return the number of batches in the first ``epochs``."""
        while len(self._starts) <= epochs:
            self.epoch_of(self._starts[-1])
        return self._starts[epochs]

    def _batches_of(self, epoch: int) -> list[NDArray[np.int64]]:
        if self._epoch[0] != epoch:
            order = np.random.default_rng([*self._seed, epoch]).permutation(len(self._costs))
            if self._equal:  # of sizes that differ by one at most, rather than a small last one with a large say
                cut = np.array_split(order, -(-len(order) // self._budget))
            else:
                cut = cut_full(order, self._costs[order], self._budget)
            self._epoch = (epoch, cut)
        return self._epoch[1]


def cut_full(order: NDArray[np.int64], costs: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Cut a sequence into batches, each as long as the budget lets it be, and of one at least.

    Parameters
    ----------
    order, costs
        ``(n,)`` what is cut, and what each takes of the budget.
    """
    ends = np.cumsum(costs)
    starts = [0]
    while starts[-1] < len(order):
        start = starts[-1]
        spent = ends[start - 1] if start else 0
        starts.append(max(start + 1, int(np.searchsorted(ends, spent + budget, side="right"))))
    return np.split(order, starts[1:-1]) if len(order) else []


def share(costs: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """Return the members of a batch that one of several processes works on: to each about the same cost.

    The largest is handed out first, each to the process that has least; the order within the batch is kept. A process may get
    none.

    Parameters
    ----------
    costs
        ``(n,)`` edges of each member.
    rank, world
        Number of the process, and how many there are.
    """
    if world == 1:
        return np.arange(len(costs))
    loads, owners = np.zeros(world), np.empty(len(costs), dtype=np.int64)
    for member in np.argsort(-costs, kind="stable"):
        owners[member] = loads.argmin()
        loads[owners[member]] += costs[member] + 1  # an atom alone is some work too
    return np.flatnonzero(owners == rank)
