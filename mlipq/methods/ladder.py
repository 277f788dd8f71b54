"""Climbing a ladder of SCF settings until one of them gives a solution."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from mlipq.errors import LabelError


class ScfFailure(Exception):
    """This attempt gave no label; ``error`` is its class for the ledger."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class Named(Protocol):
    """A rung: settings of one attempt."""

    @property
    def name(self) -> str:
        """What it does, in words."""
        ...


Rung = TypeVar("Rung", bound=Named)
Solution = TypeVar("Solution")


def climb(ladder: Sequence[Rung], attempt: Callable[[Rung], Solution]) -> tuple[int, Solution]:
    """Try the rungs of a ladder from the top until one gives a solution.

    Parameters
    ----------
    ladder
        Settings, in the order in which they are tried.
    attempt
        Returns a solution, or raises :class:`ScfFailure`.

    Returns
    -------
    int, Solution
        Number of the rung, from 0, and what it gave.

    Raises
    ------
    LabelError
        With the story of every rung, where none gave one; of the class ``unphysical`` where any rung ended so.
    """
    failures: list[ScfFailure] = []
    for number, rung in enumerate(ladder):
        try:
            return number, attempt(rung)
        except ScfFailure as failure:
            failures.append(failure)
    story = "; ".join(f"{rung.name}: {failure}" for rung, failure in zip(ladder, failures, strict=True))
    unphysical = [failure for failure in failures if failure.error == "unphysical"]
    raise LabelError((unphysical or failures)[0].error, story, attempts=len(ladder))
