"""``mlipq import``: what it prints, what it leaves, and that ``mlipq label`` takes it up."""

from pathlib import Path

import pytest
from command import run_apart

from mlipq.formats import IMPORTERS

DATA = Path(__file__).parents[1] / "hub/importers/data"


def test_import_then_label(mlipq, tmp_path):
    ended = mlipq(
        "import", DATA / "dsgdb9nsd_000001.xyz", DATA / "dsgdb9nsd_000003.xyz", "--format", "gdb9", "-o", "out"
    )
    assert (ended.code, ended.out) == (0, "2 structures imported to out\n")
    assert run_apart("label", "out", "-o", "labelled", "--workers", "1", cwd=tmp_path).code == 0
    labelled = mlipq("info", "labelled", "--json").json
    arrays = {array["name"]: array for array in labelled["arrays"]}
    assert labelled["structures"] == 2 and arrays["reference/b3lyp_u0"]["level_of_theory"] == "B3LYP/6-31G(2df,p)"
    assert "gfn1/energy" in arrays


def test_json_and_strict(mlipq, tmp_path):
    (tmp_path / "a.xyz").write_text("nonsense")
    arguments = (
        "import",
        DATA / "dsgdb9nsd_000001.xyz",
        "a.xyz",
        "--format",
        "gdb9",
        "--strict",
        "--json",
        "-o",
        "out",
    )
    ended = mlipq(*arguments)
    assert ended.code == 1
    assert ended.json == {"output": "out", "structures": 1, "refused": 1, "duplicates": 0, "conflicts": 0}
    assert "no record of GDB-9" in mlipq("info", "out", "--failures").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.npz", "--format", "qm9"), "mlipq imports ani1x, asedb"),
        (("a.npz", "--format", "rmd17"), "a.npz: cannot be read"),
        (("a.db", "--format", "asedb"), "--level-of-theory"),
    ],
)
def test_bad_input(mlipq, tmp_path, arguments, said):
    ended = mlipq("import", *arguments, "-o", "out")
    assert ended.code == 2 and said in ended.err and not (tmp_path / "out").exists()


def test_the_help_names_every_format(mlipq):
    assert "|".join(IMPORTERS) in "".join(mlipq("import", "--help").out.split())
