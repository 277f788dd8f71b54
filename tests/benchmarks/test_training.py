"""The comparison on the electrons in each orbital counts what it says, and its contestants are equal where it says so."""

import json

import numpy as np
import pytest

from benchmarks.training import charges, equal, orbitals
from benchmarks.training.orbitals import SHELLS, Errors
from mlipq.training import PotentialConfig

NUMBERS = np.array([1, 6, 26, 6])


@pytest.fixture
def true() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 2, size=(4, 9))


def test_errors_are_told_by_element_and_shell(true):
    predicted = true.copy()
    predicted[1, 2] += 0.030  # C, p_z
    predicted[3, 0] -= 0.010  # C, s
    predicted[2, 5] += 0.050  # Fe, d_yz
    predicted[0, 1:] += 1  # H has no p and no d
    errors = Errors.of(predicted, true, NUMBERS)
    assert errors.by_element() == {
        "H": {"s": (1, 0)},
        "C": {"s": (2, pytest.approx(5)), "p": (6, pytest.approx(5))},
        "Fe": {"s": (1, 0), "p": (3, 0), "d": (5, pytest.approx(10))},
    }
    assert errors.by_group() == {
        "s": pytest.approx(10 / 4),
        "p": pytest.approx(30 / 9),
        "d": pytest.approx(50 / 5),
        "p and d": pytest.approx(80 / 14),
        "all": pytest.approx(90 / 18),
    }


def test_errors_of_blocks_add_up(true):
    predicted = true + np.random.default_rng(1).normal(size=true.shape)
    halves = [Errors.of(predicted[part], true[part], NUMBERS[part]) for part in (slice(0, 1), slice(1, 4))]
    whole = Errors.of(predicted, true, NUMBERS)
    np.testing.assert_allclose(Errors.sum(halves).absolute, whole.absolute)
    np.testing.assert_array_equal(Errors.sum(halves).orbitals, whole.orbitals)


def test_shells_that_are_not_there_are_left_out(true):
    assert Errors.of(true, true, np.ones(4, dtype=int)).by_group() == {"s": 0, "all": 0}


def test_no_prediction_without_a_direction_is_better_than_the_median(true):
    best = Errors.of(orbitals.medians(true), true, NUMBERS).by_group()["p and d"]
    for shift in np.random.default_rng(2).normal(scale=0.1, size=(20, 4, 3)):
        guess = orbitals.medians(true) + np.repeat(shift, [1, 3, 5], axis=1)
        assert Errors.of(guess, true, NUMBERS).by_group()["p and d"] >= best


def test_spreading_evenly_keeps_the_electrons_of_each_shell(true):
    for columns in SHELLS.values():
        even = orbitals.spread_evenly(true)[:, columns]
        np.testing.assert_allclose(even.sum(axis=1), true[:, columns].sum(axis=1))
        assert np.ptp(even, axis=1) == pytest.approx(0)


def test_means_are_those_of_the_element_in_training(true):
    guess = orbitals.means_of_elements((true, NUMBERS), np.array([6, 26]))
    assert guess[0, 1:4] == pytest.approx(true[[1, 3], 1:4].mean())
    assert guess[1] == pytest.approx(orbitals.spread_evenly(true)[2])


def test_tables_take_means_over_seeds():
    rows = [
        {
            "dataset": "qm7",
            "contestant": contestant,
            "seed": seed,
            "mae_me": {"p": error, "all": error},
            "by_element": {"C": {"p": (300, error)}, "Fe": {"p": (3, error)}},
        }
        for contestant, errors in {"equivariant": (1.0, 3.0), "invariant": (8.0, 12.0)}.items()
        for seed, error in enumerate(errors)
    ]
    assert orbitals.gains(rows) == {"qm7": {"p": pytest.approx(80), "all": pytest.approx(80)}}
    carbon, iron = orbitals.by_element(rows)
    assert (carbon["orbitals"], carbon["equivariant_me"], carbon["invariant_me"]) == (300, 2, 10)
    assert (iron["element"], iron["orbitals"]) == ("Fe", 3)
    report = orbitals.report(rows).splitlines()
    assert "| qm7 | equivariant | 2 |  | 2.00 ± 1.41 |  |  | 2.00 ± 1.41 |" in report
    assert "| qm7 |  | 80 % |  |  | 80 % |" in report
    assert "| qm7 | C |  | 10.0 → 2.0 |  |" in report
    assert not any(line.startswith("| qm7 | Fe") for line in report)


@pytest.mark.parametrize("dataset", equal.SECONDS)
def test_the_contestants_differ_in_the_backbone_alone(dataset):
    settings = equal.models(dataset)
    equivariant, invariant = (equal.parameters(own) for own in settings.values())
    assert equivariant <= invariant < 1.03 * equivariant
    alike = [{key: own[key] for key in own if key not in ("backbone", "channels")} for own in settings.values()]
    assert alike[0] == alike[1]
    for model, own in settings.items():
        config = equal.recipe(dataset, output="unused", model=own)
        heads = {"orbital_moments": {"kind": "orbital_moments"}}
        assert config.model.build(heads, ()) == PotentialConfig(**own, heads=heads), model


RECIPE = """
output: unused
model: {channels: 8, layers: 1, cutoff: 3.0}
data:
  - {dataset: samples-gfn1, split: qm7, train: pool, size: 40, batch: {edges: 300}, tasks: {orbital_moments: {}}}
training: {warmup: 1, threads: 1}
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The comparison on a few molecules: recipe, race and results in a folder of their own."""
    (tmp_path / "charges-samples.yaml").write_text(RECIPE)
    monkeypatch.setattr(equal, "RECIPES", tmp_path)
    monkeypatch.setattr(equal, "TURNS", 2)
    monkeypatch.setitem(equal.SECONDS, "samples", 0.2)
    monkeypatch.setattr(charges, "RESULTS", tmp_path / "results" / "charges.json")
    monkeypatch.setattr(charges, "TRIALS", tmp_path / "results" / "charges-tuning.json")
    monkeypatch.setattr(charges, "LEARNING_RATES", (1e-2,))
    return tmp_path


def test_the_best_trial_of_a_model_is_chosen_and_those_slower_to_fall_back_on(small):
    trials = [
        {"dataset": dataset, "contestant": contestant, "learning_rate": rate, "mae_me": {"p and d": error}}
        for dataset, contestant, rate, error in [
            ("qm7", "invariant", 1, 30),
            ("samples", "equivariant", 2, 10),
            ("samples", "invariant", 3, 40),
            ("samples", "invariant", 4, 35),
        ]
    ]
    trials.append({"dataset": "samples", "contestant": "invariant", "learning_rate": 5, "mae_me": {}})  # diverged
    charges.TRIALS.parent.mkdir()
    charges.TRIALS.write_text(json.dumps({"rows": trials}))
    assert charges.learning_rates("samples", "invariant") == [4, 3]


def test_a_comparison_is_made_once(small):
    runs = small / "runs"
    charges.tune_all(runs, ["samples"])
    charges.compare(runs, ["samples"], seeds=[0])
    first = {path: path.stat().st_mtime_ns for path in runs.rglob("*.json")}
    rows = charges.compare(runs, ["samples"], seeds=[0])
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.json")} == first
    saved = json.loads(charges.RESULTS.read_text())
    assert [row["contestant"] for row in saved["rows"]] == [
        "mean of the element",
        "true shell, spread evenly",
        "true shell, its median",
        "equivariant",
        "invariant",
    ]
    floor, invariant = (row["mae_me"]["p and d"] for row in (rows[2], rows[4]))
    assert invariant > floor
    elements = charges.RESULTS.with_suffix(".csv").read_text().splitlines()
    assert elements[1].startswith("samples,H,s,")
