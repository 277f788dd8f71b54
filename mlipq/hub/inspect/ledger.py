"""The failure ledger, counted and its first lines kept."""

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mlipq.errors import CheckError
from mlipq.store.failures import FAILURES

LISTED = 100
"""Failures shown line by line."""


@dataclass
class Ledger:
    """How many structures failed, by the class of error, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    first: list[dict[str, str]] = field(default_factory=list)


def read_ledger(folder: Path) -> Ledger:
    """Read a dataset's ledger; empty where there is none, as of a dataset that was imported.

    Raises
    ------
    CheckError
        If it cannot be read as CSV.
    """
    ledger, path = Ledger(), folder / FAILURES
    if not path.is_file():
        return ledger
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                line = {str(key): value if isinstance(value, str) else "" for key, value in row.items()}
                ledger.counts[line.get("error") or "unknown"] += 1
                if len(ledger.first) < LISTED:
                    ledger.first.append(line)
        except csv.Error as error:
            raise CheckError(f"{path}, line {reader.line_num}: not CSV ({error}); restore the file") from error
    return ledger
