"""Training into a folder, and on from one: whatever stops it, and however often, the weights are those of a run that never stopped."""

import os
import resource
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from running import content_of, files_of, in_child, in_fresh_process, same_everywhere, small_dataset

from mlipq import open_dataset
from mlipq.errors import IncompleteError, InputError
from mlipq.training.config import read_config
from mlipq.training.data.source import choose_rows
from mlipq.training.inference.predictor import Predictor
from mlipq.training.models.batch import collate, find_neighbours
from mlipq.training.runs.launch import Watcher, resume, train
from mlipq.training.runs.run import Run
from mlipq.training.saved.model import load_model

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("data") / "molecules.zarr.zip")


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    return train(read_config(content_of(dataset, tmp_path_factory.mktemp("runs") / "undisturbed")))


class Stops(Watcher):
    """Sends a signal to this process after some step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def stepped(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


class Hears(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.warnings, self.steps, self.rows, self.idle = [], [], [], False

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def validated(self, row) -> None:
        self.rows.append(row)

    def nothing_to_do(self) -> None:
        self.idle = True


def test_a_run_has_all_its_files(undisturbed):
    assert {name.partition("/")[0] for name in files_of(undisturbed.path)} - {".lock"} == {
        "config.yaml", "environment.json", "data.json", "model.json", "README.md", "metrics.csv", "curves.png",
        "best.safetensors", "last.safetensors", "ema.safetensors", "checkpoint", "result.json",
    }  # fmt: skip
    result = undisturbed.result
    assert (result.steps, result.stopped_by) == (12, "steps")
    rows = undisturbed.metrics
    assert [row["step"] for row in rows] == [4, 8, 12]
    best = min(rows, key=lambda row: row["validation_loss"])
    assert result.best_step == best["step"]
    assert result.validation == {name: best[name] for name in ("energy_mae_meV", "orbital_charges_mae_me")}
    assert result.parameters == sum(values.numel() for values in load_model(undisturbed.path).potential.parameters())


def test_the_errors_are_those_of_the_weights(undisturbed):
    """Reckoned anew from the file of the best weights, one structure at a time, in numpy."""
    config = undisturbed.config.data[0]
    dataset = open_dataset(config.dataset)
    _, rows = choose_rows(dataset, config, undisturbed.config.seed)
    potential = load_model(undisturbed.path).potential
    energies, charges = [], []
    for row in rows:
        arrays = dataset.batch([row])
        with torch.no_grad():
            out = potential(collate(arrays, find_neighbours(arrays, 3.0), torch.float32))
        energies.append(float(out["energy"]) - arrays["reference/pbe0_energy"][0])
        residuals = out["orbital_charges"].numpy() - arrays["gfn1/orbital_charges"]
        charges += [*residuals[:, 0], *residuals[arrays["atomic_numbers"] > 1, 1]]  # hydrogen has s alone, none has d
    assert len(rows) == 8
    found = undisturbed.result.validation
    assert found["energy_mae_meV"] == pytest.approx(1e3 * np.abs(energies).mean(), rel=1e-4)
    assert found["orbital_charges_mae_me"] == pytest.approx(1e3 * np.abs(charges).mean(), rel=1e-4)


def test_two_runs_are_one(undisturbed, dataset, tmp_path):
    again = train(read_config(content_of(dataset, tmp_path / "again")))
    assert same_everywhere(again.path) == same_everywhere(undisturbed.path)
    other = train(read_config(content_of(dataset, tmp_path / "other"), seed=1))
    assert same_everywhere(other.path) != same_everywhere(undisturbed.path)


@pytest.mark.parametrize(("asked", "step"), [(2, 3), (4, 4), (11, 12), (12, 12)])
def test_interrupted_and_resumed(undisturbed, dataset, tmp_path, asked, step):
    """The step that is under way is finished, a validation is not."""
    path = tmp_path / "run"
    with pytest.raises(IncompleteError, match=f"after step {step}.*To go on:  mlipq resume {path}"):
        train(read_config(content_of(dataset, path)), Stops(asked))
    heard = Hears()
    run = resume(path, heard)
    assert heard.steps == list(range(step + 1, 13))
    assert heard.warnings == []
    assert same_everywhere(path) == same_everywhere(undisturbed.path)
    assert [sitting.from_step for sitting in run.history.sittings] == [0, step]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_killed_at_every_write(undisturbed, dataset, tmp_path, name):
    """SIGKILL at the first call that makes a file lasting, resumed until the second one, and so on, to the end of the run."""
    path = tmp_path / "run"
    config = read_config(content_of(dataset, path))

    def work(calls: int) -> None:
        function = getattr(os, name)
        left = iter(range(calls))

        def counted(*given, **named):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        setattr(os, name, counted)
        resume(path) if path.exists() else train(config)

    for calls in range(100):
        code = in_child(lambda calls=calls: work(calls))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert not path.exists() or Run(path).config.training.steps == 12
    assert calls > 5
    assert same_everywhere(path) == same_everywhere(undisturbed.path)


def test_a_row_that_no_checkpoint_covers_is_written_again(undisturbed, dataset, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(IncompleteError):
        train(read_config(content_of(dataset, path)), Stops(6))
    with (path / "metrics.csv").open("a") as file:
        file.write("8,1.0,9")  # a killed process had begun it
    resume(path)
    assert same_everywhere(path) == same_everywhere(undisturbed.path)


def test_without_its_checkpoint_a_run_starts_over(undisturbed, dataset, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(IncompleteError):
        train(read_config(content_of(dataset, path)), Stops(6))
    shutil.rmtree(path / "checkpoint")
    resume(path)
    assert same_everywhere(path) == same_everywhere(undisturbed.path)


def test_a_finished_run_is_left_alone(undisturbed):
    before, heard = files_of(undisturbed.path), Hears()
    run = resume(undisturbed.path, heard)
    assert heard.idle
    assert run.result == undisturbed.result
    assert files_of(undisturbed.path) == before
    with pytest.raises(InputError, match="holds a finished run; name another folder"):
        train(undisturbed.config)
    assert files_of(undisturbed.path) == before


def test_a_run_that_was_moved_goes_on(undisturbed, dataset, tmp_path):
    with pytest.raises(IncompleteError):
        train(read_config(content_of(dataset, tmp_path / "here")), Stops(5))
    (tmp_path / "here").rename(tmp_path / "there")
    resume(tmp_path / "there")
    assert same_everywhere(tmp_path / "there") == same_everywhere(undisturbed.path)
    assert not (tmp_path / "here").exists()


def test_another_sitting_is_told_of(dataset, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(IncompleteError):
        train(read_config(content_of(dataset, path)), Stops(5))
    text = (path / "environment.json").read_text().replace('"threads": 1\n', '"threads": 7\n')
    (path / "environment.json").write_text(text.replace(f'"torch": "{version("torch")}"', '"torch": "2.5.0"'))
    heard = Hears()
    resume(path, heard)
    (warning,) = heard.warnings
    assert f"torch 2.5.0 → {version('torch')}; threads 7 → 1" in warning


def test_another_dataset_is_refused(dataset, tmp_path):
    path, own = tmp_path / "run", tmp_path / "own.zarr.zip"
    own.write_bytes(dataset.read_bytes())
    with pytest.raises(IncompleteError):
        train(read_config(content_of(own, path)), Stops(5))

    def better(table) -> None:
        table.arrays["reference/pbe0_energy"][3] -= 1.0

    small_dataset(own, better)
    before = files_of(path)
    with pytest.raises(
        InputError, match=r"its data is not what it began with .*\n  datasets.0.sha256: .* → .*\nPut the dataset back"
    ):
        resume(path)
    assert files_of(path) == before


def test_a_config_that_is_edited_meanwhile_does_no_harm(undisturbed, dataset, tmp_path):
    class Edits(Watcher):
        def stepped(self, step: int) -> None:
            (tmp_path / "run" / "config.yaml").write_text("training: {steps: 99}")

    run = train(read_config(content_of(dataset, tmp_path / "run")), Edits())
    assert same_everywhere(run.path) == same_everywhere(undisturbed.path)


def test_one_trainer_at_a_time(dataset, tmp_path):
    path = tmp_path / "run"
    refused = []

    class Second(Watcher):
        def stepped(self, step: int) -> None:
            if step == 2:
                with pytest.raises(InputError, match="is being trained by another process") as error:
                    resume(path)
                refused.append(str(error.value))

    train(read_config(content_of(dataset, path)), Second())
    assert len(refused) == 1


class Squeezes(Watcher):
    """Leaves this process little more memory than it has when training begins."""

    def started(self, run, trainer) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 40 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def wide(content) -> None:
    content["model"] |= {"channels": 128, "layers": 2, "cutoff": 5.0}
    content["data"][0]["batch"] = {"structures": 24}


def train_wide(dataset: Path, path: Path) -> None:
    with pytest.raises(IncompleteError) as error:
        train(read_config(content_of(dataset, path, wide)), Squeezes())
    (path.parent / "message").write_text(str(error.value))


def test_no_memory_for_a_batch(dataset, tmp_path):
    path = tmp_path / "run"
    in_fresh_process(train_wide, dataset, path)
    message = (tmp_path / "message").read_text()
    assert message.startswith("out of memory in a batch of ")
    assert "24 structures, " in message
    assert message.endswith(f"To go on:  mlipq resume {path}")
    run = Run(path)
    assert (run.metrics, run.result) == ([], None)
    with pytest.raises(IncompleteError, match="after step 2"):
        resume(path, Stops(1))  # with more of it


def huge(content) -> None:
    content["model"] |= {"channels": 2048, "layers": 3}


def train_huge(dataset: Path, path: Path) -> None:
    Squeezes().started(None, None)
    with pytest.raises(InputError, match="out of memory before the first step: "):
        train(read_config(content_of(dataset, path, huge)))


def test_no_memory_for_the_model(dataset, tmp_path):
    in_fresh_process(train_huge, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_datasets(dataset, tmp_path):
    second = small_dataset(tmp_path / "second.h5")

    def with_second(content) -> None:
        content["data"].append(
            {
                "dataset": str(second),
                "size": 20,
                "validation": 0,
                "batch": {"atoms": 50},
                "tasks": {"gfn1_energy": {}, "gfn1_forces": {}},
            }
        )

    run = train(read_config(content_of(dataset, tmp_path / "run", with_second)))
    assert [record.structures["train"] for record in run.data.datasets] == [24, 20]
    assert set(run.data.references) == {"energy", "gfn1_energy"}
    assert set(load_model(run.path).outputs) == {"energy", "orbital_charges", "gfn1_energy", "gfn1_forces"}
    assert {"energy_mae_meV", "gfn1_forces_mae_meV/Å"} <= run.metrics[0].keys()
    assert run.metrics[0]["gfn1_forces_mae_meV/Å"] is None  # nothing is kept apart of the second dataset


class TestStartFrom:
    """Fine-tuning: the backbone is taken, and the heads that learned the same."""

    def test_the_same_task_goes_on(self, undisturbed, dataset, tmp_path):
        def still(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["training"] |= {"learning_rate": 1e-12, "weight_decay": 0, "ema": 0}

        run = train(read_config(content_of(dataset, tmp_path / "run", still)))
        best = undisturbed.result.validation["energy_mae_meV"]
        assert run.metrics[0]["energy_mae_meV"] == pytest.approx(best, rel=1e-3)

    def test_another_task_takes_the_backbone(self, undisturbed, dataset, tmp_path):
        def gfn1(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["data"][0]["tasks"] = {"gfn1_energy": {}, "orbital_charges": {}}
            content["training"] |= {"learning_rate": 1e-12, "weight_decay": 0}

        run = train(read_config(content_of(dataset, tmp_path / "run", gfn1)))
        old, new = (load_model(path).potential.state_dict() for path in (undisturbed.path, run.path))
        for name in new:
            if name.startswith(("backbone.", "heads.orbital_charges.")):
                assert torch.allclose(new[name], old[name], atol=1e-6), name

    def test_an_energy_begins_as_one_of_another_level(self, undisturbed, dataset, tmp_path):
        """What the network says stays; what it is linear in is fitted to what that leaves of the new labels."""

        def gfn1(content) -> None:
            content["data"][0]["tasks"] = {"gfn1_energy": {}}

        def still(content) -> None:
            content["start_from"] = str(tmp_path / "gfn1")
            content["data"][0]["tasks"] = {"energy": {"target": "reference/pbe0_energy", "start_from": "gfn1_energy"}}
            content["training"] |= {"learning_rate": 1e-12, "weight_decay": 0, "ema": 0}

        train(read_config(content_of(dataset, tmp_path / "gfn1", gfn1)))
        run = train(read_config(content_of(dataset, tmp_path / "run", still)))
        opened = open_dataset(dataset)
        structures = [opened.structure(row) for row in range(len(opened))]
        labels = opened["reference/pbe0_energy"][:]
        before, after = Predictor(tmp_path / "gfn1"), Predictor(run.path).predict(structures)["energy"]
        found = before.predict(structures)["gfn1_energy"]
        counts = np.array([[(structure.numbers == z).sum() for z in (1, 6, 7, 8)] for structure in structures])
        features = before.embeddings(structures).astype(np.float64)
        numbers, offsets = opened.batch(slice(None), ["atomic_numbers"])["atomic_numbers"], opened.atom_offsets
        sums = [[np.where(numbers == z, column, 0) for column in features.T] for z in (1, 6, 7, 8)]
        linear = np.hstack([counts, np.add.reduceat(np.concatenate(sums), offsets[:-1], axis=1).T])
        rest = after - found - linear @ np.linalg.lstsq(linear, after - found, rcond=None)[0]
        assert np.abs(rest).max() < 1e-3  # eV: nothing else was changed
        rows, _ = choose_rows(opened, run.config.data[0], run.config.seed)
        fitted, *_ = np.linalg.lstsq(counts[rows], (labels - found)[rows], rcond=None)
        by_composition = found + counts @ fitted
        assert np.abs(after - labels)[rows].mean() < 0.8 * np.abs(by_composition - labels)[rows].mean()

    def test_a_head_that_the_model_lacks_is_refused(self, undisturbed, dataset, tmp_path):
        def absent(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["data"][0]["tasks"]["energy"]["start_from"] = "gfn1_energy"

        with pytest.raises(
            InputError, match=r"task energy: start_from: the model in .* has no energy 'gfn1_energy'; it has energy"
        ):
            train(read_config(content_of(dataset, tmp_path / "run", absent)))

    def test_a_head_of_another_size_is_refused(self, undisturbed, dataset, tmp_path):
        def composite(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["data"][0]["tasks"]["gfn1_energy"] = {"start_from": "energy"}
            content["model"]["composite"] = True

        with pytest.raises(
            InputError, match=r"energy of the model in .* has 4 hidden units, gfn1_energy of this run has 2"
        ):
            train(read_config(content_of(dataset, tmp_path / "run", composite)))

    def test_charges_cannot_begin_as_an_energy(self, undisturbed, dataset, tmp_path):
        def charges(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["data"][0]["tasks"]["orbital_charges"] = {"start_from": "energy"}

        with pytest.raises(
            InputError, match=r"task orbital_charges: start_from is for energies; gfn1/orbital_charges is"
        ):
            train(read_config(content_of(dataset, tmp_path / "run", charges)))

    def test_an_energy_that_charges_feed_is_refused(self, undisturbed, dataset, tmp_path):
        def fed(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["data"][0]["tasks"]["energy"]["start_from"] = "energy"
            content["model"]["feed_charges"] = "orbital_charges"

        with pytest.raises(InputError, match="task energy: start_from: not for an energy that charges feed; leave"):
            train(read_config(content_of(dataset, tmp_path / "run", fed)))

    def test_what_was_started_from_may_go(self, undisturbed, dataset, tmp_path):
        def from_copy(content) -> None:
            content["start_from"] = str(tmp_path / "start")

        shutil.copytree(undisturbed.path, tmp_path / "start")
        whole = train(read_config(content_of(dataset, tmp_path / "whole", from_copy)))
        with pytest.raises(IncompleteError):
            train(read_config(content_of(dataset, tmp_path / "parts", from_copy)), Stops(5))
        shutil.rmtree(tmp_path / "start")
        resume(tmp_path / "parts")
        assert same_everywhere(tmp_path / "parts") == same_everywhere(whole.path)

    def test_another_shape_is_refused(self, undisturbed, dataset, tmp_path):
        def wider(content) -> None:
            content["start_from"] = str(undisturbed.path)
            content["model"] |= {"channels": 16, "cutoff": 4.0}

        with pytest.raises(InputError, match=r"has channels: 8, cutoff: 3\.0, this run channels: 16, cutoff: 4\.0"):
            train(read_config(content_of(dataset, tmp_path / "run", wider)))
        assert not (tmp_path / "run").exists()
