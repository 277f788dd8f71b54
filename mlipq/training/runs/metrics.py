"""metrics.csv: one row a validation, on disk before training goes on."""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from mlipq.errors import InputError
from mlipq.store.commit import commit_bytes, unwritable

Row: TypeAlias = Mapping[str, float | None]
"""Column to value; ``None`` where there is none, such as an error of a task without labels in the validation part."""

_ERROR = re.compile(r"(?P<task>.+)_mae_(?P<unit>.+)")


def mean_errors(row: Row) -> Iterator[tuple[str, float | None, str]]:
    """Yield task, mean absolute error and unit of each task that a row has columns of."""
    for column, value in row.items():
        if found := _ERROR.fullmatch(column):
            yield found["task"], value, found["unit"]


def append_metrics(path: Path, row: Row) -> None:
    """Write one row, with the names of the columns before the first one, and flush it to disk.

    Raises
    ------
    IncompleteError
        If the disk is full.
    InputError
        If the file cannot be written, or has other columns.
    """
    try:
        with open(path, "a+", encoding="utf-8", newline="") as file:
            if file.tell() == 0:
                file.write(_line(row))
            else:
                file.seek(0)
                _expect(path, file.readline(), row)
            file.write(_line(_text(value) for value in row.values()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """Return the rows, in order; none where nothing was validated yet.

    A last line that a killed process left unfinished is passed over.

    Raises
    ------
    InputError
        If a line is damaged; the message names it.
    """
    header, *lines = _whole_lines(path) or [""]
    names = next(csv.reader([header]), [])
    rows: list[dict[str, float | None]] = []
    for number, values in enumerate(csv.reader(lines), 2):
        try:
            row = {name: float(value) if value else None for name, value in zip(names, values, strict=True)}
        except ValueError:
            raise InputError(
                f"{path}, line {number}: expected {len(names)} numbers, found {','.join(values)!r}"
            ) from None
        rows.append(row)
    return rows


def cut_metrics(path: Path, step: int) -> None:
    """Drop the rows of later steps, which a resumed run writes again, and an unfinished last line."""
    rows = read_metrics(path)
    kept = [row for row in rows if (row["step"] or 0) <= step]
    lines = [_line(kept[0]), *(_line(map(_text, row.values())) for row in kept)] if kept else []
    commit_bytes(path, "".join(lines).encode("utf-8"))


def _whole_lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    try:  # of what is whole: a line may be cut inside a letter
        return data[: data.rfind(b"\n") + 1].decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is damaged: it is no text; restore it, or delete it and resume without it") from None


def _expect(path: Path, header: str, row: Row) -> None:
    if next(csv.reader([header]), []) != list(row):
        raise InputError(f"{path} has other columns than this run: expected {', '.join(row)}; found {header.strip()}")


def _line(values: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(list(values))
    return out.getvalue()


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.9g}"
