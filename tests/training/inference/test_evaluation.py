"""Errors against labels: the same figures by hand, masks, other targets, and what is kept in a run's folder."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from building import batch_of, potential_of
from running import content_of, files_of, small_dataset
from trained import model_of, molecules_file, trained

from mlipq import open_dataset, resources
from mlipq.errors import InputError
from mlipq.store import structure_at
from mlipq.training.config import read_config
from mlipq.training.inference.evaluation import Rows, evaluate
from mlipq.training.inference.predictor import Predictor
from mlipq.training.inference.report import evaluate_model
from mlipq.training.models.moments import SHELL_MASK
from mlipq.training.runs.launch import train
from mlipq.training.saved.model import load_model

SAMPLES = resources.samples().parent / "samples-gfn1" / "1.0.0"


def by_task(evaluation) -> dict:
    return {(error.task, error.unit): error for error in evaluation.errors}


def test_errors_are_those_found_by_hand(tmp_path):
    run = trained(tmp_path)
    dataset, potential = open_dataset(molecules_file()), load_model(run).potential
    found = by_task(evaluate(Predictor(load_model(run)), dataset))
    table = dataset.take(slice(None))
    residuals: dict = {
        "energy": [],
        "per atom": [],
        "gfn1_energy": [],
        "gfn1_forces": [],
        "orbital_charges": [],
        "dipole": [],
    }
    for row in range(len(table)):
        structure = replace(structure_at(table, row), reference={}, extra={})
        atoms, arrays = table.atoms_of(row), table.arrays
        out = potential(batch_of(structure, cutoff=3.0, dtype=torch.float32).differentiable(), ["gfn1_energy"])
        out = {key: values.detach().numpy().astype(np.float64) for key, values in out.items()}
        energy = out["energy"][0] - arrays["reference/pbe0_energy"][row]
        residuals["energy"].append(energy)
        residuals["per atom"].append(energy / len(structure))
        residuals["gfn1_energy"].append(out["gfn1_energy"][0] - arrays["gfn1/energy"][row])
        residuals["gfn1_forces"].append(out["gfn1_forces"] - arrays["gfn1/forces"][atoms])
        has = SHELL_MASK.numpy()[structure.numbers] == 1
        residuals["orbital_charges"].append((out["orbital_charges"] - arrays["gfn1/orbital_charges"][atoms])[has])
        residuals["dipole"].append(out["dipole"][0] - arrays["gfn1/dipole"][row])
    units = {
        "energy": "meV",
        "per atom": "meV/atom",
        "gfn1_energy": "meV",
        "gfn1_forces": "meV/Å",
        "orbital_charges": "me",
    }
    for name, parts in residuals.items():
        values = 1e3 * np.concatenate([np.ravel(part) for part in parts])
        error = found[name.replace("per atom", "energy"), units.get(name, "me·Å")]
        assert error.n == len(values)
        assert error.mae == pytest.approx(np.abs(values).mean(), rel=1e-4)
        assert error.rmse == pytest.approx(np.sqrt(np.square(values).mean()), rel=1e-4)
    assert len(found) == len(residuals) + 1  # the GFN1 energy an atom too


def test_missing_labels_are_not_compared(tmp_path):
    def change(table) -> None:
        table.arrays["reference/pbe0_energy"][::2] = np.nan

    dataset = open_dataset(small_dataset(tmp_path / "gaps.zarr.zip", change))
    rows = Rows()
    predictor = Predictor(load_model(trained(tmp_path)))
    found = by_task(evaluate(predictor, dataset, rows=rows))
    assert found["energy", "meV"].n == len(dataset) / 2
    assert found["gfn1_forces", "meV/Å"].n == 3 * dataset.atom_offsets[-1]
    rows.write(tmp_path / "errors.csv")
    lines = list(csv.DictReader((tmp_path / "errors.csv").open()))
    assert [line["energy_mae_meV"] == "" for line in lines] == [True, False] * (len(dataset) // 2)
    known = [float(line["energy_mae_meV"]) for line in lines[1::2]]
    assert np.mean(known) == pytest.approx(found["energy", "meV"].mae)
    label = dataset["reference/pbe0_energy"][:][1]
    assert float(lines[1]["energy_label_eV"]) == pytest.approx(label)
    assert lines[1]["name"] == dataset["name"][:][1]
    assert float(lines[1]["energy_predicted_eV"]) == pytest.approx(
        predictor.predict([dataset.structure(1)])["energy"][0]
    )

    def none(table) -> None:
        table.arrays["reference/pbe0_energy"][:] = np.nan

    without = open_dataset(small_dataset(tmp_path / "none.zarr.zip", none))
    error = by_task(evaluate(predictor, without))["energy", "meV"]
    assert error.n == 0
    assert np.isnan(error.mae)


def test_other_elements_are_left_out_and_counted(tmp_path):
    dataset = open_dataset(SAMPLES)
    molecules = dataset.select(only=["H", "C", "N", "O", "S"], split="qm7/pool")
    index = np.union1d(molecules.rows[:35], dataset.select(contains="S", split="qm7/pool").rows[:5])
    predictor = Predictor(load_model(trained(tmp_path)))
    found = evaluate(predictor, dataset, index)
    table = dataset.take(index)
    sulphur = sum(16 in table.arrays["atomic_numbers"][table.atoms_of(row)] for row in range(len(table)))
    assert sulphur >= 5
    assert found.left_out == {"S": sulphur}
    assert found.structures == by_task(found)["energy", "meV"].n == len(index) - sulphur
    uranium = model_of(potential_of(torch.float32, elements=(92,)), tmp_path / "uranium")
    with pytest.raises(InputError, match=f"knows none of the {len(index)} structures"):
        evaluate(Predictor(uranium), dataset, index, {"energy": "reference/pbe0_energy"})


def test_an_element_without_a_reference_energy_has_no_energy(samples, tmp_path):
    """As after training on two datasets, one of which has more elements, but no DFT energies."""
    heads = ("energy", "gfn1_energy", "orbital_charges")
    potential = potential_of(torch.float32, heads=heads, elements=(1, 6, 7, 8))
    potential.heads["energy"].references[8] = torch.nan
    predictor = Predictor(model_of(potential, tmp_path / "run"))
    ether = next(s for s in samples("qm7") if 8 in s.numbers and 16 not in s.numbers)
    assert predictor.predict([ether], ["gfn1_energy", "gfn1_forces", "orbital_charges"])["gfn1_energy"].shape == (1,)
    for outputs in (None, ["energy"], ["forces"], ["stress"]):
        with pytest.raises(InputError, match=r"no energy of the element O was in training; this model knows H, C, N$"):
            predictor.predict([ether], outputs)
    dataset = open_dataset(molecules_file())
    oxygen = len(dataset.select(contains="O").rows)
    assert 0 < oxygen < len(dataset)
    assert evaluate(predictor, dataset, targets={"energy": "reference/pbe0_energy"}).left_out == {"O": oxygen}


def test_what_is_no_number_is_not_taken_for_a_missing_label(tmp_path):
    model = load_model(trained(tmp_path))
    model.potential.heads["dipole"].network[2].weight.data.fill_(3e38)
    with pytest.raises(InputError, match=r"structure 0 .*: the model gives no finite number for dipole"):
        evaluate(Predictor(model), open_dataset(molecules_file()))


def test_another_target(tmp_path):
    predictor = Predictor(load_model(trained(tmp_path)))
    dataset = open_dataset(molecules_file())
    own, other = (by_task(evaluate(predictor, dataset, targets=targets)) for targets in ({}, {"energy": "gfn1/energy"}))
    assert other["energy", "meV"].target == "gfn1/energy"
    assert other["energy", "meV"].mae > 10 * own["energy", "meV"].mae
    for targets, said in (
        ({"energie": "gfn1/energy"}, "no output 'energie'"),
        ({"energy": "gfn1/energi"}, "no array gfn1/energi; did you mean gfn1/energy"),
        ({"energy": "gfn1/forces"}, "gfn1/forces .* is not said to be one"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate(predictor, dataset, targets=targets)
    foreign = model_of(potential_of(torch.float32, heads=("gfn1_energy",)), tmp_path / "foreign")
    assert foreign.outputs["gfn1_energy"].target == "gfn1/gfn1_energy"
    with pytest.raises(InputError, match=r"none of the labels that this model learned .*--target"):
        evaluate(Predictor(foreign), dataset)


def test_the_result_is_kept_in_the_run_and_nothing_else_changes(tmp_path):
    run = trained(tmp_path)
    before = files_of(run)
    report = evaluate_model(run)
    assert report.file == run / "evaluations" / "molecules.zarr.zip-best.json"
    kept = json.loads(report.file.read_text())
    assert kept["structures"] == 32
    assert kept["errors"][0]["unit"] == "meV"
    after = files_of(run)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"evaluations/molecules.zarr.zip-best.json"}
    assert evaluate_model(run, "last").file.name == "molecules.zarr.zip-last.json"


def test_a_part_is_named_and_a_test_part_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv(resources.CACHE_SETTING, str(tmp_path / "cache"))

    def change(content) -> None:
        content["data"][0] |= {"split": "qm7", "train": "pool", "size": 16, "validation": 4}

    train(read_config(content_of(SAMPLES, tmp_path / "run", change)))
    with pytest.raises(InputError, match=r"which part.* qm7/pool, qm7/test"):
        evaluate_model(tmp_path / "run")
    with pytest.raises(InputError, match="should be a part of a split"):
        evaluate_model(tmp_path / "run", part="qm7/tset")
    first, again = (evaluate_model(tmp_path / "run", part="test") for _ in range(2))
    assert first.part == "qm7/test"
    assert first.file.name == "samples-gfn1-1.0.0-qm7-test-best.json"
    assert "to be read once" in first.note
    assert "read before" not in first.note
    assert "read before" in again.note
    note = evaluate_model(tmp_path / "run", part="qm7/pool").note
    assert re.fullmatch(r"The run learned from 16 of these [\d,]+ structures, or chose its weights by them: .*", note)
    assert "learned from" not in first.note
    assert evaluate_model(tmp_path / "run", dataset=str(SAMPLES), part="qm7/pool").note == note


def test_a_run_that_cannot_be_written_to_is_still_measured(tmp_path):
    run = trained(tmp_path)
    (run / "evaluations").write_text("in the way")
    report = evaluate_model(run)
    assert report.file is None
    assert "not kept" in report.note
    assert report.evaluation.structures == 32
