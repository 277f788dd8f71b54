"""Bad input to ``evaluate``, ``predict`` and ``package``: what they say, their exit codes, and that nothing is harmed."""

import zipfile

import pytest
import torch
from command import WATER
from running import files_of
from trained import molecules_file, trained

DATASET = "datasets/samples-gfn1/1.0.0"


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path)


@pytest.fixture
def refuse(mlipq, tmp_path):
    """Run a command that must say why it does nothing, and do nothing."""

    def check(*command, code=2) -> str:
        before = files_of(tmp_path)
        ended = mlipq(*command)
        assert ended.code == code, ended
        assert "Traceback" not in ended.err
        assert ended.err.startswith("mlipq: ")
        assert files_of(tmp_path) == before
        as_json = mlipq(*command, "--json")
        assert as_json.json["exit_code"] == code
        return ended.err

    return check


def test_no_model(refuse, water, tmp_path):
    (tmp_path / "empty").mkdir()
    torch.save({"weights": torch.zeros(3)}, tmp_path / "model.pt")
    for model, said in (
        ("nothing", "No such file"),
        ("empty", "holds no model.json"),
        ("water.xyz", "no packaged model"),
        ("model.pt", "pickle file of PyTorch, which mlipq does not open"),
    ):
        for command in (
            ("predict", model, water, "-o", "out.extxyz"),
            ("package", model, "-o", "out.mlipq"),
            ("evaluate", model, "--dataset", molecules_file()),
        ):
            assert said in refuse(*command)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm, said", [(cut, "damaged"), (flip, "sha256"), (lambda path: path.unlink(), "choose --weights last or ema")]
)
def test_damaged_weights(refuse, run, water, harm, said):
    harm(run / "best.safetensors")
    assert said in refuse("predict", run, water, "-o", "out.extxyz")
    assert said in refuse("package", run, "-o", "out.mlipq")
    assert said in refuse("evaluate", run)


def test_damaged_package(refuse, mlipq, run, water, tmp_path):
    path = tmp_path / "model.mlipq"
    assert mlipq("package", run, "-o", path).code == 0
    whole = path.read_bytes()
    for harm, said in ((cut, "damaged"), (flip, "damaged")):
        path.write_bytes(whole)
        harm(path)
        assert said in refuse("predict", path, water, "-o", "out.extxyz")
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil", "x")
    assert "found ../../evil" in refuse("predict", path, water, "-o", "out.extxyz")
    path.write_bytes(whole)
    assert "one set of weights" in refuse("predict", path, water, "-o", "out.extxyz", "--weights", "last")
    assert "name what to compare with" in refuse("evaluate", path)


def test_what_is_there_already_is_not_written_over(refuse, run, water, tmp_path):
    for name in ("out.extxyz", "out.mlipq", "errors.csv"):
        (tmp_path / name).write_text("precious")
    for command in (
        ("predict", run, water, "-o", "out.extxyz"),
        ("package", run, "-o", "out.mlipq"),
        ("evaluate", run, "--per-structure", "errors.csv"),
    ):
        assert "is there already" in refuse(*command)


def test_a_file_has_the_name_of_what_it_is(refuse, run, water):
    assert "out.db: expected a name that ends in .extxyz or .xyz" in refuse("predict", run, water, "-o", "out.db")
    assert "out.zip: expected a name that ends in .mlipq" in refuse("package", run, "-o", "out.zip")
    assert "e.json: expected a name that ends in .csv" in refuse("evaluate", run, "--per-structure", "e.json")


def test_heads_and_targets_that_are_not_there(refuse, run):
    assert "'orbital_charges' cannot be dropped: its charges feed the energy" in refuse(
        "package", run, "-o", "out.mlipq", "--drop", "orbital_charges"
    )
    assert "no head 'moments' to keep" in refuse("package", run, "-o", "out.mlipq", "--keep", "moments")
    assert "expected OUTPUT=ARRAY" in refuse("evaluate", run, "--target", "energy")
    assert "no output 'energi'" in refuse("evaluate", run, "--target", "energi=gfn1/energy")
    assert "'test' should be a part of a split" in refuse("evaluate", run, "--split", "test")


def test_nothing_to_predict_for(refuse, run, water, tmp_path):
    (tmp_path / "neon.xyz").write_text(WATER.replace("O 0.0", "Ne 0.0"))
    said = refuse("predict", run, "neon.xyz", "-o", "out.extxyz")
    assert "none of 1 structures could be predicted" in said
    assert "the element Ne was not in training" in said
    (tmp_path / "cut.extxyz").write_text(WATER + "3\n")
    assert "cut.extxyz" in refuse("predict", run, water, "cut.extxyz", "-o", "out.extxyz")
    assert "no such file" in refuse("predict", run, "nothing.xyz", "-o", "out.extxyz")
    assert "--multiplicity two" in refuse("predict", run, water, "-o", "out.extxyz", "--multiplicity", "two")
    assert "cannot be written" in refuse("predict", run, water, "-o", "no/folder/out.extxyz")
