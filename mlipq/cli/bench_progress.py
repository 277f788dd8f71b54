"""Progress of a suite: over all runs of a stage, whichever process trains them."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from mlipq.bench.launch import Watcher
from mlipq.bench.plan import BenchRun
from mlipq.cli.output import counted
from mlipq.cli.progress import RATE_WINDOW, TasksBar, duration


class BenchProgress(TasksBar, Watcher):
    """How a suite gets on: runs done, steps a second of all of them together, and the time left."""

    def __init__(self) -> None:
        super().__init__("preparing")
        self._runs, self._done = 0, 0
        self._total = 0.0  # cost of what is to be trained
        self._kept = 0.0  # of it, what an earlier sitting had trained
        self._now = (0, 0.0)  # steps, cost
        self._history: deque[tuple[float, int, float]] = deque()
        self._last = ""
        self.did_nothing = False

    def preparing(self, what: str, done: int, total: int) -> None:
        self.begin(f"preparing {what}", total)
        self.show(f"{done:,} of {total:,} structures", done)

    def note(self, message: str) -> None:
        self.say(message)

    def planned(self, stage: str, todo: Sequence[BenchRun], done: int) -> None:
        self._runs, self._done = len(todo) + done, done
        self._total, self._kept, self._now = float(sum(run.cost for run in todo)), 0.0, (0, 0.0)
        self._history = deque([(time.monotonic(), 0, 0.0)])
        self.begin(stage, self._total)
        already = f", {done:,} done before" if done else ""
        lengths = [run.config.training.steps for run in todo]
        steps = f" of {sum(filter(None, lengths)):,} steps in all" if all(lengths) else ""
        self.say(f"{stage}: {counted(len(todo), 'run')}{steps}{already}")

    def progress(self, message: dict[str, Any]) -> None:
        if message["kept"]:
            self._kept += message["cost"]
        else:
            steps, cost = self._now
            self._now = (steps + message["steps"], cost + message["cost"])
        self._tell()

    def finished(self, run: BenchRun, summary: dict[str, Any]) -> None:
        self._done += 1
        kind, error = ("test", summary["mae"]) if "mae" in summary else ("validation", summary["validation_mae"])
        self._last = f"{run.id}: {error:.4g} {summary['unit']} on {kind} structures"
        self._tell()

    def failed(self, run: BenchRun, error: Exception) -> None:
        self.say(f"{run.id} failed: {error}", style="yellow")

    def nothing_to_do(self) -> None:
        self.did_nothing = True

    def _tell(self) -> None:
        now = time.monotonic()
        self._history.append((now, *self._now))
        while now - self._history[0][0] > RATE_WINDOW and len(self._history) > 2:
            self._history.popleft()
        start, steps, cost = self._history[0]
        seconds, done = max(now - start, 1e-9), self._now[1] + self._kept
        rate = (self._now[1] - cost) / seconds
        left = duration(max(self._total - done, 0.0) / rate) if rate > 0 else "?"
        text = f"{self._done:,} of {self._runs:,} runs, {(self._now[0] - steps) / seconds:,.1f} steps/s, {left} left"
        self.show(text, done, self._last)
