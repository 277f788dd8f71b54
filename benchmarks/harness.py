"""What all benchmarks share: the machine, the versions, medians with their spread, and the file of results."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return processor, cores that this process may use, memory in GiB, system."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of these packages."""
    return {package: version(package) for package in packages}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least, most and number of repeated measurements."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "repeats": len(values),
    }


def write_results(
    path: Path, name: str, settings: Mapping[str, Any], software: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write one benchmark's results as JSON, to be committed beside its script.

    Parameters
    ----------
    path
        The file.
    name
        What was measured, one phrase.
    settings
        Inputs and parameters that the figures depend on.
    software
        As :func:`versions` gives it.
    rows
        One a contestant: ``contestant`` and its figures, numbers or what :func:`spread` returns; the quantity's name ends in
        its unit (``wall_s``, ``bytes_per_atom``).
    """
    results = {
        "name": name,
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python", *map(_named, sys.orig_argv[1:])]),
        "machine": machine(),
        "versions": dict(software),
        "settings": dict(settings),
        "rows": [dict(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def _named(argument: str) -> str:
    """Show what lies outside the project by its name alone: where it was is nobody's business."""
    key, equals, value = argument.rpartition("=")
    path = Path(value)
    return f"{key}{equals}{path.name}" if path.is_absolute() or ".." in path.parts else argument
