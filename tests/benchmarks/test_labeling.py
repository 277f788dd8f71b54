"""The scripts of benchmarks/labeling run, and their contestants agree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.labeling.memory import client_alone

ROOT = Path(__file__).parents[2]
TMQM = ROOT / "benchmarks" / "labeling" / "structures" / "tmqm.extxyz.gz"
FROM_PYPI = ["mlipq", "ase_pool_stock", "ase_pool_fast", "bare_loops"]


def run(script, *arguments):
    command = [sys.executable, "-m", f"benchmarks.labeling.{script}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_contestants_find_the_same_energies(tmp_path):
    settings = ["--structures", 3, "--workers", 1, "--repeats", 1, "--results", tmp_path]
    printed = run("compare", TMQM, *settings, "--only", *FROM_PYPI)
    results = json.loads((tmp_path / "compare-tmqm.json").read_text())
    rows = {row["contestant"]: row for row in results["rows"]}
    assert list(rows) == FROM_PYPI
    for name, row in rows.items():
        assert f"| {name} |" in printed
        assert row["failed"] == row["other_solutions"] == row["energies_beyond_tolerance"] == 0
        assert row["wall_s"]["median"] > 0 and row["startup_s"]["repeats"] == 1
    assert rows["bare_loops"]["times_bare_loops"]["median"] == 1
    assert rows["ase_pool_stock"]["times_stock_pool_net"]["median"] == 1
    assert results["settings"]["structures"] == 3


def test_the_memory_of_the_client_is_its_own():
    ballast = b"x" * (400 << 20)
    assert 10 < client_alone("--version") < 200, len(ballast)


@pytest.mark.slow
def test_where_the_time_goes_adds_up(tmp_path):
    run("where", TMQM, "--structures", 3, "--results", tmp_path / "where.json")
    parts = {row["part"]: row for row in json.loads((tmp_path / "where.json").read_text())["rows"]}
    whole = parts.pop("wall time of mlipq label")
    assert sum(row["ms_per_structure"] for row in parts.values()) == pytest.approx(whole["ms_per_structure"], rel=1e-3)
    assert all(
        row["ms_per_structure"] > 0
        for part, row in parts.items()
        if part.startswith(("single point: bare", "plan", "finish"))
    )


@pytest.mark.slow
def test_efficiency_is_a_share(tmp_path):
    run("efficiency", TMQM, "--structures", 4, "--workers", 1, "--results", tmp_path / "efficiency.json")
    (row,) = json.loads((tmp_path / "efficiency.json").read_text())["rows"]
    assert row["failed"]["median"] == 0
    assert 0 < row["efficiency"]["median"] < 1
