"""What makes a comparison fair, on the configurations that runs are trained by."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_suites import molecules_at, small_suite

from mlipq import open_dataset, resources
from mlipq.bench.checks import settled_suite
from mlipq.bench.modes import find_mode, mode_names
from mlipq.bench.plan import BenchRun, plan_pretraining, plan_runs, plan_trials
from mlipq.bench.prepared import Prepared, prepare_dataset
from mlipq.bench.suite import Suite, TrialSettings
from mlipq.errors import InputError
from mlipq.training.runs.preparation import prepare
from mlipq.training.tasks.targets import DEFAULTS

ALL = [name for name in mode_names() if find_mode(name).main in ("", "energy") and name != "dft-charges"]
"""Modes whose labels the bundled samples have."""


@pytest.fixture(scope="module")
def prepared_suite(tmp_path_factory) -> tuple[Suite, Prepared]:
    folder = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(resources.CACHE_SETTING, str(folder / "cache"))
        suite = settled_suite(small_suite(molecules_at(folder), modes=ALL, sizes=[10, 15]))
        yield suite, prepare_dataset(suite, folder / "suite")


@pytest.fixture(scope="module")
def runs(prepared_suite) -> list[BenchRun]:
    return plan_runs(*prepared_suite, {})


def test_there_is_a_run_of_each_mode_size_and_seed_seed_by_seed(runs):
    assert len({run.id for run in runs}) == len(runs) == 4 * len(ALL)
    assert {(run.mode.name, run.size, run.seed) for run in runs} == {
        (mode, size, seed) for mode in ALL for size in (10, 15) for seed in (0, 1)
    }
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_modes_differ_in_nothing_but_what_a_mode_is(runs):
    plain = next(run for run in runs if run.mode.name == "energy")
    for run in (run for run in runs if (run.size, run.seed) == (plain.size, plain.seed)):
        first = run.config.data[0]
        assert first.model_copy(update={"tasks": plain.config.data[0].tasks}) == plain.config.data[0], run.id
        assert run.config.training == plain.config.training, run.id
        assert run.config.training.best_by == "energy"
        differing = {name for name, value in run.config.model if getattr(plain.config.model, name) != value}
        assert differing <= set(run.mode.model), run.id
        (energy,) = (task for name, task in first.tasks.items() if name == "energy")
        assert energy.model_copy(update={"target": "", "weight": 1.0}) == energy.model_copy(update={"target": ""})


def test_all_modes_take_the_same_batches_and_begin_with_the_same_backbone(runs):
    plain, others = None, [run for run in runs if (run.size, run.seed) == (15, 1) and not run.mode.pretraining]
    for run in sorted(others, key=lambda run: run.mode.name != "energy"):
        made = prepare(run.config, lambda *progress: None)
        source, backbone = made.sources[0], made.potential.backbone.state_dict()
        identities = source.dataset["identity"]
        batches = [identities[np.sort(source.train_batch(step))].tolist() for step in range(12)]
        plain = plain or (batches, source.rows_sha256(source.validation_rows), backbone)
        assert batches == plain[0], run.id
        assert source.rows_sha256(source.validation_rows) == plain[1], run.id
        assert all(torch.equal(values, plain[2][name]) for name, values in backbone.items()), run.id


def test_no_run_reads_a_test_structure_or_a_dft_label_of_an_extra_one(prepared_suite, runs):
    suite, prepared = prepared_suite
    tested = {tuple(row) for row in open_dataset(prepared.test)["identity"][:].tolist()}
    for run in [*runs, *plan_pretraining(suite, prepared)]:
        for number, data in enumerate(run.config.data):
            assert Path(data.dataset).name != "test"
            rows = open_dataset(data.dataset).select(split=f"{data.split}/{data.train}")
            assert not tested & {tuple(row) for row in rows["identity"][:].tolist()}
            if number or run.kind == "pretraining":
                learned = [task.target or DEFAULTS[name] for name, task in data.tasks.items()]
                assert all(target.startswith(("gfn1/", "control/")) for target in learned)


def test_what_is_learned_beside_is_what_the_mode_says(runs):
    for run in runs:
        tasks = run.config.data[0].tasks
        assert set(tasks) == {"energy", *run.mode.tasks}
        assert tasks["energy"].target == (run.mode.target or "reference/pbe0_energy")
        assert tasks["energy"].start_from == ("gfn1_energy" if run.mode.pretraining else "")
        assert len(run.config.data) == (2 if run.mode.name.endswith("+extra") and run.mode.tasks else 1)


def test_a_hash_changes_with_what_a_run_follows_from_and_with_nothing_else(prepared_suite, tmp_path):
    suite, prepared = prepared_suite

    def hashes(changed: Suite, chosen=None) -> dict[str, str]:
        return {run.id: run.sha256 for run in plan_runs(changed, prepared, chosen or {})}

    before = hashes(suite)
    fewer = hashes(
        suite.model_copy(update={"sizes": (10,), "modes": ("energy", "charges"), "seeds": (1,), "title": "x"})
    )
    assert fewer == {name: before[name] for name in fewer}
    longer = suite.training.model_copy(update={"steps": 13})
    assert not set(hashes(suite.model_copy(update={"training": longer})).values()) & set(before.values())
    tuned = hashes(suite, {"charges": TrialSettings(weight=0.5)})
    assert {name for name in before if tuned[name] != before[name]} == {
        f"charges-n{n}-s{s}" for n in (10, 15) for s in (0, 1)
    }
    pretrained = hashes(suite.model_copy(update={"pretraining": longer}))
    assert all((pretrained[name] != before[name]) == name.startswith("pretrained") for name in before)


def test_what_a_trial_says_comes_over_what_the_suite_says(prepared_suite):
    suite, prepared = prepared_suite
    trials = {
        "energy": [{}, {"training": {"learning_rate": 5e-4}}],
        "composite-charges": [{"weight": 0.5}, {"tasks": {"orbital_charges": {"weight": 0.7, "loss": "l1"}}}],
    }
    tasks = {"orbital_charges": {"weight": 0.2}, "energy": {"scale": 1.0}}
    content = small_suite(Path(suite.dataset), modes=list(trials), tasks=tasks, tuning={"size": 10, "trials": trials})
    made = plan_trials(settled_suite(content), prepared)
    weights = [
        [(task.weight, task.loss) for name, task in run.config.data[0].tasks.items() if name != "energy"]
        for run in made["composite-charges"]
    ]
    assert weights == [[(0.5, "smooth_l1")] * 2, [(0.1, "smooth_l1"), (0.7, "l1")]]
    assert [run.config.training.learning_rate for run in made["energy"]] == [1e-3, 5e-4]
    assert {run.config.data[0].tasks["energy"].scale for runs in made.values() for run in runs} == {1.0}
    assert {(run.size, run.seed, run.config.data[0].split) for runs in made.values() for run in runs} == {
        (10, 1000, "n10-s1000")
    }


def test_two_trials_that_come_to_the_same_are_refused(prepared_suite):
    suite, prepared = prepared_suite
    trials = {
        "energy": [{}, {"training": {"learning_rate": suite.training.learning_rate}}],
        "charges": [{}, {"weight": 0.5}],
    }
    content = small_suite(Path(suite.dataset), modes=list(trials), tuning={"size": 10, "trials": trials})
    with pytest.raises(InputError, match="energy: trials 1 and 2 come to the same settings"):
        plan_trials(settled_suite(content), prepared)


def test_a_mode_adds_no_parameters_to_what_is_left_for_inference(runs):
    from mlipq.training.models.potential import Potential

    sizes = set()
    for run in (run for run in runs if (run.size, run.seed) == (10, 0)):
        made = prepare(run.config.model_copy(update={"start_from": ""}), lambda *progress: None)
        potential: Potential = made.potential
        small = potential.drop([name for name in potential.heads if name not in potential.needed()])
        sizes.add(small.n_parameters)
    assert len(sizes) == 1
