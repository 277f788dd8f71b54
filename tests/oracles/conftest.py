"""Structures and labels that committed values are compared with."""

import functools
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from mlipq.structures.structure import Structure, rounded
from mlipq.xtb import Gfn1, Label

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "datasets" / "samples"


@functools.cache
def frames(file: str) -> list[ase.Atoms]:
    text = gzip.decompress((SAMPLES / file).read_bytes()).decode()
    return ase.io.read(io.StringIO(text), index=":", format="extxyz")


def structure_of(value: dict[str, Any]) -> Structure:
    atoms = frames(value["file"])[value["index"]]
    assert atoms.info.get("name", atoms.info.get("CSD_code")) == value["name"]
    charge, multiplicity = int(atoms.info["charge"]), int(atoms.info["spin_multiplicity"])
    return Structure(atoms.numbers.astype("u1"), rounded(atoms.positions), charge, multiplicity, name=value["name"])


def committed(name: str) -> dict[str, Any]:
    return json.loads((HERE / name).read_text())


def by_name(value: dict[str, Any]) -> str:
    return f"{value['file'].split('.')[0]}-{value['index']}"


@pytest.fixture(scope="session")
def label_of() -> Callable[[dict[str, Any]], tuple[Structure, Label]]:
    """Label a committed structure, tightly converged."""

    def label(value: dict[str, Any]) -> tuple[Structure, Label]:
        structure = structure_of(value)
        return structure, Gfn1(accuracy=0.01).label(structure)

    return label


def worst(difference: Any) -> float:
    return float(np.abs(difference).max())
