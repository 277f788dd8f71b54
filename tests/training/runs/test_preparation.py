"""Preparing a run: what is taken from training structures alone, and what is refused before there is a run."""

import numpy as np
import pytest
import torch
from running import content_of, small_dataset

from mlipq.errors import InputError
from mlipq.training.config import read_config
from mlipq.training.runs.preparation import prepare

TASKS = {
    "energy": {"target": "reference/pbe0_energy"},
    "gfn1_energy": {},
    "gfn1_forces": {},
    "orbital_charges": {},
    "orbital_moments": {},
    "dipole": {},
    "gap": "gfn1/homo_lumo_gap",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))


def prepared(dataset, tmp_path, **data):
    def change(content) -> None:
        content["data"][0] |= {"tasks": TASKS, **data}
        content["model"] |= {"composite": True}

    return prepare(read_config(content_of(dataset, tmp_path / "run", change)), lambda *at: None)


def test_labels_of_validation_structures_change_nothing(tmp_path):
    first = prepared(small_dataset(tmp_path / "first.zarr.zip"), tmp_path)
    (source,) = first.sources
    for part, rows in (("validation", source.validation_rows), ("train", source.train_rows)):

        def other_labels(table, rows=rows) -> None:
            offsets = table.arrays["atom_offsets"]
            atoms = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])
            for task in source.tasks:
                where = atoms if task.level == "atom" else rows
                table.arrays[task.target][where] = table.arrays[task.target][where] * 3 + 1

        again = prepared(small_dataset(tmp_path / f"{part}.zarr.zip", other_labels), tmp_path)
        assert again.sources[0].train_rows.tolist() == source.train_rows.tolist()
        before, after = first.potential.state_dict(), again.potential.state_dict()
        same = all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)
        assert same == (again.sources[0].tasks == source.tasks) == (part == "validation")


@pytest.mark.parametrize(("best_by", "said"), [("energy", "label of energy, by which"), ("", None)])
def test_validation_structures_without_the_labels_that_choose_are_refused(tmp_path, best_by, said):
    dataset = small_dataset(tmp_path / "first.zarr.zip")
    rows = prepared(dataset, tmp_path).sources[0].validation_rows

    def no_energies(table) -> None:
        table.arrays["reference/pbe0_energy"][rows] = np.nan

    lacking = small_dataset(tmp_path / "second.zarr.zip", no_energies)
    config = read_config(content_of(lacking, tmp_path / "run"), training={"best_by": best_by})
    if said is None:
        assert prepare(config, lambda *at: None).sources[0].validation_rows.tolist() == rows.tolist()
    else:
        with pytest.raises(InputError, match=f"none of the 8 validation structures has a {said}"):
            prepare(config, lambda *at: None)
