"""Who hears of Ctrl-C: a terminal sends it to all processes and to any thread, and libraries take it for themselves."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def interrupts_spared() -> Iterator[None]:
    """Keep SIGINT from this thread, and from all threads and processes started meanwhile."""
    resource_tracker.ensure_running()  # its own start would let SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupts_unclaimed() -> Iterator[None]:
    """Undo what a library, while it is imported, makes of SIGINT for the whole program."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before:  # any thread may look, the main thread alone may set
            signal.signal(signal.SIGINT, before)
