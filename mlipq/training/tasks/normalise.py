"""Normalisers, from the training structures alone: energies of elements, shifts and scales of heads, scales of losses.

- An energy is the sum of references (:mod:`mlipq.training.tasks.references`) and of what the network says of each atom, times a
  scale: the root mean square of the forces times 1 Å where forces are learned, else of what references leave of an energy over
  the square root of its number of atoms.
- Charges, moments and other numbers of atoms have a mean and a spread for each element and column; components that turn with
  the structure have no mean, and those that turn together share a spread.
- A task's ``scale`` is the root mean square of its labels less what references and means tell.
- Of a composite energy the correction head has references and scale of DFT − GFN1, where the structures have both.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import MOMENT_SLICES
from mlipq.store.table import offsets_from
from mlipq.training.models.heads import EnergyHead, PerElement, StructureValuesHead
from mlipq.training.models.layers import N_ELEMENTS
from mlipq.training.models.potential import Potential
from mlipq.training.tasks.references import References, fit_references, given_references, sum_structures
from mlipq.training.tasks.task import LabelCount, Task, count_labels, labels_of

Read = Callable[[Sequence[str]], Mapping[str, NDArray]]
"""Gives arrays of the training structures by name, and ``atom_offsets``, as :meth:`mlipq.store.Dataset.batch` does."""

FEWEST = 10
"""An element with fewer labels has the spread of all elements together."""


@dataclass(frozen=True)
class Normalisers:
    """What the training labels tell.

    Attributes
    ----------
    tasks
        Those of each dataset, with their scales.
    references
        Of each energy head that is not kept, by the first dataset that trains it.
    counts
        Of each dataset, the labels by task.
    """

    tasks: tuple[tuple[Task, ...], ...]
    references: dict[str, References]
    counts: tuple[dict[str, LabelCount], ...]


def elements_of(sources: Sequence[tuple[Sequence[Task], Read]]) -> tuple[int, ...]:
    """Return the atomic numbers of all elements of the training structures."""
    found = [np.unique(read(["atomic_numbers"])["atomic_numbers"]) for _, read in sources]
    return tuple(np.unique(np.concatenate(found)).tolist())


def set_normalisers(
    potential: Potential, sources: Sequence[tuple[Sequence[Task], Read]], keep: Collection[str] = ()
) -> Normalisers:
    """Set the normalisers of a potential, and find the scales of its tasks.

    Parameters
    ----------
    potential
        Its heads are changed in place.
    sources
        Tasks of each dataset, and what gives its training labels; a task that several have is normalised by the first, and the
        others add energies of elements that it has not.
    keep
        Heads that stay as they are: those of a model that training starts from. Their energies of elements that the model did
        not know are fitted.

    Raises
    ------
    InputError
        If a task has no label at all, or an element no reference where one should be given, or no GFN1 energy in a composite.
    """
    counts = tuple(
        {task.name: count_labels(task, read(["atomic_numbers", task.target])) for task in tasks}
        for tasks, read in sources
    )
    scales: dict[str, float] = {}
    references: dict[str, References] = {}
    for task, tasks, read in _ordered(sources):
        new = task.name not in scales
        keeps = task.head in keep
        if task.kind == "energy":
            head = cast(EnergyHead, potential.heads[task.head])
            composite = potential.config.composite and task.name == "energy"
            base = _Base(tasks, _references_of(potential, "gfn1_energy")) if composite else None
            found = _energy(task, read, base)
            if new:
                scales[task.name] = found.scale
            if new and not keeps:
                references[task.name] = found.references
                head.references.copy_(torch.from_numpy(found.references.values))
                head.scale.fill_(found.spread)
            else:
                _add_elements(head, task, found)
        elif new and task.kind == "forces":
            scales[task.name], spread = _forces(task, read, tasks if potential.config.composite else ())
            if not keeps:
                cast(EnergyHead, potential.heads[task.head]).scale.fill_(spread)
        elif new:
            scales[task.name] = _values(None if keeps else potential.heads[task.head], task, read)
    known = tuple(tuple(_scaled(task, scales[task.name]) for task in tasks) for tasks, _ in sources)
    return Normalisers(known, references, counts)


def _references_of(potential: Potential, head: str) -> NDArray[np.float64]:
    return cast(EnergyHead, potential.heads[head]).references.cpu().numpy()


@dataclass(frozen=True, eq=False)
class _Base:
    """What the correction head of a composite energy is added to: the head ``gfn1_energy``, whose references are set."""

    tasks: Sequence[Task]
    references: NDArray[np.float64]

    def check(self, elements: Sequence[int]) -> None:
        """Refuse elements of which there is no GFN1 energy: a sum with nothing would be no number."""
        lacking = [chemical_symbols[z] for z in elements if np.isnan(self.references[z])]
        if lacking:
            raise InputError(
                f"model: composite: structures with an energy have {', '.join(lacking)}, which none with a GFN1 energy has; "
                "give the dataset of the task energy the task gfn1_energy too"
            )

    def energies(self, read: Read) -> NDArray[np.float64]:
        """Return the GFN1 energies where the same structures have labels of them, else what their elements tell."""
        arrays = read(["atomic_numbers"])
        for task in self.tasks:
            if task.name == "gfn1_energy":
                return labels_of(task, {**arrays, **read([task.target])})
        return sum_structures(self.references[arrays["atomic_numbers"]], arrays["atom_offsets"])


def _ordered(sources: Sequence[tuple[Sequence[Task], Read]]) -> list[tuple[Task, Sequence[Task], Read]]:
    """Return all tasks, with the tasks beside each, those of one name in the order of the datasets.

    Energies come before forces, whose size counts for more; what a correction is added to comes before it.
    """
    tasks = [(task, tasks, read) for tasks, read in sources for task in tasks]
    return sorted(tasks, key=lambda one: (one[0].kind == "forces", one[0].name == "energy"))


class _Energy(NamedTuple):
    """What the labels of an energy tell."""

    scale: float  # of the loss
    references: References  # of the head
    spread: float  # of the head
    numbers: NDArray
    offsets: NDArray
    energies: NDArray[np.float64]  # that the head is to say: of a composite, the correction


def _energy(task: Task, read: Read, base: _Base | None) -> _Energy:
    arrays = read(["atomic_numbers", task.target])
    numbers, offsets = arrays["atomic_numbers"], arrays["atom_offsets"]
    energies, atoms = labels_of(task, arrays), np.diff(offsets)
    references = _references(task, numbers, offsets, energies)
    left = energies - references.energies(numbers, offsets)
    scale = rms(left / atoms) if task.per_atom else rms(left)
    if base is not None:
        base.check(references.elements)
        energies = energies - base.energies(read)
        references = _references(_less(task, base), numbers, offsets, energies)
        left = energies - references.energies(numbers, offsets)
    return _Energy(scale, references, rms(left / np.sqrt(atoms)), numbers, offsets, energies)


def _add_elements(head: EnergyHead, task: Task, found: _Energy) -> None:
    """Give a head energies of the elements that it has none of: as given, or fitted to what its others leave."""
    values = head.references.cpu().numpy().copy()
    lacking = np.isnan(values)
    added = found.references
    if task.references == "fit":
        new = lacking[found.numbers]
        left = found.energies - sum_structures(np.where(new, 0.0, values[found.numbers]), found.offsets)
        offsets = offsets_from(new)[found.offsets]
        added = fit_references(found.numbers[new], offsets, np.where(np.diff(offsets) > 0, left, np.nan))
    head.references.copy_(torch.from_numpy(np.where(lacking, added.values, values)))


def _references(task: Task, numbers: NDArray, offsets: NDArray, energies: NDArray[np.float64]) -> References:
    if task.references == "fit":
        return fit_references(numbers, offsets, energies)
    given = dict.fromkeys(chemical_symbols, 0.0) if task.references == "none" else task.references
    return given_references(cast(Mapping[str, float], given), numbers, offsets, energies, task.name)


def _less(task: Task, base: _Base) -> Task:
    """Return the task with given references less those of what a correction is added to."""
    if isinstance(task.references, str):
        return task
    less = {symbol: float(energy) for symbol, energy in zip(chemical_symbols, base.references, strict=True)}
    given = {symbol: energy - less[symbol] for symbol, energy in task.references.items() if symbol in less}
    return replace(task, references=given)


def _forces(task: Task, read: Read, beside: Sequence[Task]) -> tuple[float, float]:
    """Return the scale of the loss, and the scale of the head that the forces come from."""
    arrays = read(["atomic_numbers", task.target])
    forces = labels_of(task, arrays)
    scale = rms(forces)
    for other in beside:
        if task.name == "forces" and other.name == "gfn1_forces":
            forces = forces - labels_of(other, {**arrays, **read([other.target])})
    return scale, rms(forces)


def _values(head: torch.nn.Module | None, task: Task, read: Read) -> float:
    """Set the normaliser of a head that is no energy, if it has one; return the scale of the loss."""
    arrays = read(["atomic_numbers", task.target])
    labels = labels_of(task, arrays)
    columns = labels.reshape(len(labels), -1)
    if task.level == "atom":
        shift, scale, left = element_statistics(columns, arrays["atomic_numbers"], _together(task))
        if head is not None:
            cast(PerElement, head.normal).set(torch.from_numpy(shift), torch.from_numpy(scale))
        return rms(left)
    if task.kind == "dipole":
        return rms(labels)
    known = np.isfinite(columns)
    shift = np.where(known, columns, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)  # 0 for a column without labels
    if isinstance(head, StructureValuesHead):
        head.shift.copy_(torch.from_numpy(shift))
        head.scale.copy_(torch.tensor([rms(column) for column in (columns - shift).T]))
    return rms(columns - shift)


def _together(task: Task) -> list[slice]:
    """Return the columns that turn together, those that do not turn being by themselves."""
    if task.kind == "orbital_moments":
        return list(MOMENT_SLICES.values())
    return [slice(column, column + 1) for column in range(int(np.prod(task.shape)))]


def element_statistics(
    columns: NDArray[np.float64], atomic_numbers: NDArray, together: Sequence[slice]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and spread by element and column, and what the means leave.

    Parameters
    ----------
    columns
        ``(atoms, columns)``, NaN where there is no label.
    atomic_numbers
        ``(atoms,)``.
    together
        Columns that turn together: they have no mean, and one spread.

    Returns
    -------
    shift, scale, left
        ``(119, columns)`` twice, and ``(atoms, columns)``. An element with few labels has the spread of all; a spread is
        never 0.
    """
    shift, scale = np.zeros((N_ELEMENTS, columns.shape[1])), np.ones((N_ELEMENTS, columns.shape[1]))
    left = columns.copy()
    for group in together:
        if group.stop - group.start == 1:
            sums, counts = _by_element(columns[:, group], atomic_numbers)
            shift[:, group] = (sums / np.maximum(counts, 1))[:, None]
            left[:, group] -= shift[atomic_numbers, group]
        squares, counts = _by_element(left[:, group] ** 2, atomic_numbers)
        overall = rms(left[:, group])
        own = np.sqrt(squares / np.maximum(counts, 1))
        scale[:, group] = np.where(counts < FEWEST, overall, np.maximum(own, 1e-3 * overall))[:, None]
    return shift, scale, left


def _by_element(values: NDArray[np.float64], atomic_numbers: NDArray) -> tuple[NDArray[np.float64], NDArray]:
    """Return sums and counts of the finite values of each element, ``(119,)``."""
    finite = np.isfinite(values)
    numbers = np.broadcast_to(atomic_numbers[:, None], values.shape)[finite]
    sums = cast(NDArray[np.float64], np.bincount(numbers, values[finite], N_ELEMENTS))
    return sums, np.bincount(numbers, minlength=N_ELEMENTS)


def rms(values: NDArray[np.float64]) -> float:
    """Return the root mean square of the finite values; 1 where there is nothing to measure by: no value, or all as good as 0."""
    finite = values[np.isfinite(values)]
    size = float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
    return size if size > 1e-9 else 1.0


def _scaled(task: Task, scale: float) -> Task:
    return replace(task, scale=scale) if np.isnan(task.scale) else task
