"""Errors of a trained model on structures with labels, by task, in named units; sums in float64."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.store import Dataset, commit_bytes
from mlipq.store.table import Table
from mlipq.structures import identity_hex
from mlipq.training.config import DataSettings, TaskSettings
from mlipq.training.inference.predictor import Predictor
from mlipq.training.models.batch import MODEL_INPUTS
from mlipq.training.saved.model import SavedModel
from mlipq.training.tasks.task import Metric, Task, labels_of, resolve_tasks

BLOCK_STRUCTURES = 1_000
"""Read, predicted and compared at a time."""

Progress = Callable[[int, int], None]
"""Called with the number of structures done, and of all."""


@dataclass(frozen=True)
class TaskError:
    """How far predictions are from labels.

    Attributes
    ----------
    task, target, level_of_theory
        The output, and the array that it was compared with.
    unit
        Of the errors: ``meV``, ``meV/atom``, ``meV/Å``, ``me`` …
    n
        Numbers compared: those that have a label.
    mae, rmse
        Mean absolute and root mean square error.
    """

    task: str
    target: str
    level_of_theory: str
    unit: str
    n: int
    mae: float
    rmse: float


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes
    ----------
    structures
        That were predicted.
    left_out
        Structures that have elements which were not in training, by these elements.
    without_labels
        Outputs of the model whose target the dataset lacks.
    errors
        One or, for energies, two a task: of the whole, and of the energy over the number of atoms.
    """

    structures: int
    left_out: Mapping[str, int]
    without_labels: Sequence[str]
    errors: Sequence[TaskError]


@dataclass
class _Sum:
    """Residuals of one task in one unit, added up."""

    metric: Metric
    n: int = 0
    absolute: float = 0.0
    squares: float = 0.0

    def add(self, residuals: NDArray[np.float64]) -> None:
        known = residuals[np.isfinite(residuals)] * self.metric.factor
        self.n += known.size
        self.absolute += float(np.abs(known).sum())
        self.squares += float(np.square(known).sum())

    def error(self, task: Task) -> TaskError:
        mae, rmse = (self.absolute / self.n, (self.squares / self.n) ** 0.5) if self.n else (np.nan, np.nan)
        return TaskError(task.name, task.target, task.level_of_theory, self.metric.name, self.n, mae, rmse)


@dataclass
class Rows:
    """Errors structure by structure, as a CSV file; ``None`` where a structure has no label."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all; the units are in the names of the columns."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.lines)
        commit_bytes(path, text.getvalue().encode())


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    index: NDArray[np.int64] | None = None,
    targets: Mapping[str, str] | None = None,
    rows: Rows | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Compare a model with the labels of a dataset, or of a part of it.

    Parameters
    ----------
    predictor
        The model.
    dataset
        Structures with labels.
    index
        Rows of those to compare; all by default.
    targets
        Output to the array that it is compared with, where that is another than the one that it learned from.
    rows
        Gets the errors of each structure.
    progress
        Hears how far it is.

    Raises
    ------
    InputError
        If there is nothing to compare with, a target does not fit its output, or the model knows none of the structures.
    """
    tasks = tasks_of(predictor.model, dataset, targets or {})
    sums = {task.name: [_Sum(metric) for metric in _metrics(task)] for task in tasks}
    names = [*MODEL_INPUTS, "identity", "name", *(name for name in ("cell", "pbc") if name in dataset.specs)]
    names += [task.target for task in tasks]
    wanted = [task.name for task in tasks]
    elements = predictor.elements(wanted)
    left_out: dict[str, int] = {}
    done = 0
    index = dataset.rows if index is None else index
    for table in _tables(dataset, index, list(dict.fromkeys(names)), progress):
        known = _known(elements, table, left_out)
        if not len(known):
            continue
        done += len(known)
        predicted = predictor.predict(known.arrays, wanted)
        residuals = {}
        for task in tasks:
            residuals[task.name] = predicted[task.name].astype(np.float64) - labels_of(task, known.arrays)
            for total in sums[task.name]:
                atoms = np.diff(known.arrays["atom_offsets"]) if total.metric.name.endswith("/atom") else 1
                total.add(residuals[task.name] / atoms)
        if rows is not None:
            rows.lines += _lines(tasks, known, predicted, residuals)
    if not done:
        raise InputError(
            f"this model knows none of the {len(index):,} structures: they have {', '.join(left_out)}"
            if left_out
            else "there is no structure to compare with"
        )
    missing = [name for name in predictor.model.outputs if name not in sums]
    return Evaluation(done, left_out, missing, [total.error(task) for task in tasks for total in sums[task.name]])


def tasks_of(model: SavedModel, dataset: Dataset, targets: Mapping[str, str]) -> tuple[Task, ...]:
    """Return the tasks that a dataset has labels for, among the outputs of a model.

    Raises
    ------
    InputError
        If there are none, a target was named for something that is no output, or it does not fit.
    """
    outputs = {name: output.target for name, output in model.outputs.items()}
    unknown = [name for name in targets if name not in outputs]
    if unknown:
        raise InputError(f"this model has no output {unknown[0]!r} to compare; it has {', '.join(outputs)}")
    chosen = {
        name: target for name, target in {**outputs, **targets}.items() if target in dataset.specs or name in targets
    }
    if not chosen:
        learned = ", ".join(f"{name} from {target}" for name, target in outputs.items())
        raise InputError(
            f"{dataset.path} has none of the labels that this model learned ({learned}); name others, as in "
            "--target energy=reference/dft_energy"
        )
    heads = model.potential.config.heads
    settings = {
        name: TaskSettings(target=target, kind=heads[name].kind if name in heads else "forces")
        for name, target in chosen.items()
    }
    return resolve_tasks(DataSettings(dataset=str(dataset.path), tasks=settings), dataset)


def _metrics(task: Task) -> list[Metric]:
    metric = task.metric
    return [metric, Metric(f"{metric.name}/atom", metric.factor)] if task.kind == "energy" else [metric]


def _tables(dataset: Dataset, index: NDArray[np.int64], names: list[str], progress: Progress) -> Iterator[Table]:
    for start in range(0, len(index), BLOCK_STRUCTURES):
        progress(start, len(index))
        yield dataset.take(index[start : start + BLOCK_STRUCTURES], names)
    progress(len(index), len(index))


def _known(elements: NDArray[np.uint8], table: Table, left_out: dict[str, int]) -> Table:
    """Return the structures of elements that the model knows; count the others."""
    numbers, offsets = table.arrays["atomic_numbers"], table.arrays["atom_offsets"]
    unseen = ~np.isin(numbers, elements)
    rows = np.searchsorted(offsets, np.flatnonzero(unseen), side="right") - 1
    for row in np.unique(rows):
        atoms = table.atoms_of(row)
        symbols = [chemical_symbols[z] for z in np.unique(numbers[atoms][unseen[atoms]])]
        left_out["-".join(symbols)] = left_out.get("-".join(symbols), 0) + 1
    return table.take(np.setdiff1d(np.arange(len(table)), rows)) if len(rows) else table


def _lines(
    tasks: Sequence[Task], table: Table, predicted: Mapping[str, NDArray], residuals: Mapping[str, NDArray]
) -> Iterator[dict[str, Any]]:
    """Yield what a CSV file says of each structure."""
    for row in range(len(table)):
        atoms = table.atoms_of(row)
        line: dict[str, Any] = {
            "identity": identity_hex(table.arrays["identity"][row]),
            "name": table.arrays["name"][row],
            "atoms": atoms.stop - atoms.start,
        }
        for task in tasks:
            where = atoms if task.level == "atom" else row
            error = residuals[task.name][where]
            if error.ndim == 0:
                value = float(predicted[task.name][where])
                line[f"{task.name}_predicted_{task.unit}"] = value
                line[f"{task.name}_label_{task.unit}"] = value - float(error) if np.isfinite(error) else None
            found = np.abs(error[np.isfinite(error)])
            line[f"{task.name}_mae_{task.metric.name}"] = (
                float(found.mean()) * task.metric.factor if found.size else None
            )
        yield line
