"""``mlipq package`` as a user meets it."""

import pytest
from running import files_of
from trained import trained

from mlipq.training import load_model


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path)


def test_what_it_says_and_leaves(mlipq, run, tmp_path):
    before = files_of(run)
    ended = mlipq("package", run, "-o", "model.mlipq")
    assert ended.code == 0, ended.err
    lines = [line.split(maxsplit=1) for line in ended.out.splitlines()]
    said = {name: text for name, text in lines[1:]}
    assert said["kept"] == "energy (correction and GFN1 head merged), orbital_charges (the energy reads it)"
    assert said["dropped"] == "gfn1_energy, dipole"
    assert files_of(run) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.mlipq", "run"]
    assert list(load_model("model.mlipq").potential.heads) == ["energy", "orbital_charges"]


def test_json_and_other_heads_and_weights(mlipq, run):
    ended = mlipq("package", run, "-o", "model.mlipq", "--keep", "dipole", "--weights", "last", "--json")
    assert ended.json["kept"]["dipole"] == "kept on request"
    assert ended.json["dropped"] == ["gfn1_energy"]
    whole = load_model(run, "last").potential
    assert ended.json["parameters"]["training"] == sum(values.numel() for values in whole.parameters())
    assert mlipq("package", run, "-o", "other.mlipq", "--drop", "dipole", "--json").json["dropped"] == ["dipole"]
