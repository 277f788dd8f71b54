"""What training starts from: weights of a trained model, as far as they mean the same in the new run.

The backbone is taken, and each head that learned the same output at the same level of theory. An energy may begin as an energy of another level, as
fine-tuning of potentials does: the network is taken, and the energies of elements are fitted anew to what it leaves of the new labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.training.config import RunConfig
from mlipq.training.data.source import Source
from mlipq.training.models.heads import EnergyHead
from mlipq.training.models.potential import Potential
from mlipq.training.saved.model import SavedModel, load_model
from mlipq.training.tasks.references import References, fit_references
from mlipq.training.tasks.task import Task, labels_of

_BACKBONE = ("backbone", "channels", "layers", "cutoff", "radial")
_HEADS = ("composite", "feed_charges", "conserve_charge")


@dataclass(frozen=True)
class Start:
    """What a run takes of a trained model.

    Attributes
    ----------
    kept
        Heads that are taken as they are.
    begun
        Energies that begin as a head of the model, by the name of the task.
    """

    kept: tuple[str, ...] = ()
    begun: tuple[tuple[str, EnergyHead], ...] = ()


def take_weights(config: RunConfig, potential: Potential, tasks: Sequence[Sequence[Task]]) -> Start:
    """Take the weights of the backbone, and of the heads that are kept; return these, and what other energies shall begin as.

    Parameters
    ----------
    config
        Of the run.
    potential
        Changed in place.
    tasks
        Of each dataset.

    Raises
    ------
    InputError
        If the model cannot be read, has another backbone, or lacks a head that an energy shall begin as.
    """
    if not config.start_from:
        return Start()
    model, now = load_model(config.start_from), potential.config
    then = model.potential.config
    differing = [name for name in _BACKBONE if getattr(then, name) != getattr(now, name)]
    if differing:
        has, wants = (", ".join(f"{name}: {getattr(it, name)}" for name in differing) for it in (then, now))
        raise InputError(
            f"start_from: the model in {config.start_from} has {has}, this run {wants}; let model say the same"
        )
    wanted = {name: task.start_from for data in config.data for name, task in data.tasks.items() if task.start_from}
    begun = tuple((name, _head_of(config.start_from, model, potential, name, head)) for name, head in wanted.items())
    kept = tuple(name for name in _same_heads(model, potential, tasks) if name not in wanted)
    parts = ("backbone.", *(f"heads.{name}." for name in kept))
    taken = {name: values for name, values in model.potential.state_dict().items() if name.startswith(parts)}
    potential.load_state_dict(potential.state_dict() | taken)
    return Start(kept, begun)


def _same_heads(model: SavedModel, potential: Potential, tasks: Sequence[Sequence[Task]]) -> list[str]:
    """Return the heads that learned the same output at the same level of theory."""
    then, now = model.potential.config, potential.config
    if any(getattr(then, name) != getattr(now, name) for name in _HEADS):
        return []
    levels = {task.name: task.level_of_theory for own in reversed(tasks) for task in own}
    known = {name: output.level_of_theory for name, output in model.outputs.items()}
    return [
        name
        for name, head in now.heads.items()
        if then.heads.get(name) == head and name in known and known[name] == levels.get(name)
    ]


def _head_of(where: str, model: SavedModel, potential: Potential, name: str, wanted: str) -> EnergyHead:
    """Return the head of the model that an energy shall begin as."""
    heads = {head: made for head, made in model.potential.heads.items() if isinstance(made, EnergyHead)}
    if wanted not in heads:
        raise InputError(
            f"task {name}: start_from: the model in {where} has no energy {wanted!r}; it has {', '.join(heads) or 'none'}"
        )
    then, now = heads[wanted], cast(EnergyHead, potential.heads[name])
    if (then.hidden, then.fed) != (now.hidden, now.fed):
        raise InputError(
            f"task {name}: start_from: {wanted} of the model in {where} has {then.hidden} hidden units and reads {then.fed} charges, {name} of "
            f"this run has {now.hidden} and reads {now.fed}; let composite and feed_charges of model be the same in both, or leave them out"
        )
    return then


def begin_energies(start: Start, potential: Potential, sources: Sequence[Source]) -> dict[str, References]:
    """Let energies begin as heads of another level: call it when normalisers are set. Return their fitted energies of elements.

    Parameters
    ----------
    start
        What :func:`take_weights` returned.
    potential
        Changed in place.
    sources
        Their training labels are what the energies of elements are fitted to.
    """
    references = {}
    for name, begins_as in start.begun:
        head = cast(EnergyHead, potential.heads[name])
        head.network.load_state_dict(begins_as.network.state_dict())
        head.scale.copy_(begins_as.scale)
        source, task = next((source, task) for source in sources for task in source.tasks if task.name == name)
        if task.references == "fit":
            references[name] = _fitted(potential, head, source, task)
            head.references.copy_(torch.from_numpy(references[name].values))
    return references


def _fitted(potential: Potential, head: EnergyHead, source: Source, task: Task) -> References:
    """Fit energies of elements to what the network leaves of the labels, on the training structures."""
    arrays = source.dataset.batch(source.train_rows, ["atomic_numbers", task.target])
    left = labels_of(task, arrays) - _network_energies(potential, head, source)
    return fit_references(arrays["atomic_numbers"], arrays["atom_offsets"], left)


def _network_energies(potential: Potential, head: EnergyHead, source: Source) -> NDArray[np.float64]:
    """Return what the network says of the training structures, in eV, without energies of elements."""
    before = head.references.clone()
    head.references.zero_()
    potential.eval()
    with torch.no_grad():
        batches = (source.batch(rows)[0] for rows in source.in_batches(source.train_rows))
        energies = torch.cat([head(potential.backbone(batch), batch) for batch in batches]).numpy()
    potential.train()
    head.references.copy_(before)
    return energies
