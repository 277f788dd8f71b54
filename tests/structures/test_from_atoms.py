"""ASE objects in memory: what is kept, what is refused."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlipq.errors import InputError
from mlipq.schema import Flag
from mlipq.structures import ReadOptions, ReferenceSpec, Rejected, from_atoms


def dimer(**info) -> Atoms:
    return Atoms("N2", [(0, 0, 0), (0, 0, 1.1)], info=info)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e9, -1e300])
def test_bad_coordinates(value):
    atoms = dimer(name="broken")
    atoms.positions[1, 2] = value
    rejected = from_atoms(atoms, source_file="a.xyz", source_index=4)
    assert rejected == Rejected("a.xyz", 4, "broken", "bad_coordinates", rejected.message)
    assert "position 1 " in rejected.message


@pytest.mark.parametrize("numbers, error", [([], "no_atoms"), ([0], "unknown_element"), ([1, 119], "unknown_element")])
def test_bad_elements(numbers, error):
    assert from_atoms(Atoms(numbers=numbers, positions=np.zeros((len(numbers), 3)))).error == error


def test_positions_are_rounded_and_the_input_left_alone():
    atoms = dimer()
    atoms.positions[1] = [1.123456789, -2.000000004, 1 / 3]
    before = atoms.positions.copy()
    structure = from_atoms(atoms)
    assert structure.positions[1].tolist() == [1.12345679, -2.0, 0.33333333]
    assert structure.numbers.dtype == np.uint8
    np.testing.assert_array_equal(atoms.positions, before)


def test_name_group_and_source():
    structure = from_atoms(dimer(name=17, group="g1"), source_file="d/x.xyz", source_index=3)
    assert (structure.name, structure.group, structure.info) == ("17", "g1", {})
    assert structure.where == "d/x.xyz frame 3 (17)"


def test_everything_else_is_kept_under_info():
    atoms = dimer(
        smiles="N#N", n=3, x=np.float32(0.5), flag=np.bool_(True), vector=[1, 2, 3], tensor=np.eye(2), nested={"a": [1]},
        words=["a", "b"], nothing=None, big=2**70, ragged=[[1], [2, 3]],
    )  # fmt: skip
    atoms.set_array("weights", np.array([1.0, 2.0]))
    atoms.set_array("labels", np.array(["N1", "N2"]))
    kept = from_atoms(atoms).info
    assert kept.pop("vector").tolist() == [1, 2, 3]
    assert kept.pop("tensor").shape == (2, 2)
    assert kept.pop("weights").tolist() == [1, 2]
    assert json.loads(kept.pop("labels")) == ["N1", "N2"]
    assert kept == {
        "smiles": "N#N", "n": 3, "x": 0.5, "flag": True, "nested": '{"a": [1]}', "words": '["a", "b"]',
        "big": str(2**70), "ragged": "[[1], [2, 3]]",
    }  # fmt: skip
    assert type(kept["flag"]) is bool and type(kept["n"]) is int


def test_names_become_paths_and_stay_apart():
    assert from_atoms(dimer(**{"a/b": 1, "a b": 2})).info == {"a_b": 1, "a_b_": 2}


def test_results_are_kept_under_their_own_name():
    atoms = dimer()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=np.ones((2, 3)))
    kept = from_atoms(atoms).info
    assert kept["energy"] == -1.5 and kept["forces"].shape == (2, 3)


def test_results_of_other_positions_are_dropped():
    reference = ReferenceSpec("e", "energy", "energy", "eV", "EMT")
    atoms = dimer()
    atoms.calc = EMT()
    energy = atoms.get_potential_energy()
    assert from_atoms(atoms, ReadOptions(references=(reference,))).reference == {"e": pytest.approx(energy)}
    atoms.positions[1, 2] += 0.1
    moved = from_atoms(atoms, ReadOptions(references=(reference,)))
    assert moved.reference == {} and "energy" not in moved.info


def test_periodic_structures_keep_a_rounded_cell():
    atoms = Atoms("Si", cell=np.eye(3) * 5.4300000001, pbc=[True, True, False])
    structure = from_atoms(atoms)
    assert structure.is_periodic and structure.pbc.tolist() == [True, True, False]
    assert structure.cell[0, 0] == 5.43


def test_ignore_pbc_drops_the_cell_and_says_so():
    structure = from_atoms(Atoms("Si", cell=[5, 5, 5], pbc=True), ReadOptions(ignore_pbc=True))
    assert structure.cell is None and structure.pbc is None and structure.quality & Flag.F_PBC_IGNORED
    assert not from_atoms(Atoms("Si"), ReadOptions(ignore_pbc=True)).quality & Flag.F_PBC_IGNORED


def test_a_cell_of_a_molecule_is_dropped():
    structure = from_atoms(Atoms("He", cell=[5, 5, 5]))
    assert structure.cell is None and structure.pbc is None


@pytest.mark.parametrize(
    "cell, error", [([0, 0, 0], "bad_cell"), ([5, 5, 0], "bad_cell"), ([5, 5, np.nan], "bad_coordinates")]
)
def test_periodic_without_a_proper_cell(cell, error):
    assert from_atoms(Atoms("Si", cell=np.diag(cell), pbc=True)).error == error


@pytest.mark.parametrize(
    "wrong, name", [("water.xyz", "str"), (dimer()[0], "Atom"), ([dimer()], "list"), (None, "NoneType")]
)
def test_something_that_is_no_atoms(wrong, name):
    with pytest.raises(InputError, match=rf"structure 3 .*expected ase.Atoms, got {name} "):
        from_atoms(wrong, source_index=3)
