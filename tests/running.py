"""Small runs on real structures: a dataset of a few molecules, a model of a thousand weights, a dozen steps."""

import copy
import functools
import multiprocessing
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlipq import open_dataset, resources
from mlipq.store import Table, write_shard
from mlipq.training.runs.metrics import read_metrics

CLOCK = ("seconds", "load_s", "step_s", "peak_memory_mb")
"""Columns of metrics.csv that no two runs have in common."""

CONTENT: dict[str, Any] = {
    "model": {"channels": 8, "layers": 1, "cutoff": 3.0, "radial": 4},
    "data": [
        {
            "batch": {"structures": 8},
            "validation": 8,
            "tasks": {"energy": {"target": "reference/pbe0_energy"}, "orbital_charges": {"weight": 0.1}},
        }
    ],
    "training": {"steps": 12, "warmup": 3, "validate_every": 4, "threads": 1},
}


@functools.cache
def molecules() -> Table:
    """32 small molecules of QM7 among the bundled samples, with all labels."""
    folder = resources.samples().parent / "samples-gfn1" / "1.0.0"
    return open_dataset(folder).select(split="pool", max_atoms=10, only=["H", "C", "N", "O"]).take(slice(0, 32))


def small_dataset(path: Path, change: Callable[[Table], None] = lambda table: None) -> Path:
    """Write the molecules, with something changed, as a dataset of one shard file."""
    table = molecules().take(np.arange(len(molecules())))
    change(table)
    write_shard(path, table, {})
    return path


def content_of(dataset: object, output: object, change: Callable[[dict[str, Any]], None] = lambda content: None) -> Any:
    """What the YAML of a small run says, with something changed."""
    content = copy.deepcopy(CONTENT)
    content["output"], content["data"][0]["dataset"] = str(output), str(dataset)
    change(content)
    return content


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a run."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_everywhere(run: Path) -> dict[str, Any]:
    """What two runs of one config have in common to the last bit: weights, and metrics but for the clock."""
    weights = {name: (run / f"{name}.safetensors").read_bytes() for name in ("best", "last", "ema")}
    rows = [
        {name: value for name, value in row.items() if name not in CLOCK} for row in read_metrics(run / "metrics.csv")
    ]
    return {**weights, "metrics": rows}


def forget_peak_memory() -> None:
    """Let :func:`peak_memory_kb` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory_kb() -> int:
    """Return the most memory that this process had; ``getrusage`` would count that of processes before it."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(kilobytes)


def in_child(work: Callable[[], None]) -> int:
    """Do something in a process of its own, which may be killed; return how it ended, as :func:`os.waitstatus_to_exitcode`."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def in_fresh_process(work: Callable[..., None], *arguments: object) -> None:
    """Do something, defined in a module of tests, in a process that has no memory to spare of what ran before it."""
    child = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0
