"""Progress of a labeling job."""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from mlipq.cli.output import counted
from mlipq.cli.progress import RATE_WINDOW, TasksBar, duration, per_second
from mlipq.labeling.run import Watcher

if TYPE_CHECKING:
    from mlipq.labeling.folder import Plan


class JobProgress(TasksBar, Watcher):
    """How a labeling job gets on."""

    def __init__(self) -> None:
        super().__init__("reading")
        self._total = (0, 0.0)  # structures, predicted seconds
        self._done = (0, 0, 0, 0.0)  # structures, atoms, failed, predicted seconds
        self._history: deque[tuple[float, int, int, float]] = deque()
        self.did_nothing = False

    def planning(self, read: int) -> None:
        self.show(f"{read:,} structures read")

    def planned(self, plan: "Plan", missing: list[int], dashboard: str) -> None:
        todo = [plan.partitions[index] for index in missing]
        self._total = (sum(partition.n_structures for partition in todo), sum(partition.seconds for partition in todo))
        self.begin("labeling", self._total[1])
        kept = len(plan.partitions) - len(todo)
        self.say(
            f"labeling {counted(self._total[0], 'structure')} in {counted(len(todo), 'partition')}"
            + (f" (of {len(plan.partitions):,})" if kept else "")
            + (f"; dashboard {dashboard}" if dashboard else "")
        )
        self._history.append((time.monotonic(), 0, 0, 0.0))

    def progress(self, message: dict[str, Any]) -> None:
        structures, atoms, failed, cost = self._done
        self._done = (
            structures + message["structures"],
            atoms + message["atoms"],
            failed + message["failed"],
            cost + message["cost"],
        )
        now = time.monotonic()
        self._history.append((now, self._done[0], self._done[1], self._done[3]))
        while now - self._history[0][0] > RATE_WINDOW and len(self._history) > 2:
            self._history.popleft()
        self.show(self._text(), min(self._done[3], self._total[1]))

    def nothing_to_do(self) -> None:
        self.did_nothing = True

    def warn(self, message: str) -> None:
        self.say(f"warning: {message}", style="yellow")

    def _text(self) -> str:
        start, now = self._history[0], self._history[-1]
        seconds = max(now[0] - start[0], 1e-9)
        rate = (now[3] - start[3]) / seconds
        left = max(self._total[1] - self._done[3], 0.0) / rate if rate > 0 else 0.0
        return (
            f"{self._done[0]:,} of {self._total[0]:,} structures, {per_second((now[1] - start[1]) / seconds)} structures/s, "
            f"{per_second((now[2] - start[2]) / seconds)} atoms/s, {self._done[2]:,} failed, {duration(left)} left"
        )
