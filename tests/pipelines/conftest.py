"""The recipe for new molecules, and a small dataset that it is tried on."""

import sys
from pathlib import Path

import pytest
from molecule_datasets import dataset_of

import mlipq

sys.path.insert(0, str(Path(__file__).parents[2] / "pipelines"))  # as of a script that stands there


@pytest.fixture(scope="session")
def dataset(samples, tmp_path_factory):
    """The folder of the bundled qm7 molecules as a dataset with a split: 150 of the pool, 50 of the test part."""
    structures = samples("qm7")
    parts = ["test" if number % 4 == 0 else "pool" for number in range(len(structures))]
    return dataset_of(tmp_path_factory.mktemp("dataset"), structures, parts)


@pytest.fixture(scope="session")
def pool(dataset):
    """The graphs of this dataset."""
    from generation.pool import read_pool

    return read_pool(mlipq.open_dataset(dataset), "mine", "test")
