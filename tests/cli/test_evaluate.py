"""``mlipq evaluate`` as a user meets it."""

import csv
import json

import pytest
from running import files_of
from trained import molecules_file, trained


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path)


def test_a_table_in_named_units(mlipq, run):
    ended = mlipq("evaluate", run)
    assert ended.code == 0, ended.err
    first, header, *rows = ended.out.splitlines()
    assert first.endswith("molecules.zarr.zip: 32 structures")
    assert header.split() == ["output", "against", "unit", "numbers", "MAE", "RMSE"]
    assert [row.split()[0] for row in rows[:7]] == ["energy"] * 2 + ["gfn1_energy"] * 2 + [
        "gfn1_forces",
        "orbital_charges",
        "dipole",
    ]
    assert rows[0].split()[1:5] == ["reference/pbe0_energy", "(PBE0)", "meV", "32"]
    assert "meV/atom" in rows[1]
    assert rows[7] == f"written to {run}/evaluations/molecules.zarr.zip-best.json"


def test_json_is_what_is_kept(mlipq, run, tmp_path):
    ended = mlipq("evaluate", run, "--json", "--per-structure", "errors.csv")
    (kept,) = (run / "evaluations").iterdir()
    assert ended.json == json.loads(kept.read_text())
    assert [error["task"] for error in ended.json["errors"]][:2] == ["energy", "energy"]
    lines = list(csv.DictReader((tmp_path / "errors.csv").open()))
    assert len(lines) == 32
    mean = sum(float(line["energy_mae_meV"]) for line in lines) / 32
    assert mean == pytest.approx(ended.json["errors"][0]["mae"])


def test_a_package_is_measured_and_nothing_is_kept(mlipq, run, tmp_path):
    assert mlipq("package", run, "-o", "model.mlipq").code == 0
    before = files_of(tmp_path)
    whole = mlipq("evaluate", run, "--json").json["errors"]
    ended = mlipq("evaluate", "model.mlipq", "--dataset", molecules_file(), "--json")
    assert ended.code == 0, ended.err
    small = {(error["task"], error["unit"]): error for error in ended.json["errors"]}
    assert {task for task, _ in small} == {"energy", "orbital_charges"}
    for error in whole:
        if error["task"] in ("energy", "orbital_charges"):
            assert small[error["task"], error["unit"]]["mae"] == pytest.approx(error["mae"], rel=1e-5)
    assert set(files_of(tmp_path)) - set(before) == {"run/evaluations/molecules.zarr.zip-best.json"}
