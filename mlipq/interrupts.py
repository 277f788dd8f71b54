"""Ctrl-C for one process alone: a terminal sends it to all, and to any thread that does not block it."""

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
