"""What a file is that lies anywhere: a stream of bytes from where one wants, or an error that says what came instead."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from mlipq.errors import IncompleteError, InputError

TIMEOUT_SETTING = "MLIPQ_TIMEOUT"
"""Environment variable: seconds after which a server that sends nothing, or next to nothing, is given up."""
BLOCK = 1 << 20
"""Bytes read at once."""


class TransferError(IncompleteError):
    """A file, or a part of it, did not come.

    Parameters
    ----------
    message
        Where, what was expected, what came.
    lasting
        True where asking the same place again will not help.
    wrong
        True where what came is not the file that was meant.
    """

    def __init__(self, message: str, *, lasting: bool = False, wrong: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting
        self.wrong = wrong


@dataclass(frozen=True)
class Reply:
    """Bytes of a file, on their way.

    Parameters
    ----------
    start
        Which byte comes first: that which was asked for, or 0 from a server that knows no ranges.
    size
        Of the whole file, where the server says it.
    blocks
        The bytes.
    """

    start: int
    size: int | None
    blocks: Iterator[bytes]


class RemoteFile(ABC):
    """One file somewhere. Threads may share it.

    Attributes
    ----------
    name
        What messages call it; without credentials.
    """

    name: str

    @abstractmethod
    def stream(self, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reply]:
        """Ask for bytes ``start`` to ``stop``, or to the end.

        Raises
        ------
        TransferError
            If they do not come; also from the reply's blocks.
        """


def timeout_seconds() -> float:
    """Return after how many seconds a silent server is given up: 30, or what ``MLIPQ_TIMEOUT`` says.

    Raises
    ------
    InputError
        If that is not a positive number.
    """
    text = os.environ.get(TIMEOUT_SETTING, "30")
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < float("inf"):
            return seconds
    raise InputError(f"{TIMEOUT_SETTING} is a number of seconds, as 30, not {text!r}")
