"""Real labelled datasets to publish, and the command line that publishes them."""

import functools
import gzip
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from command import MLIPQ, run_apart

from mlipq import resources
from mlipq.store import Dataset, Table, open_dataset

RELEASE = {"name": "g-set", "version": "1.0.0", "licence": "CC-BY-4.0", "citation": "A. Author, J. Test. 1, 2 (2026)"}
FRAMES = 60


def publish_command(source: Path, to: object, *more: object, **release: str) -> list[str]:
    said = {**RELEASE, **release}
    options = [text for key, value in said.items() for text in (f"--{key}", value)]
    return ["data", "publish", str(source), *options, "--to", str(to), *map(str, more)]


@functools.cache
def _labelled() -> Path:
    """Label some molecules of the samples, once a session."""
    folder = Path(tempfile.mkdtemp(prefix="mlipq-test-"))
    with gzip.open(resources.samples() / "qm7.extxyz.gz", "rt", encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    start = 0
    for _ in range(FRAMES):
        start += int(lines[start]) + 2
    (folder / "molecules.extxyz").write_text("".join(lines[:start]), encoding="utf-8")
    out = folder / "out"
    planned = run_apart("plan", folder / "molecules.extxyz", "-o", out, "--json")
    last = len(planned.json["partitions"]) - 1
    for step in (["partition", out, f"0-{last}"], ["finish", out]):
        done = run_apart(*step)
        assert done.code == 0, done.err
    return out


def labelled(folder: Path) -> Path:
    """Return a copy of a labelled dataset, below a test's own folder."""
    return Path(shutil.copytree(_labelled(), folder / "out"))


def whole(dataset: Dataset | Path) -> Table:
    """Return all structures of a dataset as one table."""
    return Table.concatenate(list((open_dataset(dataset) if isinstance(dataset, Path) else dataset).tables()))


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_when(command: list[str], reached: Any, **settings: Any) -> bool:
    """Start the command line and kill it, as a power cut would, once ``reached()``; return whether it came to that."""
    running = subprocess.Popen(
        [MLIPQ, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **settings
    )
    while running.poll() is None:
        if reached():
            running.send_signal(signal.SIGKILL)
            running.wait()
            return True
        time.sleep(0.0005)
    return False


def assert_equal(one: Table, other: Table) -> None:
    """Equal arrays with equal values, to the last bit."""
    assert one.arrays.keys() == other.arrays.keys()
    for name, values in one.arrays.items():
        assert values.dtype == other.arrays[name].dtype, name
        if values.dtype == object:
            assert values.tolist() == other.arrays[name].tolist(), name
        else:
            np.testing.assert_array_equal(values, other.arrays[name], err_msg=name)
