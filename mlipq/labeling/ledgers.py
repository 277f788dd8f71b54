"""What planning keeps beside the partitions: which structures it met, and those it left out."""

import errno
import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from mlipq.errors import IncompleteError
from mlipq.labeling.folder import Duplicate, Failure
from mlipq.store import unwritable
from mlipq.structures import Rejected, Structure


class Ledgers:
    """The structures that are not labelled: refused in reading, or met before."""

    def __init__(self, stage: Path) -> None:
        self.counts: Counter[str] = Counter(
            read=0, rejected=0, duplicates=0, conflicts=0, charge_default=0, spin_default=0
        )
        self._stage = stage
        with _full_disk_told(stage):
            self._rejected, self._duplicates = (
                (stage / name).open("w", encoding="utf-8") for name in ("rejected.jsonl", "duplicates.jsonl")
            )

    def reject(self, item: Rejected) -> None:
        self.counts["rejected"] += 1
        row = Failure(
            identity="",
            source_file=item.source_file,
            source_index=item.source_index,
            name=item.name,
            error=item.error,
            message=item.message,
            attempts=0,
            seconds=0.0,
        )
        self._write(self._rejected, row)

    def duplicate(self, identity: bytes, item: Structure, first: tuple[str, int, dict[str, str]]) -> None:
        self.counts["duplicates"] += 1
        source_file, source_index, labels = first
        own = _label_texts(item)
        differing = [
            f"{name}: {labels.get(name, 'missing')} there, {own.get(name, 'missing')} here"
            for name in sorted({*labels, *own})
            if labels.get(name) != own.get(name)
        ]
        self.counts["conflicts"] += bool(differing)
        row = Duplicate(
            identity=identity.hex(),
            source_file=item.source_file,
            source_index=item.source_index,
            first_source_file=source_file,
            first_source_index=source_index,
            conflict="; ".join(differing),
        )
        self._write(self._duplicates, row)

    def _write(self, file: TextIO, row: Failure | Duplicate) -> None:
        with _full_disk_told(self._stage):
            file.write(json.dumps(row.model_dump()) + "\n")  # ASCII: whatever a file's names hold comes back as it was

    def __enter__(self) -> "Ledgers":
        return self

    def __exit__(self, *_: object) -> None:
        with _full_disk_told(self._stage):
            for file in (self._rejected, self._duplicates):
                file.flush()
                os.fsync(file.fileno())
                file.close()


class Seen:
    """Which identities were met, on disk: memory stays flat however many there are."""

    def __init__(self, stage: Path) -> None:
        self._path = stage / "seen.sqlite"
        with _full_disk_told(stage):
            self._database = sqlite3.connect(self._path, isolation_level=None)
            self._database.execute("pragma journal_mode = off")
            self._database.execute("pragma synchronous = off")
            self._database.execute(
                "create table seen (identity blob primary key, file text, frame int, labels text) without rowid"
            )
            self._database.execute("begin")
        self._content = hashlib.sha256()
        self.names: set[str] = set()

    def add(self, identity: bytes, structure: Structure) -> tuple[str, int, dict[str, str]] | None:
        """Remember a structure; return where an equal one was met first, with its labels."""
        labels = json.dumps(_label_texts(structure)) if structure.reference else "{}"
        self._content.update(identity + labels.encode())
        self.names.update(structure.info, (f"reference/{name}" for name in structure.reference))
        row = (identity, structure.source_file, structure.source_index, labels)
        with _full_disk_told(self._path):
            if self._database.execute("insert or ignore into seen values (?, ?, ?, ?)", row).rowcount:
                return None
            found = self._database.execute(
                "select file, frame, labels from seen where identity = ?", (identity,)
            ).fetchone()
        return found[0], found[1], json.loads(found[2])

    def digest(self) -> str:
        """Hash of all identities and reference labels met, in order."""
        return self._content.hexdigest()

    def __enter__(self) -> "Seen":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._path.unlink(missing_ok=True)


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
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
