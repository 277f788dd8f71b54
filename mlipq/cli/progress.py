"""Progress of a labeling job: a live bar in a terminal, plain lines elsewhere."""

import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from mlipq.labeling.folder import Plan
from mlipq.labeling.run import Watcher

LINE_SECONDS = 10.0
"""Between plain lines."""
RATE_WINDOW = 60.0
"""Rates are those of about the last minute."""


class JobProgress(Watcher):
    """Show how a job gets on; use as a context manager.

    Parameters
    ----------
    console
        Where to draw; standard error, so that ``--json`` keeps standard output to itself.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("reading", total=None, text="")
        self._total = (0, 0.0)  # structures, predicted seconds
        self._done = (0, 0, 0, 0.0)  # structures, atoms, failed, predicted seconds
        self._history: deque[tuple[float, int, int, float]] = deque()
        self._last_line = time.monotonic()
        self.did_nothing = False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def planning(self, read: int) -> None:
        self._show(f"{read:,} structures read")

    def planned(self, plan: Plan, missing: list[int], dashboard: str) -> None:
        todo = [plan.partitions[index] for index in missing]
        self._total = (sum(partition.n_structures for partition in todo), sum(partition.seconds for partition in todo))
        self._bar.update(self._task, description="labeling", total=self._total[1])
        kept = len(plan.partitions) - len(todo)
        self._console.print(
            f"labeling {self._total[0]:,} structures in {len(todo):,} partitions"
            + (f" ({kept:,} are done already)" if kept else "")
            + (f"; dashboard {dashboard}" if dashboard else ""),
            highlight=False,
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
        self._bar.update(self._task, completed=min(self._done[3], self._total[1]))
        self._show(self._text())

    def nothing_to_do(self) -> None:
        self.did_nothing = True

    def warn(self, message: str) -> None:
        self._console.print(f"warning: {message}", style="yellow", highlight=False)

    def _text(self) -> str:
        start, now = self._history[0], self._history[-1]
        seconds = max(now[0] - start[0], 1e-9)
        rate = (now[3] - start[3]) / seconds
        left = max(self._total[1] - self._done[3], 0.0) / rate if rate > 0 else 0.0
        return (
            f"{self._done[0]:,} of {self._total[0]:,} structures, {(now[1] - start[1]) / seconds:,.0f} structures/s, "
            f"{(now[2] - start[2]) / seconds:,.0f} atoms/s, {self._done[2]:,} failed, {duration(left)} left"
        )

    def _show(self, text: str) -> None:
        self._bar.update(self._task, text=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(text, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Write a time as ``4 s``, ``3 min 20 s`` or ``5 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
