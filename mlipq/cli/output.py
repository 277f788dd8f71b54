"""What the command line prints: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

JSON_OPTION = typer.Option(False, "--json", help="Print JSON on standard output.")


def error_console() -> Console:
    """Where progress, warnings and errors go."""
    return Console(stderr=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(title: str, rows: Mapping[str, Any]) -> None:
    """Print names and values in two columns, leaving out empty values."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value not in ("", None, {}, []):
            table.add_row(name, _text(value))
    Console().print(table, highlight=False, markup=False)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(count)}" for name, count in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
