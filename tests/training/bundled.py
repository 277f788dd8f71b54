"""The bundled dataset, and tasks on it."""

import functools
import tempfile

import pytest

from mlipq import open_dataset, resources
from mlipq.store import Dataset
from mlipq.training.config import DataSettings, read_config
from mlipq.training.tasks.task import Task, resolve_tasks


@functools.cache
def bundled() -> Dataset:
    """Molecules of QM7, GSCDB138, tmQM and MOPAC's set: each has labels that the others lack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(resources.CACHE_SETTING, tempfile.mkdtemp(prefix="mlipq-test-"))
        return open_dataset(resources.samples().parent / "samples-gfn1" / "1.0.0").materialise()


def settings_of(tasks: dict) -> DataSettings:
    (data,) = read_config({"output": "x", "data": [{"dataset": "mine", "tasks": tasks}]}).data
    return data


def tasks_of(tasks: dict, dataset: Dataset | None = None) -> tuple[Task, ...]:
    return resolve_tasks(settings_of(tasks), dataset or bundled())
