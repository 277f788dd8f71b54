"""Errors of a model on the validation structures: float64 sums, in the units that the tasks name."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mlipq.training.data.sampling import share
from mlipq.training.data.source import Source, energies_to_differentiate
from mlipq.training.loop.distributed import ALONE, World
from mlipq.training.models.machine import Forward
from mlipq.training.tasks.task import Task, loss_of, residuals_of


@dataclass(frozen=True)
class Errors:
    """Errors of one task; ``None`` where there is no label."""

    unit: str
    """Of the errors, as the task's metric names it."""
    mae: float | None
    """Mean absolute error."""
    rmse: float | None
    """Root mean square error."""
    loss: float | None
    """As in training, without the weight."""
    labels: int
    """How many."""


def validate(
    forward: Forward,
    source: Source,
    tasks: tuple[Task, ...],
    world: World = ALONE,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Errors]:
    """Return the errors of some tasks on the validation structures of a source, by task.

    Parameters
    ----------
    forward
        A potential in evaluation mode.
    source
        Where structures and labels come from.
    tasks
        Of the source.
    world
        Processes that share the work.
    check
        Called before each batch; what it raises ends the validation.
    """
    sums = torch.zeros(len(tasks), 4, dtype=torch.float64, device=world.device)
    forces_of = energies_to_differentiate(tasks)
    for rows in source.validation_batches():
        check()
        own = rows[share(source.edges(rows), world.rank, world.size)]
        if not len(own):
            continue
        batch, labels = source.batch(own, world.device)
        with torch.set_grad_enabled(bool(forces_of)):
            out = forward(batch.differentiable() if forces_of else batch, forces_of)
        with torch.no_grad():
            for row, task in zip(sums, tasks):
                errors, _ = residuals_of(task, out[task.name], labels[task.name], batch)
                errors = errors.double() * task.metric.factor
                loss, count = loss_of(task, out[task.name], labels[task.name], batch)
                row += torch.stack([errors.abs().sum(), errors.square().sum(), loss.double(), count.double()])
    return {task.name: _errors(task, *row) for task, row in zip(tasks, world.total(sums).tolist())}


def _errors(task: Task, absolute: float, square: float, loss: float, count: float) -> Errors:
    if not count:
        return Errors(task.metric.name, None, None, None, 0)
    return Errors(task.metric.name, absolute / count, (square / count) ** 0.5, loss / count, int(count))
