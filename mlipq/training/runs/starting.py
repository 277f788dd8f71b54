"""What training starts from: weights of a trained model, as far as they mean the same in the new run.

The backbone is taken, and each head that learned the same output at the same level of theory. An energy may begin as an energy of another level: the
network is taken, and what it is linear in, energies of elements among it, is fitted to what it leaves of the new labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.training.config import RunConfig
from mlipq.training.data.source import Source
from mlipq.training.models.heads import EnergyHead
from mlipq.training.models.layers import sum_to
from mlipq.training.models.potential import Potential
from mlipq.training.saved.model import SavedModel, load_model
from mlipq.training.tasks.readout import fit_readout
from mlipq.training.tasks.references import References, fit_references
from mlipq.training.tasks.task import Task, labels_of

MOST_FITTED = 3_000
"""Structures that the linear part of an energy is fitted to at most: of so many, gradient steps learn as well."""
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
    if now.fed:
        raise InputError(
            f"task {name}: start_from: not for an energy that charges feed; leave feed_charges of model out"
        )
    if then.hidden != now.hidden:
        raise InputError(
            f"task {name}: start_from: {wanted} of the model in {where} has {then.hidden} hidden units, {name} of this run has {now.hidden}; let "
            "composite of model be the same in both"
        )
    return then


def begin_energies(start: Start, potential: Potential, sources: Sequence[Source]) -> dict[str, References]:
    """Let energies begin as heads of another level: call it when normalisers are set. Return their fitted energies of elements.

    What the head is linear in is fitted at once to what it leaves of the training labels (:mod:`mlipq.training.tasks.readout`).

    Parameters
    ----------
    start
        What :func:`take_weights` returned.
    potential
        Changed in place.
    sources
        Whose training labels the energies learn from.
    """
    references = {}
    for name, begins_as in start.begun:
        head = cast(EnergyHead, potential.heads[name])
        source, task = next((source, task) for source in sources for task in source.tasks if task.name == name)
        taken = {key: values for key, values in begins_as.state_dict().items() if key != "references"}
        head.load_state_dict(head.state_dict() | taken)
        if task.references == "fit":
            _fit_linear(potential, head, source, task)
            references[name] = _fit_references(potential, head, source, task)
            head.references.copy_(torch.from_numpy(references[name].values))
    return references


def _fit_linear(potential: Potential, head: EnergyHead, source: Source, task: Task) -> None:
    """Fit what a head is linear in, on some of the training structures where there are very many."""
    rows = source.train_rows[:: -(-len(source.train_rows) // MOST_FITTED)]
    labels, numbers, offsets = _labels(source, task, rows)
    energies, features = map(np.concatenate, zip(*_seen(potential, head, source, rows)))
    found = fit_readout(features, numbers, offsets, labels - energies)
    with torch.no_grad():
        head.of_elements.add_(torch.from_numpy(found).to(head.of_elements) / head.scale)


def _fit_references(potential: Potential, head: EnergyHead, source: Source, task: Task) -> References:
    labels, numbers, offsets = _labels(source, task, source.train_rows)
    energies = [energies for energies, _ in _seen(potential, head, source, source.train_rows)]
    return fit_references(numbers, offsets, labels - np.concatenate(energies))


def _labels(source: Source, task: Task, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray, NDArray]:
    """Return the labels of some structures, the atomic numbers, and where the atoms of each structure start."""
    arrays = source.dataset.batch(rows, ["atomic_numbers", task.target])
    return labels_of(task, arrays), arrays["atomic_numbers"], arrays["atom_offsets"]


def _seen(
    potential: Potential, head: EnergyHead, source: Source, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield, batch by batch, what a head says of some structures without energies of elements, in eV, and of each atom what it is linear in."""
    for some in source.in_batches(rows):
        batch, _ = source.batch(some)
        with torch.no_grad():
            features = potential.backbone(batch)
            atoms = head.atoms(features, batch).double()
            energies = sum_to(atoms, batch.structures, batch.n_structures)
        yield energies.numpy(), features.of_layers.double().numpy()
