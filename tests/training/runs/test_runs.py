"""The folder of a run: it appears whole or not at all, and says what is wrong with it."""

import os
import signal
from pathlib import Path

import pytest
from running import content_of, files_of, in_child

from mlipq.errors import InputError
from mlipq.training.config import read_config
from mlipq.training.loop.distributed import World
from mlipq.training.runs.environment import Environment
from mlipq.training.runs.run import Data, DataRecord, Result, Run, creating_run, open_run, refuse_taken, settled

RECORD = DataRecord(
    dataset="a", name="a@1.0.0", sha256="0" * 64, licence="CC0-1.0", citation="A. Author, 2026",
    structures={"train": 9, "validation": 1}, rows_sha256={}, labels={}, elements=("H",), charges=(0,), multiplicities=(1,),
)  # fmt: skip
RESULT = Result(
    steps=12,
    stopped_by="steps",
    best_step=8,
    validation={},
    seconds=1.0,
    parameters=5,
    finished="2026-01-01T00:00:00+00:00",
)


def create(path, *, work=lambda folder: None) -> Run:
    config = settled(read_config(content_of("qm7-gfn1", path)))
    with creating_run(path, config, Data(datasets=(RECORD,)), Environment.now(World())) as folder:
        work(folder)
    return Run(path)


@pytest.fixture
def run(tmp_path):
    return create(tmp_path / "runs" / "one")


def test_what_was_written_is_read(run):
    assert open_run(run.path) == run
    assert run.config.data[0].dataset == "qm7-gfn1"
    assert run.data.datasets == (RECORD,)
    assert run.result is None
    assert run.metrics == []
    run.write("result.json", RESULT)
    assert run.result == RESULT


def test_an_error_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "model.json").write_text("{}")
        raise InputError("no")

    with pytest.raises(InputError):
        create(tmp_path / "run", work=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_run(tmp_path):
    def kill(folder):
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: create(tmp_path / "run", work=kill)) == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    assert open_run(create(tmp_path / "run").path)


def test_what_is_there_already_is_not_touched(run, tmp_path):
    before = files_of(tmp_path)
    with pytest.raises(InputError, match=f"holds a run that is not finished; go on with it:  mlipq resume {run.path}"):
        create(run.path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(InputError, match="is there already and is no run; name a folder that does not exist yet"):
        refuse_taken(tmp_path / "thesis")
    with pytest.raises(InputError, match="is there already and is no run"):
        refuse_taken(tmp_path / "thesis" / "chapter1.tex")
    assert files_of(run.path) == {name.removeprefix("runs/one/"): data for name, data in before.items()}
    run.write("result.json", RESULT)
    with pytest.raises(InputError, match="holds a finished run; name another folder"):
        refuse_taken(run.path)
    (tmp_path / "empty").mkdir()
    refuse_taken(tmp_path / "empty")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
def test_a_folder_that_cannot_be_made():
    with pytest.raises(InputError, match="/proc/self/runs/one cannot be written"):
        create(Path("/proc/self/runs/one"))


def test_no_run(run, tmp_path):
    with pytest.raises(
        InputError, match="absent is no folder of a run: there is no such folder; begin one with:  mlipq train"
    ):
        open_run(tmp_path / "absent")
    (run.path / "data.json").unlink()
    with pytest.raises(InputError, match=r"is no folder of a run: it has no data\.json"):
        open_run(run.path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 12", "steps: 24", "training.steps: 12 → 24"),
        ("weight: 0.1", "weight: 0.3", "data.0.tasks.orbital_charges.weight: 0.1 → 0.3"),
        ("seed: 0", "seed: 1", "seed: 0 → 1"),
    ],
)
def test_a_changed_config_names_the_keys(run, old, new, message):
    path = run.path / "config.yaml"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as error:
        _ = Run(run.path).config
    assert f"config.yaml was changed since this run began:\n  {message}\n" in str(error.value)
    assert f"start_from: {run.path}" in str(error.value)


def test_a_config_that_is_none_any_more(run):
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("warmup", "warmpu"))
    with pytest.raises(
        InputError, match=r"config\.yaml: .*\n  line \d+: training.warmpu: unknown key; did you mean warmup\?"
    ):
        _ = Run(run.path).config


@pytest.mark.parametrize("file", ["data.json", "environment.json"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: data.replace(b"format_version", b"format"), lambda _: b"\xff"]
)
def test_damaged_records(run, file, damage):
    path = run.path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{file} is damaged: .* Restore it, or train anew"):
        _ = run.data, run.history


def test_paths_are_absolute_wherever_a_run_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    create(Path("one"))
    content = content_of("own", "two")
    content["start_from"] = "one"
    config = settled(read_config(content))
    assert config.output == str(tmp_path / "two")
    assert config.data[0].dataset == str(tmp_path / "own")
    assert config.start_from == str(tmp_path / "one")
    assert settled(read_config(content_of("qm7-gfn1", "two"))).data[0].dataset == "qm7-gfn1"
    monkeypatch.chdir("/")
    assert Run(tmp_path / "one").config.output == str(tmp_path / "one")


def test_a_moved_run_is_the_same_run(run, tmp_path):
    run.path.rename(tmp_path / "moved")
    assert Run(tmp_path / "moved").config.data == settled(read_config(content_of("qm7-gfn1", run.path))).data
