"""What a run costs beside its labels: memory, and time at inference."""

import ctypes
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mlipq.errors import LabelError
from mlipq.labeling.child import worker_child
from mlipq.labeling.job import Gfn1Settings, Limits
from mlipq.schema import STRUCTURE_ARRAYS
from mlipq.store import Dataset
from mlipq.store.packing import structure_at
from mlipq.training.inference.predictor import Predictor
from mlipq.training.models.batch import MODEL_INPUTS
from mlipq.training.models.machine import CPU, peak_memory
from mlipq.training.saved.model import SavedModel

TIMED = 200
"""Structures that inference is timed on."""
TIMED_GFN1 = 20
"""Structures that GFN1 is timed on."""
_PASSES = 3


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads meanwhile, whatever a process takes by itself: that changes times, and last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def smallest(model: SavedModel) -> SavedModel:
    """Return what is left of a model for inference: the heads that its energy needs, or all where it has no energy."""
    whole = model.potential
    if "energy" not in whole.heads:
        return model
    small = whole.drop([name for name in whole.heads if name not in whole.needed()])
    outputs = {name: output for name, output in model.outputs.items() if name in small.heads}
    return SavedModel(small, outputs, model.card, model.where)


def inference_ms(model: SavedModel, dataset: Dataset, rows: NDArray[np.int64], output: str) -> float:
    """Return milliseconds a structure, neighbour lists among them, in batches as ``mlipq predict`` makes them.

    Parameters
    ----------
    model
        As :func:`smallest` leaves it.
    dataset, rows
        Structures to predict for, of which some throughout are taken. Not those of the test, which are read once.
    output
        What to predict.
    """
    predictor = Predictor(model)
    names = [*MODEL_INPUTS, *(name for name in ("cell", "pbc") if name in dataset.specs)]
    table = dataset.take(_throughout(rows, TIMED), names)
    predictor.predict(table.arrays, [output])  # the first time, memory is asked for and threads start
    passes = []
    for _ in range(_PASSES):
        started = time.perf_counter()
        predictor.predict(table.arrays, [output])
        passes.append(time.perf_counter() - started)
    return 1e3 * statistics.median(passes) / len(table)


def gfn1_ms(dataset: Dataset, rows: NDArray[np.int64]) -> float:
    """Return milliseconds that a GFN1 single point takes, a structure, on average: what Δ-learning pays at inference.

    Structures as for :func:`inference_ms`.
    """
    own = {spec.name for spec in STRUCTURE_ARRAYS}
    table = dataset.take(_throughout(rows, TIMED_GFN1), [name for name in dataset.specs if name in own])
    structures = [structure_at(table, row) for row in range(len(table))]
    child = worker_child(Gfn1Settings(), Limits())
    seconds = []
    with suppress(LabelError):
        child.label(structures[0])  # starts the child
    for structure in structures:
        started = time.perf_counter()
        with suppress(LabelError):
            child.label(structure)
            seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.fmean(seconds)


def _throughout(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return so many of the rows, as far apart as they can be: a dataset is often sorted by size."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]


def forget_peak_memory() -> None:
    """Let the peak of this process's memory, and of its GPU's, begin anew, where the system can: a worker trains several models.

    What the last one left is given back first; see :func:`mlipq.training.models.machine.keep_freed_memory`.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # nothing was on it yet
            torch.cuda.reset_peak_memory_stats()


def peak_memory_mb() -> float:
    """Return the most memory of this process since :func:`forget_peak_memory`, or, on a GPU, of its tensors."""
    if torch.cuda.is_available() and (used := peak_memory(torch.device("cuda"))):
        return used / 1e6
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        found = None
    return int(found[1]) * 1024 / 1e6 if found else peak_memory(CPU) / 1e6
