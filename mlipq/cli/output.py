"""What the command line prints: tables for people, JSON for programs."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

JSON_OPTION = typer.Option(False, "--json", help="Print one JSON document on standard output.")

_LEAST_WIDTH = 24
"""Columns that values get even where names are long or the terminal is narrow."""


def error_console() -> Console:
    """Where progress, warnings and errors go."""
    return Console(stderr=True)


def is_first_process() -> bool:
    """Return whether this is the process that speaks, of those that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(title: str, rows: Mapping[str, Any]) -> None:
    """Print names and values in two columns, leaving out values that are empty or zero.

    In a terminal values are wrapped at its width; elsewhere each stays on its line, for grep and for logs.
    """
    shown = {
        printable(name): printable(_text(value)) for name, value in rows.items() if value not in ("", None, {}, [], 0)
    }
    indent = max(map(len, shown), default=0) + 2
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    typer.secho(printable(title), bold=True)
    for name, text in shown.items():
        lines = textwrap.wrap(text, max(columns - indent, _LEAST_WIDTH), break_on_hyphens=False)
        print(f"{name:<{indent}}" + f"\n{'':<{indent}}".join(lines))


def printable(text: str) -> str:
    """Return a text as it may go to a terminal: control characters, which files from strangers may hold, are escaped."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """Write ``1 partition`` or ``3,000 partitions``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(count)}" for name, count in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
