"""``mlipq train`` and ``mlipq resume`` as a user meets them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from command import MLIPQ, run_apart
from running import content_of, files_of, same_everywhere, small_dataset


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("data") / "molecules.zarr.zip")


@pytest.fixture
def config(dataset, tmp_path):
    """qm7.yaml in the folder where commands run, of a run in runs/qm7."""
    path = tmp_path / "qm7.yaml"
    path.write_text(yaml.safe_dump(content_of(dataset, "runs/qm7")))
    return path


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (folder / "qm7.yaml").write_text(yaml.safe_dump(content_of(dataset, "run")))
    ended = run_apart("train", "qm7.yaml", cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "run", ended


def test_what_a_run_prints(finished):
    _, ended = finished
    assert ended.err.startswith("training run: ")
    assert ended.err.splitlines()[0].endswith(" parameters, 12 steps")
    lines = dict(line.split("  ", 1) for line in ended.out.splitlines() if "  " in line)
    assert list(lines) == [
        "steps",
        "best weights",
        "validation",
        "parameters",
        "Look at run/README.md and curves.png; measure it:",
    ]
    assert lines["validation"].strip().startswith("energy ")
    assert " meV, orbital charges " in lines["validation"]
    assert lines["validation"].endswith(" me")


def test_json(mlipq, config, finished):
    ended = mlipq("train", config, "-o", "here", "--json")
    assert ended.code == 0, ended.err
    result = json.loads((config.parent / "here" / "result.json").read_text())
    assert ended.json == {"run": str(config.parent / "here"), "did_nothing": False, **result}
    assert same_everywhere(config.parent / "here") == same_everywhere(finished[0])
    assert not (config.parent / "runs").exists()
    again = mlipq("resume", "here", "--json")
    assert again.json == {**ended.json, "run": "here", "did_nothing": True}


def test_a_finished_run_says_so(mlipq, finished):
    before = files_of(finished[0])
    ended = mlipq("resume", finished[0])
    assert ended.code == 0
    assert ended.out.startswith(f"{finished[0]} is finished; there was nothing to do\n")
    assert files_of(finished[0]) == before


def test_a_finished_run_needs_no_dataset(mlipq, dataset, config):
    own = shutil.copy(dataset, config.parent / "own.zarr.zip")
    config.write_text(yaml.safe_dump(content_of(own, "run")))
    assert mlipq("train", config).code == 0
    own.unlink()
    ended = mlipq("resume", "run")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("run is finished; there was nothing to do\n")


def test_paths_count_from_the_file(mlipq, config):
    assert mlipq("train", config).code == 0
    assert (config.parent / "runs" / "qm7" / "result.json").is_file()


def test_options_replace_what_the_file_says(mlipq, config):
    assert mlipq("train", "qm7.yaml", "--steps", 5, "--seed", 3, "-o", "other").code == 0
    said = yaml.safe_load((config.parent / "other" / "config.yaml").read_text())
    assert (said["training"]["steps"], said["seed"], said["training"]["validate_every"]) == (5, 3, 4)


def test_a_dataset_and_a_preset(mlipq, dataset, tmp_path):
    options = ["--energy", "reference/pbe0_energy", "--size", 20, "--steps", 3, "-o", "run"]
    ended = mlipq("train", "--dataset", dataset, *options)
    assert ended.code == 0, ended.err
    said = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    (data,) = said["data"]
    assert data["tasks"]["energy"]["target"] == "reference/pbe0_energy"
    assert "orbital_charges" in data["tasks"]
    assert (data["size"], said["model"]["channels"]) == (20, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "train on what? Name a configuration"),
        (["--dataset", "qm7-gfn1"], "where to? Name the folder of the run"),
        (["qm7.yaml", "--dataset", "qm7-gfn1", "--size", "5"], "leave out --dataset, --size, or write it there"),
        (
            ["--dataset", "qm7-gfn1", "--preset", "everything", "-o", "run"],
            "there is no preset 'everything'; there are ",
        ),
        (["--dataset", "qm8-gfn1", "-o", "run"], "qm8-gfn1"),
        (["qm7.yaml", "--steps", "0"], "training.steps: should be greater than 0, got 0"),
        (["qm7.yaml", "--model", "huge"], "model.size: should be 'small' or 'large', got 'huge'"),
        (["absent.yaml"], "absent.yaml: "),
    ],
)
def test_arguments_that_cannot_be(mlipq, config, arguments, message):
    before = sorted(config.parent.rglob("*"))
    ended = mlipq("train", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert sorted(config.parent.rglob("*")) == before


def interrupt(command, number, cwd) -> tuple[int, str, str]:
    """Send a signal to a training process once it trains."""
    process = subprocess.Popen(
        [MLIPQ, *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr.readline().startswith("training ")
    time.sleep(0.3)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_ctrl_c(config, tmp_path):
    code, out, err = interrupt(["train", "qm7.yaml", "--steps", "100000"], signal.SIGINT, tmp_path)
    assert (code, out) == (3, "")
    assert "mlipq: interrupted after step " in err
    assert "To go on:  mlipq resume runs/qm7" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_killed_several_times(mlipq, config, tmp_path):
    """SIGKILL at times by chance, in processes of their own."""
    steps = ["--steps", "500"]
    assert mlipq("train", config, *steps, "-o", "undisturbed").code == 0
    command, killed = ["train", "qm7.yaml", *steps], 0
    for _ in range(2):
        code, _, err = interrupt(command, signal.SIGKILL, tmp_path)
        assert code in (0, -signal.SIGKILL), err
        killed += code != 0
        command = ["resume", "runs/qm7"]
    assert mlipq("resume", "runs/qm7").code == 0
    assert killed
    assert same_everywhere(tmp_path / "runs" / "qm7") == same_everywhere(tmp_path / "undisturbed")


@pytest.mark.slow
def test_two_processes(config, tmp_path):
    """Under torchrun one process writes and prints, and an error is told once."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", MLIPQ]
    done = subprocess.run([*torchrun, "train", "qm7.yaml", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 12
    assert done.stderr.count("training runs/qm7: ") == 1
    rows = (tmp_path / "runs" / "qm7" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert json.loads((tmp_path / "runs" / "qm7" / "environment.json").read_text())["sittings"][0]["processes"] == 2
    again = subprocess.run([*torchrun, "train", "qm7.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode != 0
    assert again.stderr.count("holds a finished run") == 1


def test_without_torch_it_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['mlipq', 'resume', 'run']; from mlipq.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "mlipq: this verb needs the package torch; install what trains:  pip install 'mlipq[train]'\n"
