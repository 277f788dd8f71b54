"""Tasks: which array each output learns from, with what loss; its labels, masked where there are none.

The loss of a run at a step is the sum over tasks of

    weight(step) · (1/n) · Σ loss((prediction − label) / (scale · atoms))

over the n numbers of the batch that have a label; ``atoms`` is the number of atoms of the structure where the task is
``per_atom``, else 1. ``scale`` is one number a task, so that weights compare and are of order one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlipq.errors import InputError
from mlipq.schema import ArraySpec
from mlipq.store import Dataset
from mlipq.training.architecture import DERIVED, HeadConfig
from mlipq.training.config import Annealed, DataSettings, TaskSettings
from mlipq.training.models.batch import Batch
from mlipq.training.models.moments import MOMENT_SHELLS, SHELL_MASK
from mlipq.training.tasks.targets import Kind, resolve_target

METRICS = {"eV": ("meV", 1e3), "eV/Å": ("meV/Å", 1e3), "e": ("me", 1e3), "e·Å": ("me·Å", 1e3)}
"""Units of labels, the units in which errors are told, and how many of these one is."""

References = Literal["fit", "none"] | Mapping[str, float]


@dataclass(frozen=True)
class Metric:
    """How errors are told: an error in the unit of the label times ``factor`` is in the unit ``name``."""

    name: str
    factor: float


@dataclass(frozen=True)
class Task:
    """What one output learns from one dataset.

    Attributes
    ----------
    name
        Of the output, as in :meth:`mlipq.training.models.potential.Potential.forward`.
    target
        Array of the dataset.
    kind
        What the output is.
    head
        Name of the head that it comes from: for forces, the energy that they are the gradient of.
    level, shape
        Rows of the labels, and the shape of one row.
    unit, level_of_theory
        Of the labels.
    loss, beta, weight, per_atom
        See :class:`~mlipq.training.config.TaskSettings`.
    scale
        What residuals are divided by, in the unit of the label; taken from the training labels
        (:mod:`mlipq.training.tasks.normalise`) where it is NaN.
    references
        Of an energy: ``fit``, or its energies of elements in eV by symbol, none of them for 0.
    metric
        How errors are told.
    """

    name: str
    target: str
    kind: Kind
    head: str
    level: Literal["structure", "atom"]
    shape: tuple[int, ...]
    unit: str
    level_of_theory: str
    loss: Literal["mse", "l1", "smooth_l1"]
    beta: float
    weight: Annealed
    scale: float
    per_atom: bool
    references: References
    metric: Metric


@dataclass(frozen=True)
class LabelCount:
    """Numbers of a task that have a label, that lack one, and that belong to shells that the element has not."""

    labels: int
    missing: int
    no_shell: int


def resolve_tasks(settings: DataSettings, dataset: Dataset, main_energy: str = "") -> tuple[Task, ...]:
    """Find the target of each task in a dataset.

    Parameters
    ----------
    settings
        The dataset's part of the configuration.
    dataset
        The opened dataset.
    main_energy
        The array that ``target: main`` means, where the user says so; else the catalogue says it, or the dataset has one
        energy alone.

    Raises
    ------
    InputError
        If a target is not in the dataset (the nearest is named), does not fit its output, has another unit, or is not clear.
    """
    tasks = []
    for name, chosen in settings.tasks.items():
        spec, kind = resolve_target(name, settings, dataset, main_energy)
        references = _isolated(name, spec, dataset) if chosen.references == "isolated" else chosen.references
        tasks.append(_task(name, chosen, spec, kind, references))
    return tuple(tasks)


def heads_of(sources: Iterable[Sequence[Task]]) -> dict[str, HeadConfig]:
    """Return the heads that the tasks of all datasets need, by name; tasks of one name at several datasets share a head.

    Raises
    ------
    InputError
        If tasks of one name differ in kind, shape or unit, or forces have no energy.
    """
    heads: dict[str, HeadConfig] = {}
    first: dict[str, Task] = {}
    for task in (task for tasks in sources for task in tasks):
        other = first.setdefault(task.name, task)
        if (other.kind, other.shape, other.unit) != (task.kind, task.shape, task.unit):
            raise InputError(
                f"task {task.name}: {other.target} and {task.target} cannot share an output: one is of kind {other.kind}, shape "
                f"{other.shape}, in {other.unit or 'no unit'}, the other of kind {task.kind}, shape {task.shape}, in "
                f"{task.unit or 'no unit'}; give one of the tasks another name"
            )
        if task.kind == "forces":
            heads.setdefault(task.head, HeadConfig(kind="energy"))
        else:
            free = task.kind in ("atom_values", "structure_values")
            heads[task.name] = HeadConfig(kind=task.kind, shape=task.shape if free else ())
    return heads


def labels_of(task: Task, arrays: Mapping[str, NDArray]) -> NDArray[np.float64]:
    """Return the labels of some structures.

    Parameters
    ----------
    task
        Of the dataset that the arrays are from.
    arrays
        As :meth:`mlipq.store.Dataset.batch` gives them: ``atomic_numbers`` and the task's target.

    Returns
    -------
    NDArray[np.float64]
        ``(structures or atoms, *task.shape)``; NaN where a label is missing, and where the element lacks the shell.
    """
    labels: NDArray[np.float64] = arrays[task.target].astype(np.float64)
    if task.kind == "dipole_magnitude" and labels.ndim == 2:
        labels = np.linalg.norm(labels, axis=1)
    lacking = _lacking(task, arrays)
    if lacking is not None:
        labels[lacking] = np.nan
    labels[~np.isfinite(labels)] = np.nan
    return labels


def count_labels(task: Task, arrays: Mapping[str, NDArray]) -> LabelCount:
    """Count the labels of a task, and the numbers without one; arguments as for :func:`labels_of`.

    Raises
    ------
    InputError
        If there is no label at all.
    """
    labels = labels_of(task, arrays)
    lacking = _lacking(task, arrays)
    no_shell = 0 if lacking is None else int(lacking.sum())
    found = int(np.isfinite(labels).sum())
    if not found:
        raise InputError(
            f"task {task.name}: none of the training structures has a label in {task.target}: all {labels.size - no_shell:,} "
            "values are missing; leave the task out, or train on a part of the dataset that has labels"
        )
    return LabelCount(found, labels.size - no_shell - found, no_shell)


def loss_of(task: Task, predicted: Tensor, labels: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the sum of the losses of all numbers that have a label, and how many these are.

    Parameters
    ----------
    task
        With its scale known.
    predicted
        Of the potential: ``(structures or atoms, *task.shape)``.
    labels
        As :func:`labels_of` gives them, of the same shape; NaN where there is none.
    batch
        The structures.

    Returns
    -------
    sum, count
        Scalars; the mean loss of several batches, or of several processes, is the sum of sums over the sum of counts.
    """
    residuals, known = residuals_of(task, predicted, labels, batch)
    x = residuals / task.scale
    match task.loss:
        case "mse":
            losses = x.square()
        case "l1":
            losses = x.abs()
        case "smooth_l1":
            losses = nn.functional.smooth_l1_loss(x, torch.zeros_like(x), reduction="none", beta=task.beta)
    return losses.sum(), known.sum()


def residuals_of(task: Task, predicted: Tensor, labels: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return prediction minus label, over the number of atoms where the task is per atom, and where there is a label.

    Where there is none the residual is 0. Arguments as for :func:`loss_of`.
    """
    known = labels.isfinite()
    residuals = torch.where(known, predicted - labels.to(predicted), 0.0)
    if task.per_atom:
        atoms = torch.bincount(batch.structures, minlength=batch.n_structures)
        residuals = residuals / atoms
    return residuals, known


def _isolated(name: str, spec: ArraySpec, dataset: Dataset) -> dict[str, float]:
    """Return the energies of isolated atoms that the dataset's manifest has."""
    manifest = dataset.manifest
    found = manifest.reference_energies.get(spec.name) if manifest is not None else None
    if found is None or not found.isolated:
        raise InputError(
            f"task {name}: the dataset holds no isolated atoms with {spec.name}; give their energies in eV, "
            "references: {H: -13.6, …}, or use references: fit"
        )
    return found.isolated


def _task(name: str, settings: TaskSettings, spec: ArraySpec, kind: Kind, references: References) -> Task:
    energy = kind == "energy"
    if settings.per_atom and not energy:
        raise InputError(f"task {name}: per_atom is for energies; {spec.name} is of kind {kind}")
    if settings.references != "fit" and not energy:
        raise InputError(f"task {name}: references are for energies; {spec.name} is of kind {kind}")
    if settings.start_from and not energy:
        raise InputError(f"task {name}: start_from is for energies; {spec.name} is of kind {kind}")
    if name in DERIVED or hasattr(nn.ModuleDict(), name) or (name.endswith("forces") and kind != "forces"):
        raise InputError(f"task {name}: this name is taken; give it another one")
    unit, factor = METRICS.get(spec.unit, (spec.unit or "1", 1.0))
    weight = settings.weight
    return Task(
        name=name,
        target=spec.name,
        kind=kind,
        head=f"{name.removesuffix('forces')}energy" if kind == "forces" else name,
        level="atom" if spec.level == "atom" else "structure",
        shape=() if kind == "dipole_magnitude" else spec.shape,
        unit=spec.unit,
        level_of_theory=level_of_theory(spec),
        loss=settings.loss,
        beta=settings.beta,
        weight=weight if isinstance(weight, Annealed) else Annealed(start=weight, end=weight, steps=0),
        scale=math.nan if settings.scale == "std" else settings.scale,
        per_atom=settings.per_atom,
        references=references,
        metric=Metric(f"{unit}/atom" if settings.per_atom else unit, factor),
    )


def level_of_theory(spec: ArraySpec) -> str:
    """Return how labels were computed: what the array says, else the method whose folder it lies in."""
    return spec.level_of_theory or ("GFN1-xTB" if spec.name.startswith("gfn1/") else "")


_COLUMN_SHELLS = {"orbital_charges": [0, 1, 2], "orbital_moments": MOMENT_SHELLS}


def _lacking(task: Task, arrays: Mapping[str, NDArray]) -> NDArray[np.bool_] | None:
    """Return where an element lacks the shell of a column, ``None`` for a task without shells."""
    columns = _COLUMN_SHELLS.get(task.kind)
    if columns is None:
        return None
    return cast(NDArray[np.bool_], SHELL_MASK.numpy()[arrays["atomic_numbers"]][:, columns] == 0)
