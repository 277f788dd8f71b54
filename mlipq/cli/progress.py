"""Progress on standard error: a live bar in a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from mlipq.cli.output import error_console, printable
from mlipq.errors import IncompleteError

LINE_SECONDS = 10.0
"""Between plain lines."""
RATE_WINDOW = 60.0
"""Rates are those of about the last minute."""


class Bar:
    """A line that says how far a job is, and what it found so far below; use as a context manager.

    Parameters
    ----------
    doing
        What is being done, in a word: ``reading``.
    """

    def __init__(self, doing: str) -> None:
        self._console = error_console()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self._bar = _BarAndText(*columns, console=self._console, transient=True)
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

    def show(self, text: str, done: float = 0.0, found: str = "") -> None:
        """Say how far it is, in words and as a length, and what was found so far."""
        self._bar.below = found
        self._bar.update(self._task, completed=done, text=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say("; ".join(filter(None, (text, found))))

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        self._console.print(printable(text), style=style, highlight=False, markup=False, soft_wrap=True)


class TasksBar(Bar):
    """How tasks get on that workers do."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self.were_set_aside: list[str] = []
        self._workers = 1

    def workers(self, count: int) -> None:
        """So many workers are there now."""
        if bool(count) != bool(self._workers):
            self.say("workers are here" if count else "waiting for workers")
        self._workers = count

    def set_aside(self, reason: str) -> None:
        """A worker gets no more work."""
        self.were_set_aside.append(reason)
        self.say(f"worker set aside: {reason}", style="yellow")


class _BarAndText(Progress):
    """A bar, and lines of text below it."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(printable(self.below))


class TransferBar(Bar):
    """How many bytes have come."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self._doing = doing
        self._history: deque[tuple[float, int]] = deque()

    def at(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` bytes are there."""
        now = time.monotonic()
        if not self._history:
            self.begin(self._doing, total)
        self._history.append((now, done))
        while now - self._history[0][0] > RATE_WINDOW:
            self._history.popleft()
        start, before = self._history[0]
        rate = (done - before) / max(now - start, 1e-9)
        left = f"{duration((total - done) / rate)} left" if rate > 0 else "waiting"
        self.show(f"{self._amount(done, total, rate)}, {left}", done)

    def _amount(self, done: int, total: int, rate: float) -> str:
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB, {rate / 1e6:,.1f} MB/s"


class ReadingBar(TransferBar):
    """How many structures were read."""

    def _amount(self, done: int, total: int, rate: float) -> str:
        return f"{done:,} of {total:,} structures, {rate:,.0f} structures/s"


class ShardBar(TransferBar):
    """How many shards were checked."""

    def _amount(self, done: int, total: int, rate: float) -> str:
        return f"{done:,} of {total:,} shards, {rate:,.1f} shards/s"


@contextmanager
def starting_over() -> Iterator[None]:
    """Say of a verb that writes all or nothing, where it is interrupted, that it starts over: it is the exception."""
    try:
        yield
    except KeyboardInterrupt:
        raise IncompleteError("interrupted, nothing is written; the same command starts over") from None


def per_second(rate: float) -> str:
    """Return a rate as people read it: one below ten is not rounded to nothing."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


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
