import re

import pytest
from small_suites import CONTENT

from mlipq.bench.latent.suite import looks_at_metals
from mlipq.bench.modes import MODES, find_mode, mode_names
from mlipq.bench.suite import read_suite, suite_names
from mlipq.errors import InputError
from mlipq.hub.catalogue import load_catalogue
from mlipq.hub.refs import DatasetRef


@pytest.mark.parametrize("name", [name for name in suite_names() if not looks_at_metals(name)])
def test_a_suite_that_comes_with_mlipq_is_one_on_a_published_dataset(name):
    suite = read_suite(name)
    assert suite.name == name
    assert DatasetRef.parse(suite.dataset).name in load_catalogue().datasets


def test_a_suite_of_ones_own_is_twelve_lines_at_most(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("title: Mine\ndataset: labelled\nsizes: [100, 300]\nseeds: 3\nmodes: [energy, charges]\n")
    (tmp_path / "labelled").mkdir()
    suite = read_suite(file)
    assert (suite.name, suite.seeds, suite.target) == ("mine", (0, 1, 2), "main")
    assert suite.dataset == str(tmp_path / "labelled"), "paths count from the folder of the file"
    assert suite.draws == [(100, 0), (100, 1), (100, 2), (300, 0), (300, 1), (300, 2)]


def test_a_part_of_the_modes_draws_what_all_of_them_do(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("title: Mine\ndataset: x\nsizes: [100]\nseeds: 3\nmodes: [energy, dft-charges, charges]\n")
    assert read_suite(file).labels_beside == ("pbe/orbital_charges",)
    part = read_suite(file, modes=["energy", "shuffled"], seeds=1)
    assert (part.modes, part.seeds) == (("energy", "shuffled"), (0,))
    assert part.labels_beside == ("pbe/orbital_charges",)
    with pytest.raises(InputError, match="each once; energy stands there twice"):
        read_suite(file, modes=["energy", "energy"])


def test_a_part_of_the_modes_leaves_settings_of_the_others_alone():
    assert read_suite("dipole", modes=["dipole", "charges"]).modes == ("dipole", "charges")


def test_the_draws_of_tuning_are_its_own():
    trials = {"energy": [{}, {"training": {"learning_rate": 5e-4}}], "charges": [{}, {"weight": 0.03}]}
    suite = read_suite({**CONTENT, "dataset": "mine", "tuning": {"size": 20, "trials": trials}})
    assert suite.tuned_at == (20, 1000)
    assert (20, 1000) in suite.draws
    settled = read_suite({**CONTENT, "dataset": "mine", "tuning": {"trials": {"energy": [{}], "charges": [{}]}}})
    assert settled.tuned_at is None, "one trial each is taken, not tried"


def one_trial(energy: dict) -> dict:
    """Settings of the mode energy, beside those of charges."""
    return {"trials": {"energy": [energy], "charges": [{}]}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"modes": ["energy", "chages"]}, "modes.1: unknown mode chages; did you mean charges?"),
        ({"modes": ["energy", "energy"]}, "each once; energy stands there twice"),
        ({"modes": ["energy", "delta+extra"]}, "unknown mode delta"),
        ({"modes": ["energy", "pretrained"]}, "did you mean pretrained.extra?"),
        (
            {"modes": ["invariant", "equivariant"], "task": "orbital_moments", "model": {"channels": 32}},
            "the mode invariant has model.channels of its own; leave that out of model",
        ),
        ({"modes": ["charges", "moments"]}, "modes: all of them have xTB labels; name one without"),
        ({"modes": ["charges+extra"], "extra": []}, "charges.extra needs extra"),
        ({"modes": ["composite"], "task": "dipole_magnitude"}, "composite is for suites whose task is energy"),
        ({"modes": ["equivariant", "moments"], "task": "orbital_moments"}, "moments learns orbital_moments beside"),
        ({"sizes": [5]}, "sizes.0: should be greater than or equal to 10"),
        ({"sizes": []}, "sizes: should have at least 1"),
        ({"seeds": 0}, "seeds: should have at least 1"),
        ({"step": 3}, "step: unknown key"),
        ({"test": 1.5}, "test: "),
        ({"training": {"best_by": "energy"}}, "the modes' own"),
        ({"training": {"patience": 3}}, "training.patience: all modes train for equally many steps"),
        ({"tasks": {"energy": {"start_from": "gfn1_energy"}}}, "tasks.energy: target, kind and start_from"),
        ({"tasks": {"energy": {"per_atom": True}}}, "tasks.energy: errors of a suite are of whole structures"),
        (
            {"tasks": {"energy": {"target": "gfn1/energy"}}},
            "tasks.energy: target, kind and start_from are the modes' own",
        ),
        ({"tasks": {"orbital_moments": {"weight": 1}}}, "no mode of this suite learns orbital_moments"),
        ({"extra": ["pool", {"datset": "x"}]}, "extra.1.datset: unknown key; did you mean dataset?"),
        ({"forces": "reference/pbe_forces", "task": "dipole_magnitude", "modes": ["dipole"]}, "forces go with"),
        (
            {"forces": "reference/pbe_forces", "modes": ["energy", "delta"]},
            "delta learns delta/energy, which has no forces",
        ),
        (
            {"tuning": {"size": 20, "trials": {"energy": [{}, {}], "charges": [{}]}}},
            "as many trials.*energy 2, charges 1",
        ),
        ({"tuning": {"trials": {"energy": [{}, {}], "charges": [{}, {}]}}}, "need a size"),
        (
            {"tuning": {"size": 20, "seed": 1, "trials": {"energy": [{}, {}], "charges": [{}, {}]}}},
            "tuning.seed should be none of seeds",
        ),
        ({"tuning": {"size": 20, "trials": {"energy": [{}, {}]}}}, "charges is missing"),
        (
            {"tuning": {"size": 20, "trials": {"energy": [{"training": {"steps": 9}}], "charges": [{}]}}},
            "steps: unknown key",
        ),
        ({"tuning": one_trial({"model": {"chanels": 9}})}, "mean channels?"),
        ({"tuning": one_trial({"model": {"composite": True}})}, "composite is the modes' own"),
        ({"tuning": one_trial({"weight": 0.3})}, "tuning.trials.energy: weight is of what is learned beside"),
        ({"tuning": one_trial({"tasks": {"orbital_charges": {"weight": 1}}})}, "does not learn orbital_charges"),
        (
            {"tuning": one_trial({"tasks": {"energy": {"target": "gfn1/energy"}}})},
            "target, kind and start_from are the modes' own",
        ),
        ({"tuning": one_trial({"tasks": {"energy": {"per_atom": True}}})}, "leave per_atom out"),
        (
            {
                "modes": ["energy", "pretrained+extra"],
                "tuning": {"trials": {"energy": [{}], "pretrained+extra": [{"model": {"channels": 9}}]}},
            },
            "model is that of the pretraining",
        ),
    ],
)
def test_a_mistake_is_told_by_key(change, told):
    with pytest.raises(InputError) as raised:
        read_suite({**CONTENT, "dataset": "mine", **change})
    assert re.search(told.replace("?", r"\?"), str(raised.value)), raised.value


def test_a_suite_that_is_not_there_is_refused_by_the_nearest_name(tmp_path):
    with pytest.raises(InputError, match=r"no suite quik.* did you mean quick\?"):
        read_suite("quik")


def test_the_class_of_a_mode_is_part_of_its_name():
    for name in mode_names():
        mode = find_mode(name)
        assert mode.name == name
        assert (mode.labels_from == "extra") == name.endswith("+extra")
    assert MODES["delta"].labels_from == "inference"
    assert {name for name in mode_names() if find_mode(name).labels_from == "none"} == {
        "energy",
        "dipole",
        "invariant",
        "equivariant",
    }


def test_a_mode_says_which_of_its_labels_only_some_structures_have():
    assert {name: find_mode(name).partial_arrays for name in mode_names() if find_mode(name).partial_arrays} == {
        "dft-charges": ["pbe/orbital_charges"]
    }


def test_no_mode_learns_dft_labels_of_extra_structures():
    for name in (name for name in mode_names() if name.endswith("+extra")):
        assert all(array.startswith(("gfn1/", "control/")) for array in find_mode(name).arrays), name


def test_a_folder_called_like_a_suite_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert read_suite("demo").name == "demo"
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="other is no file; a suite is a YAML file"):
        read_suite("other")
