"""The failure ledger, ``failures.csv``: structures that are not in the dataset, and why."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mlipq.store.commit import committing
from mlipq.structures.options import Rejected

FAILURES = "failures.csv"
"""Name of the ledger in a dataset's folder."""

LEDGER_TEXT = 10_000
"""Characters of a name or message in the ledger."""


class Failure(BaseModel):
    """One row of the failure ledger."""

    model_config = ConfigDict(extra="forbid")

    identity: str
    source_file: str
    source_index: int
    name: str
    error: str
    message: str
    attempts: int
    seconds: float

    @classmethod
    def of(cls, item: Rejected) -> "Failure":
        """Return the row of a structure that was refused in reading."""
        return cls(
            identity="",
            source_file=item.source_file,
            source_index=item.source_index,
            name=item.name,
            error=item.error,
            message=item.message,
            attempts=0,
            seconds=0.0,
        )


def write_failures(path: Path, failures: Iterable[Failure]) -> Counter[str]:
    """Write the ledger row by row; return how often each class of failure occurs."""
    counts: Counter[str] = Counter()
    with committing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        writer = csv.DictWriter(text, list(Failure.model_fields), lineterminator="\n")
        writer.writeheader()
        for failure in failures:
            counts[failure.error] += 1
            writer.writerow({name: _one_line(value) for name, value in failure.model_dump().items()})
        text.detach()
    return counts


def _one_line(value: Any) -> Any:
    """Keep a text of the ledger on its line, in a length that every reader of CSV takes."""
    return " ".join(value.split())[:LEDGER_TEXT] if isinstance(value, str) else value
