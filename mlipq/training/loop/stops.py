"""What ends a run early: signals, which wait for the end of a step; memory that is used up; a loss that is no number."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from mlipq.errors import IncompleteError
from mlipq.training.data.source import Taken

_NO_MEMORY = ("can't allocate memory", "not enough memory")
"""What torch's allocator for the CPU says; it has no class of its own for it."""


class Interrupts:
    """Notes the first Ctrl-C, SIGTERM or SIGHUP (a terminal that is closed) instead of obeying it. Use as a context manager.

    Where SIGHUP is ignored, as under ``nohup``, it stays so.

    Parameters
    ----------
    obey_second
        Obey the second Ctrl-C or SIGTERM. ``torchrun`` passes on to its processes what they may have had from elsewhere.

    Attributes
    ----------
    asked
        Whether one has come.
    """

    def __init__(self, obey_second: bool = True) -> None:
        self.asked = False
        self._obey_second = obey_second
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # in another one, signals are not ours
            hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
            self._before = {
                number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM, *hung_up)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._obey_second and number != signal.SIGHUP:  # of which both shell and system send one
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextmanager
def memory_explained(taken: Sequence[Taken]) -> Iterator[None]:
    """Say how large the batches were that there is no memory for."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        sizes = "; ".join(
            f"{part.source.name}: {part.batch.n_structures:,} structures, {part.batch.n_atoms:,} atoms, "
            f"{len(part.batch.senders):,} edges"
            for part in taken
        )
        raise IncompleteError(
            f"out of memory in a batch of {sizes}. Nothing is lost since the last checkpoint: resume where there is more memory, or "
            "begin a run with a smaller batch (batch: {edges: …} bounds it best)"
        ) from error


def not_finite(step: int, taken: Sequence[Taken], losses: Sequence[Tensor]) -> str:
    """Say which structures were in the batches whose loss is no finite number, or all where the gradient alone is none."""
    broken = [part for part, loss in zip(taken, losses) if not loss.isfinite()]
    named = []
    for part in broken or taken:
        names = part.source.dataset.batch(part.rows, ["name"])["name"]
        shown = ", ".join(f"{row} ({name})" if name else str(row) for row, name in zip(part.rows[:5].tolist(), names))
        named.append(f"{part.source.name}, structures {shown}{', …' if len(part.rows) > 5 else ''}")
    what = "the loss" if broken else "the gradient"
    return (
        f"{what} is no finite number at step {step + 1:,}, in the batch of {'; '.join(named)}. Look for labels that cannot be, or "
        "begin a run with a smaller learning_rate or clip; what was saved before is sound"
    )


def out_of_memory(error: BaseException) -> bool:
    """Return whether this is what happens where memory is used up, on a CPU or a GPU."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)
