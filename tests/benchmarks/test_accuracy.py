"""The final errors are measured once, on a run that goes on where it was stopped, and every recipe is one that trains."""

import json

import pytest
import yaml

from benchmarks.training import accuracy
from mlipq.errors import IncompleteError, InputError
from mlipq.training import read_config


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of the benchmark with one recipe, of a dataset that is bundled."""
    recipe = {
        "output": "x",
        "model": {"channels": 8, "layers": 1},
        "data": [
            {
                "dataset": "samples-gfn1@1.0.0",
                "split": "qm7",
                "size": 12,
                "validation": 4,
                "batch": {"structures": 4},
                "tasks": {"gfn1_energy": {}},
            }
        ],
        "training": {"steps": 4, "validate_every": 2, "threads": 1},
    }
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setattr(accuracy, "HERE", tmp_path)
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path / "results")
    return tmp_path


def test_the_test_structures_are_read_once(here):
    row = accuracy.row_of("small", 3, here / "runs", trial=None)
    (file,) = (here / "results").iterdir()
    assert file.name == "small-3.json"
    assert json.loads(file.read_text())["rows"] == [row]
    assert (row["run"], row["seed"], row["steps"]) == ("small-3", 3, 4)
    assert row["structures"] + sum(row["left_out"].values()) == 400
    assert "gfn1_energy_mae_meV" in row["test"]
    file.write_text(json.dumps({"rows": ["as it was written"]}))
    assert accuracy.row_of("small", 3, here / "none", trial=None) == "as it was written"
    assert not (here / "none").exists()


def test_a_trial_reads_no_test_structure(here):
    row = accuracy.row_of("small", 0, here / "runs", trial=2)
    assert row["steps"] == 2
    assert row["validation"].keys() == {"gfn1_energy_mae_meV"}
    assert not (here / "results").exists()
    assert not list((here / "runs").glob("*/evaluations"))


def test_a_run_that_was_stopped_goes_on(here, monkeypatch):
    progress = accuracy.TrainingProgress

    class Stopping(progress):
        def validated(self, row):
            raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "TrainingProgress", Stopping)
    with pytest.raises(IncompleteError, match="mlipq resume"):
        accuracy.row_of("small", 0, here / "runs", trial=None)
    monkeypatch.setattr(accuracy, "TrainingProgress", progress)
    assert accuracy.row_of("small", 0, here / "runs", trial=None)["steps"] == 4


def test_a_damaged_run_is_not_measured(here):
    accuracy.row_of("small", 0, here / "runs", trial=None)
    (here / "results" / "small-0.json").unlink()
    (here / "runs" / "small-0" / "ema.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError):
        accuracy.row_of("small", 0, here / "runs", trial=None)
    assert not list((here / "results").iterdir())


@pytest.mark.parametrize("recipe", accuracy.RECIPES)
def test_recipes_can_be_read(recipe):
    config = read_config(accuracy.HERE / "recipes" / f"{recipe}.yaml")
    assert all(data.train != "test" for data in config.data)
    assert config.output.endswith(recipe)
