"""Sections of the page on speed: bars, a table and the conditions of one benchmark, from its committed JSON.

The format is that of ``write_results`` in ``benchmarks/harness.py``.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from bars import Bar, chart
from schema_tables import table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

UNITS = {
    **{"s": "s", "ms": "ms", "us": "µs", "eh": "Eh", "ev": "eV", "bytes": "bytes"},
    **{"kb": "kB", "mb": "MB", "gb": "GB", "kib": "KiB", "mib": "MiB", "gib": "GiB"},
}
"""Last part of a quantity's name to its unit; what is not here is no unit, and the name says it all."""

log = logging.getLogger("mkdocs.hooks.results")


def section(where: str, *options: str) -> str:
    """Return what one benchmark found.

    Parameters
    ----------
    where
        ``labeling/compare-qm7`` for ``benchmarks/labeling/results/compare-qm7.json``.
    options
        ``bars=wall_s,…``: quantities to draw. ``columns=wall_s,…``: those of the table, all by default.
    """
    chosen = dict(option.split("=", 1) for option in options)
    area, name = where.split("/")
    path = BENCHMARKS / area / "results" / f"{name}.json"
    if not path.is_file():
        log.warning("%s: not measured yet", path.relative_to(BENCHMARKS))
        return f'!!! note "Not measured yet"\n\n    There is no `benchmarks/{area}/results/{name}.json`.'
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found["rows"]
    bars = [_bars(found["name"], rows, quantity) for quantity in chosen["bars"].split(",")] if "bars" in chosen else []
    every = dict.fromkeys(key for row in rows for key in row if key not in ("contestant", "what"))
    columns = chosen["columns"].split(",") if "columns" in chosen else every
    return "\n\n".join([*bars, _table(rows, columns), _conditions(found)])


def heading(quantity: str) -> str:
    """Write a quantity's name for people: ``wall_s`` as ``wall, s``, ``structures_per_s`` as ``structures per s``."""
    if quantity.endswith("_net"):
        return f"{heading(quantity.removesuffix('_net'))}, net"
    *words, last = quantity.split("_")
    if not words or last not in UNITS:
        return quantity.replace("_", " ")
    return " ".join([*words, UNITS[last]]) if words[-1] == "per" else f"{' '.join(words)}, {UNITS[last]}"


def figure(value: Any) -> str:
    """Write a figure with three digits; where it was repeated, its median, and below it the least and most."""
    if isinstance(value, Mapping) and "median" in value:
        spread = f"<br><small>{figure(value['least'])} – {figure(value['most'])}</small>"
        ends = spread if value["repeats"] > 1 else ""
        return figure(value["median"]) + ends
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {figure(item)}" for name, item in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(map(figure, value))
    if value is None:
        return "–"
    if isinstance(value, int | str):
        return f"{value:,}" if type(value) is int else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bars(title: str, rows: Iterable[Mapping[str, Any]], quantity: str) -> str:
    bars = []
    for row in rows:
        if row.get(quantity) is not None:
            value = row[quantity]
            ends = value if isinstance(value, Mapping) else dict.fromkeys(("median", "least", "most"), value)
            bars.append(Bar(_name(row), ends["median"], ends["least"], ends["most"], figure(ends["median"])))
    better = "longer" if "_per_s" in quantity else "shorter"
    return chart(f"{title[:1].upper()}{title[1:]}: {heading(quantity)} ({better} is better)", bars)


def _table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    columns = list(columns)
    body = [[_contestant(row), *(figure(row.get(column)) for column in columns)] for row in rows]
    return f'<div class="figures" markdown>\n\n{table(["", *map(heading, columns)], body)}\n\n</div>'


def _name(row: Mapping[str, Any]) -> str:
    return str(row["contestant"]).replace("_", " ")


def _contestant(row: Mapping[str, Any]) -> str:
    what = f"<br><small>{escape(row['what'])}</small>" if "what" in row else ""
    return f"**{_name(row)}**{what}"


def _conditions(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    facts = {
        "Measured": f"{found['date']}; medians, and below them least – most of the repeats",
        "Machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}",
        "Versions": figure(found["versions"]),
        **{key.replace("_", " ").capitalize(): figure(value) for key, value in found["settings"].items()},
        "Run it again": f"<code>{escape(found['command'])}</code>",
    }
    lines = "\n".join(f"    **{key}**: {value}<br>" for key, value in facts.items())
    return f'??? info "Date, machine, versions, settings, command"\n\n{lines}'
