"""From a configuration to what trains: datasets opened, tasks found, structures drawn, the potential built and normalised.

Nothing is written but caches: whatever is wrong with a configuration or its datasets comes up here, before there is a run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from ase.data import chemical_symbols

from mlipq.errors import InputError
from mlipq.hub import open_dataset
from mlipq.training.config import RunConfig
from mlipq.training.data.source import Source
from mlipq.training.models.potential import Potential, precision
from mlipq.training.runs.run import Data, DataRecord, LabelRecord, ReferenceRecord
from mlipq.training.runs.starting import begin_energies, take_weights
from mlipq.training.saved.model import Output
from mlipq.training.tasks.normalise import elements_of, set_normalisers
from mlipq.training.tasks.references import References
from mlipq.training.tasks.task import LabelCount, Task, heads_of, labels_of, resolve_tasks

Progress = Callable[[str, int, int], None]
"""Called with what is prepared, how many structures are done, and how many there are."""


@dataclass(frozen=True)
class Prepared:
    """What a trainer needs, and what a run's folder says of it."""

    potential: Potential
    sources: tuple[Source, ...]
    outputs: dict[str, Output]
    data: Data


def prepare(config: RunConfig, progress: Progress) -> Prepared:
    """Prepare a run.

    Parameters
    ----------
    config
        What to train on what.
    progress
        Hears of arrays and neighbour lists that are made for the first time.

    Raises
    ------
    InputError
        If a dataset, target, split, size or model to start from is not there or does not fit; if a task has no label.
    """
    dtype = getattr(torch, config.training.precision)
    opened = [open_dataset(settings.dataset) for settings in config.data]
    tasks = [resolve_tasks(settings, dataset) for settings, dataset in zip(config.data, opened)]
    heads = heads_of(tasks)
    sources = tuple(
        Source(dataset, settings, own, config.model.cutoff, config.seed, dtype, partial(progress, settings.dataset))
        for dataset, settings, own in zip(opened, config.data, tasks)
    )
    labelled = [(source.tasks, partial(source.dataset.batch, source.train_rows)) for source in sources]
    with precision(dtype):
        torch.manual_seed(config.seed)
        potential = Potential(config.model.build(heads, elements_of(labelled)))
        start = take_weights(config, potential, tasks)
        normalisers = set_normalisers(potential, labelled, start.kept)
    _refuse_blind(sources[0], config.training.best_by)
    for source, own in zip(sources, normalisers.tasks):
        source.tasks = own
    references = normalisers.references | begin_energies(start, potential, sources)
    outputs = {
        task.name: _output(task) for own in reversed(tasks) for task in own
    }  # of several, that of the first dataset
    return Prepared(potential, sources, outputs, _data(sources, normalisers.counts, references))


def _refuse_blind(source: Source, best_by: str) -> None:
    """Refuse a run whose best weights could not be told: no validation structure has a label that chooses them."""
    tasks = [task for task in source.tasks if best_by in ("", task.name)]
    arrays = source.dataset.batch(source.validation_rows, ["atomic_numbers", *(task.target for task in tasks)])
    if not any(np.isfinite(labels_of(task, arrays)).any() for task in tasks):
        raise InputError(
            f"{source.name}: none of the {len(source.validation_rows):,} validation structures has a label of "
            f"{' or '.join(task.name for task in tasks)}, by which the best weights are chosen; {source.left_out:,} were left out "
            "since training has not all of their elements: take more structures, or another part for validation"
        )


def _output(task: Task) -> Output:
    return Output(target=task.target, unit=task.unit, level=task.level, level_of_theory=task.level_of_theory)


def _data(
    sources: Sequence[Source], counts: Sequence[dict[str, LabelCount]], references: Mapping[str, References]
) -> Data:
    return Data(
        datasets=tuple(_record(source, own) for source, own in zip(sources, counts)),
        references={
            head: ReferenceRecord(energies=found.by_symbol(), rank=found.rank) for head, found in references.items()
        },
    )


def _record(source: Source, counts: dict[str, LabelCount]) -> DataRecord:
    dataset, manifest = source.dataset, source.dataset.manifest
    parts = {"train": source.train_rows, "validation": source.validation_rows}
    seen = dataset.batch(source.train_rows, ["atomic_numbers", "charge", "multiplicity"])
    return DataRecord(
        dataset=source.name,
        name=manifest.ref if manifest else "",
        sha256=dataset.sha256,
        licence=manifest.licence if manifest else "",
        citation=manifest.citation if manifest else "",
        structures={part: len(rows) for part, rows in parts.items()},
        left_out=source.left_out,
        rows_sha256={part: source.rows_sha256(rows) for part, rows in parts.items()},
        labels={task.name: _labels(task, counts[task.name]) for task in source.tasks},
        elements=tuple(chemical_symbols[z] for z in np.unique(seen["atomic_numbers"])),
        charges=tuple(np.unique(seen["charge"]).tolist()),
        multiplicities=tuple(np.unique(seen["multiplicity"]).tolist()),
    )


def _labels(task: Task, count: LabelCount) -> LabelRecord:
    return LabelRecord(
        target=task.target,
        level_of_theory=task.level_of_theory,
        unit=task.unit,
        labels=count.labels,
        missing=count.missing,
        no_shell=count.no_shell,
    )
