"""Bad input to ``mlipq train`` and ``mlipq resume``: what it says, its exit code, and that no folder of a run is harmed."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
import yaml
from running import content_of, files_of, molecules, same_everywhere, small_dataset

from mlipq import open_dataset, resources
from mlipq.store import Table, write_shard

SAMPLES_GFN1 = resources.samples().parent / "samples-gfn1" / "1.0.0"


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def train(mlipq, tmp_path):
    """Train on the molecules, dataset and config changed: ``train(dataset=…, config=…)``."""

    def run(dataset=lambda table: None, config=lambda content: None):
        path = small_dataset(tmp_path / "molecules.zarr.zip", dataset)
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(content_of(path, "run", config), sort_keys=False))
        return mlipq("train", "run.yaml")

    yield run
    assert not list(tmp_path.glob(".tmp*"))


def refused(ended, tmp_path, code: int = 2) -> str:
    """Return the message of a run that never was."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert ended.err.startswith("mlipq: ")
    assert "Traceback" not in ended.err
    assert not (tmp_path / "run").exists()
    return ended.err


def respec(table: Table, name: str, **changes) -> None:
    table.specs[name] = replace(table.specs[name], **changes)


class TestConfig:
    def test_an_unknown_key(self, train, tmp_path):
        def misspelt(content):
            content["training"]["learning_rat"] = 1e-3
            content["data"][0]["task"] = content["data"][0].pop("tasks")

        message = refused(train(config=misspelt), tmp_path)
        assert "run.yaml: this run cannot be started:" in message
        assert "training.learning_rat: unknown key; did you mean learning_rate?" in message
        assert "data.0.task: unknown key; did you mean tasks?" in message
        assert "data.0.tasks: missing" in message

    def test_broken_yaml(self, mlipq, tmp_path):
        (tmp_path / "run.yaml").write_text("output: run\ndata: [dataset: qm7-gfn1\n")
        assert "run.yaml: not YAML: line 3, column 1: " in refused(mlipq("train", "run.yaml"), tmp_path)

    def test_no_such_dataset(self, train, tmp_path):
        def absent(content):
            content["data"][0]["dataset"] = "qm77-gfn1"

        assert "the catalogue has no dataset 'qm77-gfn1'; those it has: " in refused(train(config=absent), tmp_path)

    def test_no_such_model_to_start_from(self, train, tmp_path):
        def absent(content):
            content["start_from"] = "runs/never"

        assert "runs/never" in refused(train(config=absent), tmp_path)

    def test_more_structures_than_there_are(self, train, tmp_path):
        def many(content):
            content["data"][0]["size"] = 1000

        assert "size: expected 1 to 32 structures, which there are; got 1,000" in refused(train(config=many), tmp_path)


class TestTargets:
    def test_a_target_that_is_not_there(self, train, tmp_path):
        def other(content):
            content["data"][0]["tasks"]["energy"]["target"] = "reference/pbe_energy"

        message = refused(train(config=other), tmp_path)
        assert "task energy: the dataset" in message
        assert "has no array reference/pbe_energy; did you mean reference/pbe0_energy?" in message

    def test_no_target_for_what_has_no_default(self, train, tmp_path):
        def free(content):
            content["data"][0]["tasks"]["gap"] = {}

        message = refused(train(config=free), tmp_path)
        assert "task gap should name its target, an array of the dataset" in message
        assert "gfn1/homo_lumo_gap" in message

    def test_another_unit(self, train, tmp_path):
        def hartree(table):
            respec(table, "reference/pbe0_energy", unit="Eh")

        message = refused(train(dataset=hartree), tmp_path)
        assert "task energy: energy should be in eV; reference/pbe0_energy" in message
        assert "is in Eh" in message

    def test_which_energy(self, train, tmp_path):
        def main(content):
            content["data"][0]["tasks"]["energy"]["target"] = "main"

        message = refused(train(config=main), tmp_path)
        assert "which energy?" in message
        assert "gfn1/energy, reference/pbe0_energy" in message
        assert "--energy" in message

    def test_no_label_at_all(self, train, tmp_path):
        def erased(table):
            table.arrays["reference/pbe0_energy"][:] = np.nan

        message = refused(train(dataset=erased), tmp_path)
        assert "task energy: none of the training structures has a label in reference/pbe0_energy" in message


class TestLabels:
    def test_missing_ones_are_masked_and_counted(self, train, tmp_path):
        def holes(table):
            table.arrays["reference/pbe0_energy"][::3] = np.nan

        assert train(dataset=holes).code == 0
        card = (tmp_path / "run" / "README.md").read_text()
        labels = yaml.safe_load((tmp_path / "run" / "data.json").read_text())["datasets"][0]["labels"]["energy"]
        assert labels["labels"] + labels["missing"] == 24
        assert labels["missing"] > 0
        assert f"{labels['labels']} labels, {labels['missing']} missing" in card

    def test_a_label_that_ruins_the_loss(self, train, tmp_path, mlipq):
        """Found in training: the folder stays as the last checkpoint left it, and says where to look."""

        def rate(content):
            content["training"] |= {"learning_rate": 1e30, "steps": 100, "warmup": 0}

        ended = train(config=rate)
        assert ended.code == 1
        assert "is no finite number at step " in ended.err
        assert "structures " in ended.err
        before = files_of(tmp_path / "run")
        assert mlipq("resume", "run").code == 1  # the same weights give the same
        after = files_of(tmp_path / "run")
        assert {name for name in before if before[name] != after[name]} <= {
            "environment.json",
            "README.md",
            "curves.png",
        }


class TestStructures:
    def test_isolated_atoms_and_an_atom_without_neighbours(self, mlipq, tmp_path):
        """Single atoms, and molecules of which one atom is far from the rest."""
        atoms = open_dataset(SAMPLES_GFN1).select(max_atoms=1)
        table = Table.concatenate([molecules(), atoms.take(slice(None))])
        for row in range(0, len(molecules()), 4):
            table.arrays["positions"][table.arrays["atom_offsets"][row]] += 50.0
        write_shard(tmp_path / "atoms.h5", table, {})

        def xtb(content):
            content["data"][0]["tasks"] = {"gfn1_energy": {}, "gfn1_forces": {}, "orbital_charges": {}}
            content["data"][0]["validation"] = 0.3

        (tmp_path / "run.yaml").write_text(yaml.safe_dump(content_of("atoms.h5", "run", xtb)))
        ended = mlipq("train", "run.yaml", "--json")
        assert ended.code == 0, ended.err
        assert all(np.isfinite(error) for error in ended.json["validation"].values())
        assert len(ended.json["validation"]) == 3

    def test_two_atoms_at_one_place(self, train, tmp_path):
        def doubled(table):
            table.arrays["positions"][1] = table.arrays["positions"][0]

        assert "at the same place" in refused(train(dataset=doubled), tmp_path)


class TestFolders:
    """Of runs that are there."""

    @pytest.fixture
    def stopped(self, train, tmp_path, monkeypatch):
        """A run that was stopped after its first checkpoint: its disk was full."""
        import mlipq.training.runs.recording as recording

        writing = recording.write_checkpoint

        def fails(folder, state):
            if state.counters.step > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            writing(folder, state)

        with monkeypatch.context() as patch:
            patch.setattr(recording, "write_checkpoint", fails)
            assert train().code == 3
        return tmp_path / "run"

    def test_a_second_train(self, mlipq, stopped):
        before = files_of(stopped)
        ended = mlipq("train", "run.yaml")
        assert ended.code == 2
        assert "run holds a run that is not finished; go on with it:  mlipq resume run" in ended.err
        assert files_of(stopped) == before

    def test_a_folder_of_something_else(self, train, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("Dear diary,")
        ended = train()
        assert ended.code == 2
        assert "run is there already and is no run; name a folder that does not exist yet" in ended.err
        assert files_of(tmp_path / "run") == {"notes.txt": b"Dear diary,"}

    def test_no_run(self, mlipq, tmp_path):
        ended = mlipq("resume", "absent")
        assert ended.code == 2
        assert "absent is no folder of a run: there is no such folder" in ended.err
        assert list(tmp_path.iterdir()) == []

    def test_a_changed_config(self, mlipq, stopped):
        path = stopped / "config.yaml"
        path.write_text(path.read_text().replace("steps: 12", "steps: 24"))
        before = files_of(stopped)
        ended = mlipq("resume", "run")
        assert ended.code == 2
        assert "config.yaml was changed since this run began:\n  training.steps: 12 → 24\n" in ended.err
        assert files_of(stopped) == before

    @pytest.mark.parametrize(
        "damage", [lambda data: data[:-7], lambda data: data[:200] + b"\xff" + data[201:], lambda data: b""]
    )
    @pytest.mark.parametrize("what", ["*.safetensors", "state.json"])
    def test_a_damaged_checkpoint(self, mlipq, stopped, what, damage):
        (path,) = (stopped / "checkpoint").glob(what)
        path.write_bytes(damage(path.read_bytes()))
        before = files_of(stopped)
        ended = mlipq("resume", "run")
        assert ended.code == 2
        where = "run/checkpoint" if what == "*.safetensors" else "run/checkpoint/state.json"
        assert f"mlipq: {where} is damaged: " in ended.err
        assert "Restore run/checkpoint from a copy; or remove it, and the run starts over" in ended.err
        assert files_of(stopped) == before

    def test_a_changed_dataset(self, mlipq, stopped, tmp_path):
        def better(table):
            table.arrays["reference/pbe0_energy"][3] -= 1.0

        small_dataset(tmp_path / "molecules.zarr.zip", better)
        before = files_of(stopped)
        ended = mlipq("resume", "run")
        assert ended.code == 2
        assert "its data is not what it began with (data.json):\n  datasets.0.sha256: " in ended.err
        assert files_of(stopped) == before

    def test_a_dataset_that_is_gone(self, mlipq, stopped, tmp_path):
        (tmp_path / "molecules.zarr.zip").rename(tmp_path / "renamed.zarr.zip")
        before = files_of(stopped)
        ended = mlipq("resume", "run")
        assert ended.code == 2
        assert "molecules.zarr.zip" in ended.err
        assert files_of(stopped) == before

    def test_after_a_full_disk_it_goes_on(self, mlipq, stopped, tmp_path):
        assert mlipq("resume", "run").code == 0
        assert mlipq("train", "run.yaml", "-o", "undisturbed").code == 0
        assert same_everywhere(stopped) == same_everywhere(tmp_path / "undisturbed")
