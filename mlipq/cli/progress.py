"""Progress on standard error: a live bar in a terminal, plain lines elsewhere."""

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from mlipq.cli.output import counted, error_console
from mlipq.labeling.run import Watcher

if TYPE_CHECKING:
    from mlipq.labeling.folder import Plan

LINE_SECONDS = 10.0
"""Between plain lines."""
RATE_WINDOW = 60.0
"""Rates are those of about the last minute."""


class Bar:
    """One line that says how far a job is; use as a context manager.

    Parameters
    ----------
    doing
        What is being done, in a word: ``reading``.
    """

    def __init__(self, doing: str) -> None:
        self._console = error_console()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(doing, total=None, text="")
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def begin(self, doing: str, total: float) -> None:
        """Go over to something else, of which ``total`` is to be done."""
        self._bar.update(self._task, description=doing, total=total, completed=0)

    def show(self, text: str, done: float = 0.0) -> None:
        """Say how far it is, in words and as a length."""
        self._bar.update(self._task, completed=done, text=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(text)

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        self._console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


class JobProgress(Bar, Watcher):
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
            f"{self._done[0]:,} of {self._total[0]:,} structures, {(now[1] - start[1]) / seconds:,.0f} structures/s, "
            f"{(now[2] - start[2]) / seconds:,.0f} atoms/s, {self._done[2]:,} failed, {duration(left)} left"
        )


def duration(seconds: float) -> str:
    """Write a time as ``0.4 s``, ``40 s``, ``3 min 20 s`` or ``5 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
