"""Which structures were met before, on disk: memory stays flat however many there are."""

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlipq.errors import IncompleteError
from mlipq.store.commit import unwritable
from mlipq.structures.structure import Structure


class First(NamedTuple):
    """Where an equal structure was met first, and in which reference labels it differs, a text for each."""

    source_file: str
    source_index: int
    differing: list[str]


class Seen:
    """Identities and reference labels met so far; use as a context manager.

    Parameters
    ----------
    folder
        Where the database stands while it is used.

    Attributes
    ----------
    names
        Fields that the structures brought: ``smiles``, ``reference/pbe_energy``.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "seen.sqlite"
        with full_disk_told(folder):
            self._database = sqlite3.connect(self._path, isolation_level=None)
            self._database.execute("pragma journal_mode = off")
            self._database.execute("pragma synchronous = off")
            self._database.execute(
                "create table seen (identity blob primary key, file text, frame int, labels text) without rowid"
            )
            self._database.execute("begin")
        self._content = hashlib.sha256()
        self.names: set[str] = set()

    def add(self, identity: bytes, structure: Structure) -> First | None:
        """Remember a structure, unless an equal one was met: then return the first of these."""
        own = _label_texts(structure)
        labels = json.dumps(own) if own else "{}"
        self._content.update(identity + labels.encode())
        self.names.update(structure.info, (f"reference/{name}" for name in structure.reference))
        row = (identity, structure.source_file, structure.source_index, labels)
        with full_disk_told(self._path):
            if self._database.execute("insert or ignore into seen values (?, ?, ?, ?)", row).rowcount:
                return None
            file, frame, first = self._database.execute(
                "select file, frame, labels from seen where identity = ?", (identity,)
            ).fetchone()
        return First(file, frame, _differences(json.loads(first), own))

    def digest(self) -> str:
        """Hash of all identities and reference labels met, in order."""
        return self._content.hexdigest()

    def __enter__(self) -> "Seen":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._path.unlink(missing_ok=True)


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Turn what files and SQLite raise on a full disk into an error that names the path and says what to do."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error
    except sqlite3.OperationalError as error:
        reason = os.strerror(errno.ENOSPC) if error.sqlite_errorcode == sqlite3.SQLITE_FULL else error
        raise IncompleteError(
            f"{path} was not written: {reason}. Free some space and run the same command again."
        ) from error


def _label_texts(structure: Structure) -> dict[str, str]:
    """Reference labels in a form that can be compared and shown: numbers as they are, arrays by their hash."""
    texts = {}
    for name, value in structure.reference.items():
        array = np.asarray(value)
        texts[name] = (
            repr(array.item()) if array.ndim == 0 else f"array {hashlib.sha256(array.tobytes()).hexdigest()[:12]}"
        )
    return texts


def _differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name}: {there.get(name, 'missing')} there, {here.get(name, 'missing')} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
