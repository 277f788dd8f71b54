import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from dft_charges import give_dft_charges
from running import in_child, molecules, small_dataset
from small_suites import CONTENT, molecules_at, outcome, small_suite

from mlipq import open_dataset, resources
from mlipq.bench import tasks
from mlipq.bench.launch import Watcher, check_suite, run_suite
from mlipq.bench.results import read_results, read_structures, read_suite_record
from mlipq.errors import IncompleteError, InputError
from mlipq.store import Table

MODES = ["energy", "composite-charges+extra"]
"""Of the suite that is stopped: with one dataset, and with two."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(resources.CACHE_SETTING, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return molecules_at(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory) -> dict:
    """What a suite comes to that nothing stops."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_suite(small_suite(dataset, modes=MODES, seeds=1), folder, workers=1)
    return outcomes(folder)


class Listening(Watcher):
    """Keeps what it hears, and may do something at the n-th time that a run tells of its steps."""

    def __init__(self, at=0, act=lambda: None) -> None:
        self.trained, self.told, self.steps, self._at, self._act = [], 0, 0, at, act

    def planned(self, stage, todo, done) -> None:
        self.trained += [run.id for run in todo]

    def progress(self, message) -> None:
        self.told += 1
        self.steps += 0 if message["kept"] else message["steps"]
        if self.told == self._at:
            self._act()


def outcomes(folder: Path) -> dict:
    return {result.id: outcome(result) for result in read_results(folder)}


def test_every_run_ends_in_one_result_on_the_same_test_structures(dataset, tmp_path):
    suite = small_suite(dataset, modes=["energy", "charges", "delta", "composite+extra"])
    results = run_suite(suite, tmp_path / "suite", workers=1)
    assert len(results) == 8 == len(list((tmp_path / "suite" / "results").iterdir()))
    structures = read_structures(tmp_path / "suite")
    for result in results:
        assert result.n["train"] + result.n["validation"] == result.size == 10
        assert result.splits["test"] == results[0].splits["test"]
        assert len(result.errors) == len(result.distance) == len(structures.identities) == result.n["test"]
        assert result.mae == pytest.approx(np.abs(result.errors).mean(), rel=1e-3)
        assert result.rmse == pytest.approx(np.sqrt(np.square(result.errors).mean()), rel=1e-3)
        assert result.unit == "meV"
        assert result.curve[-1][0] == result.steps == 12
        assert result.validation_mae == min(mae for _, _, mae in result.curve)
    by_mode = {result.mode: result for result in results}
    assert by_mode["composite+extra"].n["extra"] > 0
    assert "extra" not in by_mode["charges"].n
    packaged = {mode: result.parameters_packaged for mode, result in by_mode.items()}
    assert len(set(packaged.values())) == 1, "what is added in training is gone at inference"
    assert by_mode["delta"].level_of_theory == by_mode["energy"].level_of_theory == "PBE0"


@pytest.mark.parametrize("weights", ["best", "ema"])
def test_errors_are_those_of_the_measured_weights_on_the_test_structures(weights, dataset, tmp_path):
    from mlipq.training import Predictor
    from mlipq.training.saved.model import load_model

    # a rate so high that the weights of the least validation error are not those of the end
    suite = small_suite(
        dataset,
        modes=["energy"],
        seeds=1,
        weights=weights,
        training=CONTENT["training"] | {"steps": 50, "learning_rate": 0.1, "ema": 0.0},
    )
    (result,) = run_suite(suite, tmp_path / "suite", workers=1)
    table, structures = molecules(), read_structures(tmp_path / "suite")
    model = load_model(tmp_path / "suite" / "runs" / result.id, weights)
    predicted = Predictor(model).predict(table.arrays, ["energy"])["energy"]
    words = table.arrays["identity"].astype("<u8")
    rows = {row.tobytes().hex(): number for number, row in enumerate(words)}
    errors = predicted - table.arrays["reference/pbe0_energy"]
    expected = [1e3 * errors[rows[identity]] for identity in structures.identities]
    np.testing.assert_allclose(result.errors, expected, rtol=1e-3, atol=1e-2)
    curve = [mae for _, _, mae in result.curve]
    assert (result.weights, result.validation_mae) == (weights, curve[-1] if weights == "ema" else min(curve))
    assert min(curve) < curve[-1]


def test_weights_that_are_measured_are_part_of_what_a_result_follows_from(dataset, tmp_path):
    run_suite(small_suite(dataset, modes=["energy"], seeds=1), tmp_path / "suite", workers=1)
    with pytest.raises(InputError, match="other settings"):
        run_suite(small_suite(dataset, modes=["energy"], seeds=1, weights="ema"), tmp_path / "suite", workers=1)


@pytest.mark.parametrize("told", [1, 6, 11, 20], ids=["at once", "in the first", "at its end", "in the second"])
def test_a_suite_that_is_killed_ends_like_one_that_was_not(told, dataset, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("mlipq.bench.tasks.TELL_EVERY", 0.0)
    suite, folder = small_suite(dataset, modes=MODES, seeds=1), tmp_path / "killed"
    kill = Listening(told, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert in_child(lambda: run_suite(suite, folder, 1, watcher=kill)) == -signal.SIGKILL
    run_suite(suite, folder, workers=1)
    assert outcomes(folder) == undisturbed


def test_one_that_is_killed_between_training_and_its_result_too(dataset, undisturbed, tmp_path, monkeypatch):
    suite, folder = small_suite(dataset, modes=["energy"], seeds=1), tmp_path / "killed"

    def killed() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("mlipq.bench.tasks.measured", lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL))
            run_suite(suite, folder, workers=1)

    assert in_child(killed) == -signal.SIGKILL
    again = Listening()
    run_suite(suite, folder, 1, watcher=again)
    assert again.steps == 0, "it was trained, and is only measured"
    assert outcomes(folder) == {"energy-n10-s0": undisturbed["energy-n10-s0"]}


def test_one_that_is_interrupted_says_that_the_same_command_goes_on(dataset, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("mlipq.bench.tasks.TELL_EVERY", 0.0)
    suite, folder = small_suite(dataset, modes=MODES, seeds=1), tmp_path / "stopped"
    with pytest.raises(IncompleteError, match="The same command goes on"):
        run_suite(suite, folder, 1, watcher=Listening(6, lambda: os.kill(os.getpid(), signal.SIGINT)))
    run_suite(suite, folder, workers=1)
    assert outcomes(folder) == undisturbed


def test_more_seeds_sizes_and_modes_run_only_what_is_new(dataset, tmp_path):
    folder = tmp_path / "suite"
    run_suite(small_suite(dataset, seeds=1), folder, workers=1)
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    more, again = Listening(), Listening()
    larger = small_suite(dataset, seeds=2, sizes=[10, 20], modes=["energy", "charges", "shuffled"])
    run_suite(larger, folder, 1, watcher=more)
    assert len(more.trained) == 12 - 2
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert read_suite_record(folder).sizes == [10, 20]
    run_suite(larger, folder, 1, watcher=again)
    assert again.trained == []


def test_a_run_that_was_begun_before_the_suite_grew_ends_as_ever(dataset, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("mlipq.bench.tasks.TELL_EVERY", 0.0)
    folder = tmp_path / "grown"
    stop = Listening(6, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(IncompleteError):
        run_suite(small_suite(dataset, modes=["energy"], seeds=1), folder, 1, watcher=stop)
    run_suite(small_suite(dataset, modes=["energy"], seeds=2), folder, workers=1)
    assert outcomes(folder)["energy-n10-s0"] == undisturbed["energy-n10-s0"]


def test_a_run_that_began_from_another_pretraining_begins_anew(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("mlipq.bench.tasks.TELL_EVERY", 0.0)
    modes = ["pretrained+extra", "energy"]
    first, changed = (
        small_suite(dataset, modes=modes, seeds=1, pretraining={"steps": steps, "warmup": 3}) for steps in (8, 9)
    )
    after_pretraining = Listening(9 + 8, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(IncompleteError):
        run_suite(first, tmp_path / "suite", 1, watcher=after_pretraining)
    assert (tmp_path / "suite" / "runs" / "pretrained+extra-n10-s0").exists()
    run_suite(changed, tmp_path / "suite", workers=1)
    run_suite(changed, tmp_path / "undisturbed", workers=1)
    assert outcomes(tmp_path / "suite") == outcomes(tmp_path / "undisturbed")


def test_one_that_is_killed_while_it_removes_an_old_run_leaves_no_half_of_it(tmp_path, monkeypatch):
    run = tmp_path / "energy-n10-s0"
    run.mkdir()
    (run / "config.yaml").touch()

    def killed() -> None:
        monkeypatch.setattr(
            tasks.shutil, "rmtree", lambda path, **_: path.exists() and os.kill(os.getpid(), signal.SIGKILL)
        )
        tasks._remove(run)

    assert in_child(killed) == -signal.SIGKILL
    assert not run.exists()


def test_where_only_some_have_dft_charges_all_modes_learn_from_these(tmp_path):
    rows = np.arange(32)[np.arange(32) % 4 > 0]
    dataset = small_dataset(tmp_path / "some.zarr.zip", lambda table: give_dft_charges(table, rows))
    energy, charges = run_suite(small_suite(dataset, modes=["energy", "dft-charges"], seeds=1), tmp_path / "suite", 1)
    assert (energy.mode, charges.mode) == ("energy", "dft-charges")
    assert energy.splits == charges.splits
    assert (energy.label_core_seconds, charges.label_core_seconds) == (0, None)
    having = molecules().take(rows).arrays["identity"].tolist()
    drawn = open_dataset(tmp_path / "suite" / "dataset").select(split="n10-s0/train")["identity"][:].tolist()
    assert len(drawn) == 9 and all(words in having for words in drawn)
    structures = read_structures(tmp_path / "suite")
    known = {words.tobytes().hex() for words in molecules().take(rows).arrays["identity"].astype("<u8")}
    assert [deviation is not None for deviation in structures.charge_deviation] == [
        identity in known for identity in structures.identities
    ]
    assert any("draw from the" in note for note in read_suite_record(tmp_path / "suite").notes)


def test_a_suite_goes_on_from_its_records_alone(dataset, tmp_path):
    trials = {mode: [{}, {"training": {"clip": 1}}] for mode in ("energy", "pretrained+extra")}
    suite = small_suite(dataset, modes=list(trials), seeds=1, tuning={"size": 20, "trials": trials})
    run_suite(suite, tmp_path / "whole", workers=1)
    records, again = tmp_path / "records", Listening()
    shutil.copytree(tmp_path / "whole" / "results", records / "results")
    shutil.copy(tmp_path / "whole" / "suite.json", records)
    run_suite(suite, records, 1, watcher=again)
    assert again.trained == []
    assert outcomes(records) == outcomes(tmp_path / "whole")


def test_results_of_other_settings_are_not_mixed(dataset, tmp_path):
    run_suite(small_suite(dataset, seeds=1), tmp_path / "suite", workers=1)
    changed = small_suite(dataset, seeds=1, batch={"structures": 3})
    with pytest.raises(InputError, match=r"n10-s0.json is the result of other settings"):
        run_suite(changed, tmp_path / "suite", workers=1)


def test_tuning_takes_the_trial_of_the_least_validation_error(dataset, tmp_path):
    slow, fast = {"training": {"learning_rate": 1e-9}}, {"training": {"learning_rate": 1e-2}}
    tuning = {"size": 20, "trials": {"energy": [slow, fast], "charges": [fast, slow]}}
    results = run_suite(small_suite(dataset, seeds=1, tuning=tuning), tmp_path / "suite", workers=1)
    trials = read_suite_record(tmp_path / "suite").tuning
    for mode in ("energy", "charges"):
        chosen, other = sorted((trial for trial in trials if trial.mode == mode), key=lambda trial: not trial.chosen)
        assert chosen.validation_mae <= other.validation_mae
        (result,) = (result for result in results if result.mode == mode)
        rate = result.config["training"]["learning_rate"]
        assert rate == chosen.settings["training"]["learning_rate"]


def test_a_run_that_fails_does_not_stop_the_others(dataset, tmp_path):
    trials = {"charges": [{"training": {"learning_rate": 1e18, "warmup": 0}}], "energy": [{}]}
    suite = small_suite(dataset, seeds=1, tuning={"trials": trials}, modes=["charges", "energy"])
    with pytest.raises(IncompleteError, match=r"1 of 2 runs failed:\n  run-charges-n10-s0: .*no finite number"):
        run_suite(suite, tmp_path / "suite", workers=1)
    assert [result.mode for result in read_results(tmp_path / "suite")] == ["energy"]


def test_two_suites_are_not_run_in_one_folder(dataset, tmp_path):
    suite, folder = small_suite(dataset, seeds=1, modes=["energy"]), tmp_path / "suite"

    def other() -> None:
        with pytest.raises(InputError, match="in use by another mlipq bench"):
            run_suite(suite, folder, workers=1)

    run_suite(suite, folder, 1, watcher=Listening(1, lambda: os._exit(1) if in_child(other) else None))
    assert len(read_results(folder)) == 1


def test_a_dry_run_checks_all_and_trains_nothing(dataset, tmp_path):
    trials = [{}, {"training": {"clip": 1}}]
    tuning = {"size": 20, "trials": {"energy": trials, "pretrained+extra": trials}}
    suite = small_suite(dataset, seeds=1, modes=["energy", "pretrained+extra"], tuning=tuning)
    todo = check_suite(suite, tmp_path / "suite")
    assert [run.kind for run in todo] == ["pretraining"] * 2 + ["trial"] * 4 + ["run"] * 2
    assert not list((tmp_path / "suite").rglob("config.yaml"))


def without(*names: str):
    def change(table: Table) -> None:
        for name in names:
            table.specs.pop(name), table.arrays.pop(name)

    return change


def unlabelled(table: Table) -> None:
    table.arrays["reference/pbe0_energy"][:] = np.nan


ENERGIES = ("reference/pbe0_energy", "reference/wb97mv_energy")


@pytest.mark.parametrize(
    ("change", "keys", "told"),
    [
        (without(*ENERGIES), {"target": "main"}, "has no reference energies to compare on"),
        (without("gfn1/orbital_charges"), {}, "no gfn1/orbital_charges, which charges learns"),
        (without("gfn1/energy"), {"modes": ["energy", "delta", "composite"]}, "which delta, composite learn"),
        (without(), {"modes": ["energy", "dft-charges"]}, "no pbe/orbital_charges, which dft-charges learns"),
        (without(), {"target": "reference/pbe0"}, "target: .*has no labels reference/pbe0; it has"),
        (without(), {"target": "name"}, "target: .*has no labels name; it has"),
        (without(), {"labels": ["pbe/dipole"]}, "labels: .*has no labels pbe/dipole; it has"),
        (without(), {"target": "gfn1/energy", "modes": ["energy", "gfn1"]}, "gfn1 learns gfn1/energy beside"),
        (without(), {"target": "main"}, "which energy"),
        (without(), {"sizes": [10, 30]}, "sizes: 30 structures"),
        (without(), {"sizes": [23], "modes": ["energy", "charges+extra"]}, "has none left"),
        (unlabelled, {}, "none of the 32 structures of .* has a label in reference/pbe0_energy"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_training(change, keys, told, tmp_path):
    dataset = small_dataset(tmp_path / "changed.zarr.zip", change)
    with pytest.raises(InputError, match=told):
        run_suite(small_suite(dataset, **keys), tmp_path / "suite", workers=1)
    assert not (tmp_path / "suite").exists()


def test_extra_structures_that_hold_test_molecules_are_refused(tmp_path):
    dataset = molecules_at(tmp_path)
    others = shutil.copy(dataset, tmp_path / "others.zarr.zip")
    suite = small_suite(dataset, modes=["energy", "charges+extra"], extra=[{"dataset": str(others)}])
    with pytest.raises(InputError, match=r"of 32 structures of .* may be test molecules"):
        run_suite(suite, tmp_path / "suite", workers=1)
    assert not (tmp_path / "suite").exists()
