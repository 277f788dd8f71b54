"""Committed values, and mlipq's labels of the same structures."""

import functools
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlipq.structures.structure import Structure, rounded
from mlipq.xtb import Gfn1

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "datasets" / "samples"

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # small matrices: threads that spin on a busy machine cost minutes


def committed(name: str) -> dict[str, Any]:
    """Values in a JSON file of this folder."""
    return json.loads((HERE / name).read_text())


@functools.cache
def frames(file: str) -> list[ase.Atoms]:
    """All frames of a sample file, read by ASE alone."""
    text = gzip.decompress((SAMPLES / file).read_bytes()).decode()
    return ase.io.read(io.StringIO(text), index=":", format="extxyz")


def structure_of(value: dict[str, Any]) -> Structure:
    """The structure that a committed value belongs to."""
    atoms = frames(value["file"])[value["index"]]
    assert atoms.info.get("name", atoms.info.get("CSD_code")) == value["name"]
    charge, multiplicity = int(atoms.info["charge"]), int(atoms.info["spin_multiplicity"])
    return Structure(atoms.numbers.astype("u1"), rounded(atoms.positions), charge, multiplicity, name=value["name"])


def label(structure: Structure) -> dict[str, NDArray]:
    """mlipq's label, tightly converged."""
    return Gfn1(accuracy=0.01).label(structure).arrays


def by_name(value: dict[str, Any]) -> str:
    """Name of a test case."""
    return f"{value['file'].split('.')[0]}-{value['index']}"


def worst(difference: ArrayLike) -> float:
    """Largest absolute value."""
    return float(np.abs(difference).max())
