"""metrics.csv: what was written is read back, whatever killed the writer, and a resumed run has no row twice."""

import csv

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlipq.errors import InputError
from mlipq.training.runs.metrics import append_metrics, cut_metrics, mean_errors, read_metrics

ROWS = [
    {"step": step, "energy_mae_meV": 1000 / step, "forces_mae_meV/Å": None, "seconds": 0.5 * step}
    for step in (5, 10, 15)
]


@pytest.fixture
def path(tmp_path):
    for row in ROWS:
        append_metrics(tmp_path / "metrics.csv", row)
    return tmp_path / "metrics.csv"


def test_rows_are_read_back(path):
    found = read_metrics(path)
    assert [row["step"] for row in found] == [5, 10, 15]
    assert [row["energy_mae_meV"] for row in found] == pytest.approx([200, 100, 1000 / 15], rel=1e-8)
    assert found[0]["forces_mae_meV/Å"] is None


def test_other_programs_read_it(path):
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["energy_mae_meV"] for row in rows] == ["200", "100", "66.6666667"]
    assert rows[0]["step"] == "5"


@settings(max_examples=40)
@example(cut=36, step=0)  # inside the Å of meV/Å
@given(cut=st.integers(0, 200), step=st.integers(0, 20))
def test_a_file_cut_anywhere_keeps_its_whole_rows(tmp_path_factory, cut, step):
    path = tmp_path_factory.mktemp("cut") / "metrics.csv"
    for row in ROWS:
        append_metrics(path, row)
    text = path.read_bytes()
    path.write_bytes(text[:cut])
    whole = max(text[:cut].count(b"\n") - 1, 0)
    assert [row["step"] for row in read_metrics(path)] == [5, 10, 15][:whole]
    cut_metrics(path, step)
    kept = [row["step"] for row in ROWS[:whole] if row["step"] <= step]
    assert [row["step"] for row in read_metrics(path)] == kept
    append_metrics(path, {**ROWS[0], "step": 20})
    assert [row["step"] for row in read_metrics(path)] == [*kept, 20]


def test_what_was_cut_and_written_again_is_the_same_file(path):
    before = path.read_bytes()
    cut_metrics(path, 5)
    for row in ROWS[1:]:
        append_metrics(path, row)
    assert path.read_bytes() == before


def test_a_damaged_line_is_named(path):
    path.write_text(path.read_text().replace("10,100", "10,x"))
    with pytest.raises(InputError, match=r"metrics\.csv, line 3: expected 4 numbers, found '10,x,,5'"):
        read_metrics(path)


def test_other_columns_are_refused(path):
    before = path.read_bytes()
    with pytest.raises(InputError, match="has other columns than this run"):
        append_metrics(path, {"step": 20, "dipole_mae_eÅ": 1.0})
    assert path.read_bytes() == before


def test_names_tell_task_and_unit():
    row = {"step": 1, "a_mae_b_mae_meV/atom": 2.0, "forces_rmse_meV/Å": 3.0, "orbital_charges_mae_me": None}
    assert list(mean_errors(row)) == [("a_mae_b", 2.0, "meV/atom"), ("orbital_charges", None, "me")]
