"""Which workers of a cluster can be relied on, while tasks run on it."""

import time
from collections import Counter
from concurrent.futures import CancelledError
from typing import Any

from mlipq.errors import IncompleteError
from mlipq.labeling.clusters.cluster import Cluster

STRIKES = 2
"""A worker that fails this often is set aside."""
LOOK_SECONDS = 1.0
"""Between two looks at the cluster while nothing comes back."""


class RunWatcher:
    """Hears how a run of tasks gets on; the base class says nothing."""

    def progress(self, message: dict[str, Any]) -> None:
        """What a task reports while it runs."""

    def workers(self, count: int) -> None:
        """So many workers are there now."""

    def set_aside(self, reason: str) -> None:
        """A worker failed repeatedly and gets no more work: which one, where, and why."""


class Health:
    """Which workers can be relied on."""

    def __init__(self, cluster: Cluster, watcher: RunWatcher) -> None:
        self._cluster, self._watcher = cluster, watcher
        self._strikes: Counter[str] = Counter()
        self._reasons: list[str] = []
        self._set_aside: set[str] = set()
        self._set_aside_in_a_row = 0
        self._workers = -1
        self._looked = 0.0
        self.look()

    def most(self) -> int:
        """The most workers that there may be; of a cluster that somebody else scales, a few more than there are."""
        if time.monotonic() - self._looked > 5 * LOOK_SECONDS:
            self.look()
        return self._cluster.most or self._workers + 1

    def look(self) -> None:
        """Count the workers.

        Raises
        ------
        IncompleteError
            If there are none and none will come.
        """
        self._looked = time.monotonic()
        try:
            workers = len(self._cluster.workers() - self._set_aside)
        except (OSError, CancelledError):  # of a scheduler out of reach
            return
        if workers != self._workers:
            self._workers = workers
            self._watcher.workers(workers)
        if self._cluster.troubles:
            raise IncompleteError(
                f"no workers: {self._cluster.troubles[-1]}\nWhat is done is kept; the same command goes on"
            )
        all_sick = 0 < self._cluster.most <= self._set_aside_in_a_row
        if self._reasons and (all_sick or not (workers or self._cluster.replaces)):
            listed = "\n".join(f"  {reason}" for reason in self._reasons[-5:])
            raise IncompleteError(
                f"no worker is left that can work; what is done is kept:\n{listed}\nMend this, and run the same command to go on"
            )

    def strike(self, worker_failed: str, worker: str, name: str | int, host: str) -> None:
        """Count a failure that is the worker's own, and set it aside for the second one."""
        self._strikes[worker] += 1
        if self._strikes[worker] == STRIKES:
            reason = f"{worker} on {host}: {worker_failed}"
            self._reasons.append(reason)
            self._set_aside.add(worker)  # Dask does not let the last one go, with what it holds
            self._set_aside_in_a_row += 1
            self._watcher.set_aside(reason)
            self._cluster.set_aside(worker, name)
            self.look()

    def well(self, worker: str) -> None:
        """Count a task that a worker did."""
        self._set_aside_in_a_row = 0
        self._strikes.pop(worker, None)
