"""What a run reads of one dataset: which structures it trains and validates on, and these as batches with labels.

Arrays are memory-mapped, neighbour lists are found once (:mod:`mlipq.training.data.neighbours`), and what a batch holds depends on
nothing but the seed, the structures and its number (:mod:`mlipq.training.data.sampling`).
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlipq.errors import InputError
from mlipq.store import Dataset
from mlipq.store.manifest import Split
from mlipq.training.config import BatchSize, DataSettings
from mlipq.training.data.neighbours import Progress, neighbours_of
from mlipq.training.data.sampling import Batches, cut_full
from mlipq.training.models.batch import MODEL_INPUTS, Batch, collate
from mlipq.training.models.machine import CPU
from mlipq.training.tasks.task import Task, labels_of

HELD_OUT = ("test", "validation", "val")
"""Parts of a split that are not trained on unless they are named."""

Labels = dict[str, Tensor]
"""Labels by the name of the task: a row a structure or a row an atom, NaN where one is missing."""


class Source:
    """Structures of one dataset that a run trains and validates on.

    Parameters
    ----------
    dataset
        Materialised here if it is not yet.
    settings
        Which structures, and how many in a batch.
    tasks
        What is learned of them; may be replaced until training begins, once their scales are known.
    cutoff
        Of the model, in Å.
    seed
        Of the run: structures are drawn by it, and the order of batches.
    dtype
        Precision of the model.
    progress
        Called with the number of structures done, and of all, while arrays and neighbour lists are made.

    Attributes
    ----------
    name
        As the config names the dataset.
    train_rows, validation_rows
        Rows of the dataset, ascending.
    left_out
        How many structures are not validated on, since they have an element that none of the training structures has, or an
        energy where none with such an energy has the element.
    batches
        Which of the training rows make the k-th batch, as positions (see :class:`~mlipq.training.data.sampling.Batches`).

    Raises
    ------
    InputError
        If there are no such structures or fewer than asked for, or two atoms of one are at the same place.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: DataSettings,
        tasks: Sequence[Task],
        cutoff: float,
        seed: int,
        dtype: torch.dtype = torch.float32,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.name = settings.dataset
        self.tasks = tuple(tasks)
        self.settings = settings
        self.dtype = dtype
        self.train_rows, validation = choose_rows(dataset, settings, seed)
        self.dataset = dataset.materialise(progress)
        self.validation_rows = validation[self._known_elements(validation)]
        self.left_out = len(validation) - len(self.validation_rows)
        self._used = np.union1d(self.train_rows, self.validation_rows)
        self._neighbours = neighbours_of(self.dataset, self._used, cutoff, progress)
        self._extra = [name for name in ("cell", "pbc") if name in self.dataset.specs]
        words = np.frombuffer(bytes.fromhex(self.rows_sha256(self.train_rows)), dtype="<u4")
        self.batches = Batches(self._costs(self.train_rows), _budget(settings.batch), [seed, *words.tolist()])

    def __repr__(self) -> str:
        return f"<Source {self.name}: {len(self.train_rows)} structures to train on, {len(self.validation_rows)} to validate on>"

    def train_batch(self, k: int) -> NDArray[np.int64]:
        """Return the rows of the dataset that make training batch ``k``."""
        return self.train_rows[self.batches[k]]

    def validation_batches(self) -> list[NDArray[np.int64]]:
        """Return the rows of all validation batches, as large as those of training."""
        return self.in_batches(self.validation_rows)

    def in_batches(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return some rows of the dataset in their order, as batches as large as those of training."""
        return cut_full(rows, self._costs(rows), _budget(self.settings.batch))

    def batch(self, rows: NDArray[np.int64], device: torch.device = CPU) -> tuple[Batch, Labels]:
        """Return some of the structures, and their labels.

        Parameters
        ----------
        rows
            Of the dataset, in any order, among those trained and validated on.
        """
        arrays = self.arrays(rows)
        batch = collate(arrays, self._neighbours.take(self._places(rows)), self.dtype)
        labels = {task.name: torch.from_numpy(labels_of(task, arrays)) for task in self.tasks}
        if device.type == "cpu":
            return batch, labels
        return batch.to(device), {name: values.to(device) for name, values in labels.items()}

    def arrays(self, rows: NDArray[np.int64]) -> Mapping[str, NDArray]:
        """Return all arrays of some structures that the model and the tasks read."""
        targets = dict.fromkeys(task.target for task in self.tasks if task.target not in MODEL_INPUTS)
        return self.dataset.batch(rows, [*MODEL_INPUTS, *self._extra, *targets])

    def edges(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many edges each of these structures has."""
        places = self._places(rows)
        return self._neighbours.offsets[places + 1] - self._neighbours.offsets[places]

    def rows_sha256(self, rows: NDArray[np.int64]) -> str:
        """Return the SHA-256 of the identities of some structures, in this order: 64 hex digits."""
        identities = self.dataset.batch(rows, ["identity"])["identity"]
        return hashlib.sha256(np.ascontiguousarray(identities, dtype="<u8").tobytes()).hexdigest()

    def _known_elements(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which structures have known elements alone; where they have a label of an energy, known to that energy."""
        energies = [task.target for task in self.tasks if task.kind == "energy"]
        trained, asked = (self.dataset.batch(these, ["elements", *energies]) for these in (self.train_rows, rows))
        unknown = _others(asked["elements"], trained["elements"])
        for energy in energies:
            taught = trained["elements"][np.isfinite(trained[energy])]
            unknown |= np.isfinite(asked[energy]) & _others(asked["elements"], taught)
        return ~unknown

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._used, rows)

    def _costs(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.settings.batch.structures:
            return np.ones(len(rows), dtype=np.int64)
        if self.settings.batch.edges:
            return self.edges(rows)
        return self.dataset.atom_offsets[rows + 1] - self.dataset.atom_offsets[rows]


class Taken(NamedTuple):
    """Some structures of a source, as a batch: what one process works on in a step."""

    source: Source
    rows: NDArray[np.int64]
    batch: Batch
    labels: Labels


def energies_to_differentiate(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the energies whose forces are among the tasks."""
    return tuple(task.head for task in tasks if task.kind == "forces")


def _others(elements: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which structures have elements that none of the known ones has; both ``(structures, words)`` of bits."""
    found: NDArray[np.bool_] = (elements & ~np.bitwise_or.reduce(known, axis=0)).any(axis=1)
    return found


def _budget(batch: BatchSize) -> int:
    return batch.structures or batch.atoms or batch.edges or 1


def choose_rows(dataset: Dataset, settings: DataSettings, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the structures to train on, and those to validate on.

    Of fewer structures, those to train on are among those of more: a learning curve adds to what was there.

    Returns
    -------
    tuple
        Rows of the dataset, ascending each; none in common.

    Raises
    ------
    InputError
        If there is no such split, part or group, or there are fewer structures than asked for.
    """
    pool = _of_groups(dataset, _pool(dataset, settings), settings.groups)
    size = len(pool) if settings.size is None else settings.size
    if not 0 < size <= len(pool):
        raise InputError(
            f"{settings.dataset}: size: expected 1 to {len(pool):,} structures, which there are; got {size:,}"
        )
    drawn = np.random.default_rng(seed).permutation(pool)[:size]
    if isinstance(settings.validation, str):
        apart = dataset.select(split=_part(dataset, settings, settings.validation)).rows
        validation = np.setdiff1d(_of_groups(dataset, apart, settings.groups), drawn)
        if not len(validation):
            raise InputError(
                f"{settings.dataset}: validation: all structures of {settings.validation} are trained on; name another part, or a number"
            )
        return np.sort(drawn), validation
    n_validation = settings.validation
    if isinstance(n_validation, float):
        n_validation = max(round(n_validation * size), 1 if n_validation else 0)
    if n_validation >= size:
        raise InputError(
            f"{settings.dataset}: validation: {n_validation:,} of {size:,} structures leave none to train on; ask for fewer"
        )
    return np.sort(drawn[: size - n_validation]), np.sort(drawn[size - n_validation :])


def _pool(dataset: Dataset, settings: DataSettings) -> NDArray[np.int64]:
    splits = dataset.manifest.splits if dataset.manifest else {}
    if not splits and not settings.split and not settings.train:
        return np.arange(len(dataset))
    return dataset.select(split=_part(dataset, settings, settings.train)).rows


def _part(dataset: Dataset, settings: DataSettings, part: str) -> str:
    """Return ``split/part``, the only one to train on where no part is named."""
    splits = dataset.manifest.splits if dataset.manifest else {}
    where = f"{settings.dataset}: this dataset has"
    known = ", ".join(parts_of(splits)) or "no splits"
    if settings.split not in splits and (settings.split or len(splits) != 1):
        wanted = f"no split {settings.split!r}, but" if settings.split else "several splits, so name one by split:"
        raise InputError(f"{where} {wanted if splits else ''} {known}".replace("  ", " "))
    name = settings.split or next(iter(splits))
    parts = splits[name].counts
    if not part:
        candidates = [of_it for of_it in parts if of_it not in HELD_OUT]
        if len(candidates) != 1:
            raise InputError(f"{where} {known}; name the part to train on by train:")
        part = candidates[0]
    if part not in parts:
        raise InputError(f"{where} no part {part!r} in the split {name}, but {known}")
    return f"{name}/{part}"


def parts_of(splits: Mapping[str, Split]) -> list[str]:
    """Return the parts of all splits of a dataset, as ``split/part``."""
    return [f"{name}/{part}" for name, split in splits.items() for part in split.counts]


def _of_groups(dataset: Dataset, rows: NDArray[np.int64], groups: Sequence[str]) -> NDArray[np.int64]:
    if not groups:
        return rows
    found = dataset.batch(rows, ["group"])["group"].astype(str)
    there = np.unique(found).tolist()
    for group in groups:
        if group not in there:
            near = difflib.get_close_matches(group, there, 3, 0.0)
            raise InputError(
                f"no structure to choose from is of group {group!r}; the nearest of {len(there)} are {near}"
            )
    return rows[np.isin(found, groups)]
