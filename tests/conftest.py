"""Real structures for all tests: the bundled samples."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipq.structures import ReadOptions, Structure, find_inputs, read_structures

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # as in the labeling child, before tblite is loaded

SAMPLES = Path(__file__).parents[1] / "datasets" / "samples"


@functools.cache
def sample_structures(file: str) -> list[Structure]:
    (found,) = find_inputs([file], SAMPLES)
    return [item for item in read_structures(found, ReadOptions()) if isinstance(item, Structure)]


@pytest.fixture(scope="session")
def samples() -> Callable[[str], list[Structure]]:
    """All structures of one bundled sample file: ``samples("qm7")``."""
    return lambda name: sample_structures(f"{name}.extxyz" if name == "crystals" else f"{name}.extxyz.gz")


@pytest.fixture(scope="session")
def named(samples) -> Callable[[str, str], Structure]:
    """One structure of a sample file by its name."""
    return lambda file, name: next(structure for structure in samples(file) if structure.name == name)
