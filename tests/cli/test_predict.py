"""``mlipq predict`` as a user meets it."""

import ase.io
import numpy as np
import pytest
from command import WATER
from running import files_of
from trained import molecules_file, trained

from mlipq.structures import from_atoms
from mlipq.training import Predictor, load_model


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path)


def test_molecules_of_a_file(mlipq, run, water):
    before = files_of(run)
    ended = mlipq("predict", run, water, "-o", "out.extxyz")
    assert (ended.code, ended.out) == (0, "1 structure written to out.extxyz\n"), ended.err
    assert files_of(run) == before
    atoms = ase.io.read("out.extxyz")
    expected = Predictor(load_model(run)).predict([from_atoms(ase.io.read(water))])
    assert atoms.info["name"] == "water"
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (0, 1)
    assert atoms.get_potential_energy() == expected["energy"][0]
    assert atoms.info["gfn1_energy"] == expected["gfn1_energy"][0]
    np.testing.assert_array_equal(atoms.get_forces().astype("f4"), expected["forces"])
    np.testing.assert_array_equal(atoms.get_dipole_moment().astype("f4"), expected["dipole"][0])
    for name in ("orbital_charges", "gfn1_forces"):
        np.testing.assert_array_equal(atoms.arrays[name].astype("f4"), expected[name])


def test_a_crystal_has_a_stress(mlipq, run, tmp_path):
    (tmp_path / "ice.extxyz").write_text(
        '3\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 charge=0 spin=1 pbc="T T T"\n'
        + WATER.partition("name=water\n")[2]
    )
    assert mlipq("predict", run, "ice.extxyz", "-o", "out.extxyz").code == 0
    atoms = ase.io.read(tmp_path / "out.extxyz")
    expected = Predictor(load_model(run)).predict([from_atoms(ase.io.read(tmp_path / "ice.extxyz"))], ["stress"])[
        "stress"
    ][0]
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, rtol=1e-6)
    assert mlipq("predict", run, "ice.extxyz", "-o", "molecule.extxyz", "--ignore-pbc").code == 0
    assert not ase.io.read(tmp_path / "molecule.extxyz").pbc.any()


def test_what_the_file_says_is_kept_apart_from_what_is_predicted(mlipq, run, tmp_path):
    text = WATER.replace("name=water", "name=water energy=-1000.0 smiles=O")
    (tmp_path / "labelled.extxyz").write_text(text)
    assert mlipq("predict", run, "labelled.extxyz", "-o", "out.extxyz").code == 0
    atoms = ase.io.read(tmp_path / "out.extxyz")
    assert (atoms.info["info_energy"], atoms.info["info_smiles"]) == (-1000.0, "O")
    assert abs(atoms.get_potential_energy()) < 500


def test_a_dataset_in_the_order_of_its_rows(mlipq, run, tmp_path):
    ended = mlipq("predict", run, molecules_file(), "-o", "out.extxyz", "--json")
    assert ended.json == {"output": "out.extxyz", "structures": 32, "failures": []}
    frames = ase.io.read(tmp_path / "out.extxyz", ":")
    from mlipq import open_dataset

    dataset = open_dataset(molecules_file())
    expected = Predictor(load_model(run)).predict(dataset.batch(slice(None)), ["energy"])["energy"]
    assert [atoms.get_potential_energy() for atoms in frames] == expected.tolist()
    assert not any("gfn1_orbital_charges" in atoms.arrays for atoms in frames)  # labels stay where they are


def test_charge_and_spin_come_from_where_the_user_says(mlipq, run, tmp_path):
    (tmp_path / "ion.extxyz").write_text(WATER.replace("charge=0 spin_multiplicity=1", "q=1 uhf=1"))
    assert mlipq("predict", run, "ion.extxyz", "-o", "out.extxyz", "--charge-key", "q").code == 0
    info = ase.io.read(tmp_path / "out.extxyz").info
    assert (info["charge"], info["spin_multiplicity"]) == (1, 2)
    assert mlipq("predict", run, "ion.extxyz", "-o", "wrong.extxyz").code == 2  # neutral water has no odd electron


def test_what_fails_is_named_and_the_rest_is_written(mlipq, run, tmp_path):
    neon = WATER.replace("O 0.0", "Ne 0.0").replace("name=water", "name=neon")
    twice = WATER.replace("H 0.0 -0.7632", "H 0.0 0.7632").replace("name=water", "name=twice")
    odd = WATER.replace("spin_multiplicity=1", "spin_multiplicity=2").replace("name=water", "name=odd")
    broken = WATER.replace("0.1192", "nan").replace("name=water", "name=broken")
    (tmp_path / "mixed.extxyz").write_text(WATER + neon + odd + twice + broken + WATER)
    ended = mlipq("predict", run, "mixed.extxyz", "-o", "out.extxyz", "--strict")
    assert (ended.code, ended.out) == (1, "2 structures written to out.extxyz, 4 could not be predicted\n"), ended.err
    for name, why in (
        ("frame 1 (neon)", "the element Ne was not in training; this model knows H, C, N, O"),
        ("frame 2 (odd)", "multiplicity"),
        ("frame 3 (twice)", "at the same place"),
        ("frame 4 (broken)", "nan"),
    ):
        assert any(name in line and why in line for line in ended.err.splitlines()), (name, ended.err)
    assert len(ase.io.read(tmp_path / "out.extxyz", ":")) == 2
    ended = mlipq("predict", run, "mixed.extxyz", "-o", "again.extxyz", "--json")
    assert ended.code == 0
    assert {failure["structure"].partition(" ")[2] for failure in ended.json["failures"]} == {
        "frame 1 (neon)",
        "frame 2 (odd)",
        "frame 3 (twice)",
        "frame 4 (broken)",
    }
