"""Small suites on real molecules: a model of a thousand weights, a dozen steps."""

import json
from pathlib import Path
from typing import Any

from running import small_dataset

from mlipq.bench.results import Result
from mlipq.bench.suite import Suite, read_suite

CONTENT: dict[str, Any] = {
    "title": "Small molecules",
    "target": "reference/pbe0_energy",
    "test": 8,
    "sizes": [10],
    "seeds": 2,
    "modes": ["energy", "charges"],
    "model": {"channels": 8, "layers": 1, "cutoff": 3.0, "radial": 4},
    "training": {"steps": 12, "warmup": 3, "validate_every": 4},
    "pretraining": {"steps": 8, "warmup": 3},
    "batch": {"structures": 4},
}

MEASURED = {"started", "finished", "seconds", "pretraining_seconds", "peak_memory_mb", "inference_ms_per_structure"}
"""What no two runs have in common: dates, times, memory."""


def small_suite(dataset: Path, **changes: Any) -> Suite:
    """A suite on a dataset, with keys replaced."""
    return read_suite({"name": "small", **CONTENT, "dataset": str(dataset), **changes})


def molecules_at(folder: Path) -> Path:
    """Write 32 molecules with all labels, and no split."""
    return small_dataset(folder / "molecules.zarr.zip")


def outcome(result: Result) -> dict[str, Any]:
    """What a run came to, but for what the clock says."""
    content = json.loads(result.model_dump_json(exclude=MEASURED))
    content["curve"] = [[step, error] for step, _, error in result.curve]
    return content
