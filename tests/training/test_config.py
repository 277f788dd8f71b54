"""A run as YAML: what it means, what its mistakes are called, and that a resolved one reads as the same run."""

import subprocess
import sys

import pytest
import yaml

from mlipq.errors import InputError
from mlipq.training.config import Annealed, RunConfig, read_config
from mlipq.training.presets import preset_config, presets

LEAST = """
output: runs/qm7
data:
  - dataset: qm7-gfn1@1.0.0
    tasks:
      energy: main
"""


def written(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_of_few_lines(tmp_path):
    config = read_config(written(tmp_path, LEAST))
    assert config.output == str(tmp_path / "runs/qm7")
    (data,) = config.data
    assert (data.dataset, data.split, data.size, data.validation) == ("qm7-gfn1@1.0.0", "", None, 0.1)
    assert data.tasks["energy"].target == "main"
    assert (config.training.steps, config.training.epochs) == (6000, None)


def test_a_run_with_much_in_it(tmp_path):
    config = read_config(
        written(
            tmp_path,
            """
            output: runs/qm7
            seed: 3
            model: {size: large, channels: 96, feed_charges: orbital_charges, conserve_charge: true}
            data:
              - dataset: qm7-gfn1
                split: random
                train: pool
                size: 1000
                validation: 100
                batch: {atoms: 400}
                tasks:
                  energy: {target: reference/pbe0_energy, loss: l1, per_atom: yes, references: {H: -13.6, C: -1e3}}
                  orbital_charges: {weight: {start: 1, end: 1e-1, steps: 2000}}
                  gfn1_energy:
              - dataset: rmd17-2-gfn1
                validation: val
                groups: [ethanol]
                tasks: {gfn1_forces: {scale: 1e-1}}
            training: {epochs: 40, learning_rate: 1e-3, best_by: energy}
            """,
        )
    )
    assert (config.model.channels, config.model.layers, config.model.cutoff) == (96, 4, 6.0)
    first, second = config.data
    assert first.validation == 100 and isinstance(first.validation, int)
    assert first.tasks["energy"].references == {"H": -13.6, "C": -1000.0}
    assert first.tasks["orbital_charges"].weight == Annealed(start=1, end=0.1, steps=2000)
    assert first.tasks["gfn1_energy"].weight == 1
    assert second.validation == "val" and second.groups == ("ethanol",)
    assert second.tasks["gfn1_forces"].scale == 0.1
    assert (config.training.steps, config.training.learning_rate) == (None, 0.001)


def test_a_weight_goes_in_a_straight_line_and_stays():
    weight = Annealed(start=1.0, end=0.2, steps=4)
    assert [weight.at(step) for step in (0, 1, 2, 4, 5, 10**6)] == pytest.approx([1, 0.8, 0.6, 0.2, 0.2, 0.2])
    assert Annealed(start=0.3, end=0.3, steps=0).at(0) == 0.3


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ("trainig: {steps: 3}", ["line 7: trainig: unknown key; did you mean training?"]),
        ("steps: 3", ["steps: unknown key; did you mean training.steps?"]),
        ("training: {step: 3}", ["training.step: unknown key; did you mean steps?"]),
        ("training: {steps: 0}", ["training.steps: should be greater than 0, got 0"]),
        ("training: {steps: 3, epochs: 2}", ["should say steps or epochs, got both: 3 and 2"]),
        ("training: {best_by: forces}", ["training.best_by should be a task of qm7-gfn1@1.0.0 (energy), got 'forces'"]),
        ("training: {precision: half}", ["training.precision: should be 'float32' or 'float64', got 'half'"]),
        ("model: {size: medium}", ["model.size: should be 'small' or 'large', got 'medium'"]),
        ("model: {heads: [energy]}", ["model.heads: unknown key"]),
        ("model: {cutoff: .inf}", ["line 7: model.cutoff: should be a finite number, got inf"]),
        ("model: large", ["model: should hold keys and values (key: value), got 'large'"]),
        ("seed: 1\nseed: 2", ["line 8: seed stands there twice, first on line 7"]),
        ("seed: [", ["not YAML: line 8, column 1"]),
    ],
)
def test_mistakes_are_named_with_key_and_line(tmp_path, change, messages):
    path = written(tmp_path, LEAST + change + "\n")
    with pytest.raises(InputError) as refused:
        read_config(path)
    assert str(refused.value).startswith(str(path))
    for message in messages:
        assert message in str(refused.value)


def test_what_the_command_line_says_is_on_no_line(tmp_path):
    path = written(tmp_path, LEAST + "training: {steps: 3, warmup: -1}\nseed: 1\n")
    with pytest.raises(InputError) as refused:
        read_config(path, training={"steps": 0}, seed=-1)
    told = str(refused.value).splitlines()[1:]
    assert sorted(line.strip().partition(": should")[0] for line in told) == [
        "line 7: training.warmup",
        "seed",
        "training.steps",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": {"structures": 3, "atoms": 4}}, "batch: should say one of structures, atoms and edges, got structures, atoms"),
        ({"batch": {}}, "should say one of structures, atoms and edges, got none"),
        ({"split": 1}, "split: should be text (text that looks like a number stands in quotes), got 1"),
        ({"validation": 1.5}, "validation should be a fraction below 1 or a whole number, got 1.5"),
        ({"validation": 10, "size": 10}, "validation = 10 leaves nothing of size = 10 to train on"),
        ({"validation": 0}, "validation of a should not be 0"),
        ({"tasks": {}}, "tasks: "),
        ({"tasks": {"Energy": "main"}}, "the name of a task has small letters"),
        ({"tasks": {"energy": {"wieght": 1}}}, "data.0.tasks.energy.wieght: unknown key; did you mean weight?"),
        ({"tasks": {"energy": {"weight": "heavy"}}}, "data.0.tasks.energy.weight: should be a valid number"),
        ({"tasks": {"energy": {"weight": {"start": -1, "end": 0, "steps": 3}}}}, "data.0.tasks.energy.weight.start: should be greater than or equal to 0"),
        ({"tasks": {"energy": {"kind": "energies"}}}, "data.0.tasks.energy.kind: should be 'energy', "),
        ({"tasks": {"energy": {"scale": float("nan")}}}, "data.0.tasks.energy.scale: "),
    ],
)  # fmt: skip
def test_mistakes_in_what_is_read(change, message):
    content = {"output": "x", "data": [{"dataset": "a", "tasks": {"energy": "main"}, **change}]}
    with pytest.raises(InputError) as refused:
        read_config(content)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2  # one mistake, told once


@pytest.mark.parametrize(("data", "message"), [([], "data: "), ("qm7", "data: ")])
def test_there_is_something_to_read(data, message):
    with pytest.raises(InputError, match=message):
        read_config({"output": "x", "data": data})


def test_paths_count_from_the_file_and_names_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    text = LEAST.replace("qm7-gfn1@1.0.0", "mine") + "start_from: ../old\n"
    config = read_config(written(tmp_path, text), training={"steps": 7}, seed=5)
    assert config.data[0].dataset == str(tmp_path / "mine")
    assert config.start_from == str(tmp_path / "../old")
    assert (config.training.steps, config.seed) == (7, 5)


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(InputError, match="the run file cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")


def test_an_energy_begins_as_one_of_a_model_that_is_named():
    tasks = {"energy": {"target": "reference/pbe0_energy", "start_from": "gfn1_energy"}}
    with pytest.raises(InputError, match="task energy: start_from names an output of a model; say which by start_from"):
        read_config({"output": "x", "data": [{"dataset": "qm7-gfn1@1.0.0", "tasks": tasks}]})


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_a_run_and_reads_as_the_same_again(tmp_path, name):
    config = preset_config(
        name, "qm7-gfn1", str(tmp_path / "run"), energy="reference/pbe0_energy", data={"size": 1000}, seed=4, model={"size": "large"}
    )  # fmt: skip
    assert config.data[0].tasks["energy"].target == "reference/pbe0_energy"
    assert (config.data[0].size, config.seed, config.model.channels) == (1000, 4, 128)
    assert config.model.composite == (name == "composite")
    path = written(tmp_path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    assert read_config(path) == config == RunConfig.model_validate_json(config.model_dump_json())


def test_an_unknown_preset_lists_those_there_are():
    with pytest.raises(InputError, match=r"no preset 'multi'; there are composite, energy, .*multitask"):
        preset_config("multi", "qm7-gfn1", "run")


def test_options_that_need_a_head_say_so():
    config = read_config(
        {"output": "x", "data": [{"dataset": "a", "tasks": {"energy": "main"}}], "model": {"composite": True}}
    )
    from mlipq.training.architecture import HeadConfig

    with pytest.raises(InputError, match="a composite energy needs the heads energy and gfn1_energy"):
        config.model.build({"energy": HeadConfig(kind="energy")}, (1, 6))


def test_a_configuration_is_read_without_torch():
    code = (
        "import sys; from mlipq.training import read_config; "
        "read_config({'output': 'x', 'data': [{'dataset': 'a', 'tasks': {'energy': 'main'}}]}); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
