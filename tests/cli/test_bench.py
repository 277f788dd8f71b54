"""``mlipq bench`` as a user meets it."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from command import MLIPQ, run_apart
from running import small_dataset
from small_suites import CONTENT, MEASURED

SUITE = {**CONTENT, "dataset": "molecules.zarr.zip"}
CLOCK = {*MEASURED, "curve"} - {"pretraining_seconds"}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def write_suite(folder: Path, **changes) -> None:
    small_dataset(folder / "molecules.zarr.zip")
    (folder / "mine.yaml").write_text(yaml.safe_dump({**SUITE, **changes}))


def results(folder: Path) -> dict:
    found = {path.name: json.loads(path.read_text()) for path in (folder / "results").iterdir()}
    return {name: {key: value for key, value in one.items() if key not in CLOCK} for name, one in found.items()}


def test_a_suite_ends_in_a_table_a_page_and_json(tmp_path):
    write_suite(tmp_path)
    first = run_apart("bench", "mine.yaml", "--workers", 2, cwd=tmp_path)
    assert first.code == 0, first.err
    assert "training: 4 runs of 48 steps in all" in first.err
    title, *lines = first.out.splitlines()
    assert title == "Small molecules"
    assert re.search(r" on \d+ test structures in meV, mean over 2 seeds ", lines[0])
    rows = [line.split() for line in lines if line.lstrip().startswith("10 ")]
    assert [row[1] for row in rows] == ["energy", "charges"]
    assert "%" not in " ".join(rows[0])
    assert "%" in " ".join(rows[1])
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()

    again = run_apart("bench", "mine.yaml", "--workers", 1, "--json", cwd=tmp_path)
    assert again.json["did_nothing"] is True
    assert [found["mode"] for found in again.json["comparisons"]] == ["energy", "charges"]

    more = run_apart("bench", "mine.yaml", "--seeds", 3, "--sizes", "10,20", "--dry-run", "--json", cwd=tmp_path)
    trained = {found["id"] for found in more.json["to_train"]}
    assert trained == {
        f"{mode}-{run}" for mode in ("energy", "charges") for run in ("n10-s2", "n20-s0", "n20-s1", "n20-s2")
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["quik"], "there is no suite quik, neither a file nor one that comes with mlipq; did you mean quick?"),
        (["quick", "--sizes", "100,many"], "--sizes: expected whole numbers, as 100,300, got '100,many'"),
        (["quick", "--seeds", "0"], "--seeds: expected how many, 1 or more, got 0"),
        (["quick", "--workers", "0"], "--workers: expected 1 or more"),
        (["quick", "--modes", "energy,chages"], "unknown mode chages; did you mean charges?"),
        (["tmqm-metals", "--dry-run"], "--dry-run"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(arguments, told, tmp_path):
    ended = run_apart("bench", *arguments, cwd=tmp_path)
    assert ended.code == 2
    assert told in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C in a terminal", "kill -9"])
def test_one_of_several_processes_that_is_stopped_goes_on(sent, tmp_path):
    write_suite(tmp_path, training={**SUITE["training"], "steps": 600, "validate_every": 20})
    undisturbed = run_apart("bench", "mine.yaml", "-o", "undisturbed", "--workers", 1, cwd=tmp_path)
    assert undisturbed.code == 0, undisturbed.err

    command = [MLIPQ, "bench", "mine.yaml", "-o", "stopped", "--workers", "2"]
    job = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    begun = tmp_path / "stopped" / "runs"
    while not list(begun.glob("*/metrics.csv")):
        assert job.poll() is None, job.stderr.read()
    (os.killpg if sent == signal.SIGINT else os.kill)(job.pid, sent)
    _, err = job.communicate(timeout=60)
    assert job.returncode == (3 if sent == signal.SIGINT else -signal.SIGKILL)
    if sent == signal.SIGINT:
        assert "mlipq: interrupted; the same command goes on from here" in err
        assert "Traceback" not in err

    again = run_apart("bench", "mine.yaml", "-o", "stopped", "--workers", 2, cwd=tmp_path)
    assert again.code == 0, again.err
    assert results(tmp_path / "stopped") == results(tmp_path / "undisturbed")
