"""What an exporter is."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from mlipq.errors import InputError
from mlipq.formats import EXPORTERS
from mlipq.store.exporters.labels import Labels
from mlipq.store.reader.dataset import Dataset

Progress = Callable[[int, int], None]
"""Called with the number of structures done, and of all."""

PROGRESS_EVERY = 200
"""Structures, for writers that go one by one: a shard of theirs takes minutes."""


@dataclass(frozen=True)
class Exporter:
    """A target format.

    Parameters
    ----------
    title
        What it is, for people.
    write
        Writes a dataset into an empty folder, or to a file that does not exist yet; returns the structures written.
    suffix
        Of the file that it writes; empty where it writes a folder.
    energy
        Whether one array becomes *the* energy there: ``one`` (where there are several, the user says which), ``named``
        (where the user names one), ``kept`` (every array keeps its name, also the one that the user names).
    """

    title: str
    write: Callable[[Dataset, Path, Labels, Progress], int]
    suffix: str
    energy: Literal["one", "named", "kept"]


def exporter_of(to: str) -> Exporter:
    """Return the exporter of a format.

    Raises
    ------
    InputError
        If there is none of this name; the message lists them.
    """
    if to not in EXPORTERS:
        raise InputError(f"unknown format {to!r}; mlipq exports to {', '.join(EXPORTERS)}")
    exporter: Exporter = import_module(f"mlipq.store.exporters.{to}").EXPORTER
    return exporter
