"""Sources of real, labelled structures, and trainers on them that take milliseconds a step."""

from pathlib import Path

import pytest
import torch
from building import precision

from mlipq.store import Dataset, open_dataset
from mlipq.training.config import DataSettings, TrainingSettings
from mlipq.training.data.source import Source
from mlipq.training.loop.distributed import ALONE, World
from mlipq.training.loop.trainer import Trainer
from mlipq.training.models.potential import Potential, PotentialConfig
from mlipq.training.tasks.normalise import set_normalisers
from mlipq.training.tasks.task import heads_of, resolve_tasks

LABELLED = Path(__file__).parents[2] / "datasets" / "samples-gfn1" / "1.0.0"
"""2,314 molecules with GFN1 labels; 2,000 have a PBE0 energy."""

ENERGY = {"energy": {"target": "reference/pbe0_energy"}}
CHARGES = {"orbital_charges": {}}
FORCES = {"gfn1_energy": {}, "gfn1_forces": {"weight": 10.0}}


def labelled() -> Dataset:
    return open_dataset(LABELLED)


def settings_of(tasks: dict | None = None, **settings) -> DataSettings:
    settings.setdefault("batch", {"structures": 5})
    return DataSettings(
        **{"dataset": "samples-gfn1", "train": "pool", "size": 40, "tasks": tasks or ENERGY, **settings}
    )


def source_of(
    tasks: dict | None = None, *, seed: int = 0, cutoff: float = 4.0, dtype=torch.float64, dataset=None, **settings
) -> Source:
    dataset = dataset or labelled()
    chosen = settings_of(tasks, **settings)
    return Source(dataset, chosen, resolve_tasks(chosen, dataset), cutoff, seed, dtype)


def potential_on(sources: list[Source], dtype=torch.float64, seed: int = 0, **config) -> Potential:
    """A small potential for these sources, and scales for their tasks."""
    torch.manual_seed(seed)
    sizes = {"channels": 8, "layers": 2, "cutoff": 4.0, "radial": 4}
    with precision(dtype):
        potential = Potential(PotentialConfig(**{**sizes, **config}, heads=heads_of([one.tasks for one in sources])))
        found = set_normalisers(
            potential,
            [(one.tasks, lambda names, one=one: one.dataset.batch(one.train_rows, names)) for one in sources],
        )
    for source, tasks in zip(sources, found.tasks):
        source.tasks = tasks
    return potential


def trainer_of(*sources: Source, world: World = ALONE, dtype=torch.float64, config: dict | None = None, **training):
    training = {"steps": 8, "warmup": 3, "validate_every": 4, "ema": 0.9, **training}
    if "epochs" in training:
        del training["steps"]
    potential = potential_on(list(sources), dtype, **(config or {}))
    return Trainer(potential, sources, TrainingSettings(**training), world)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """One cache folder for all tests; arrays are made once."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.getbasetemp() / "training-cache"
    monkeypatch.setenv("MLIPQ_CACHE", str(folder))
    return folder
