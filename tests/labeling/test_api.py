"""Labeling from Python, as a user's script does it."""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

import mlipq
from mlipq.errors import InputError, LabelError

SCRIPT = """
from ase.build import molecule
import mlipq

manifest = mlipq.label([molecule("H2O"), molecule("CH4")], "out", workers=1)
print(manifest.n_structures, mlipq.open_dataset("out")[1].get_chemical_formula())
"""


@pytest.mark.parametrize("standard_input", [False, True])
def test_a_script_without_a_main_guard(tmp_path, standard_input):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-" if standard_input else "script.py"]
    typed = SCRIPT if standard_input else None
    done = subprocess.run(command, input=typed, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "2 CH4\n"), done.stderr


def test_one_structure_at_once():
    labels = mlipq.label_atoms(molecule("OH"))  # ASE's copy has one magnetic moment
    assert labels["gfn1/orbital_charges"].shape == (2, 3)
    assert labels["gfn1/uhf"] == 1
    anion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])
    again = mlipq.label_atoms(anion, charge_default=-1)
    assert again["gfn1/orbital_charges"].sum() == pytest.approx(-1, abs=1e-9)


def test_a_mistyped_key_is_not_the_default():
    hydroxide = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    with pytest.raises(LabelError, match="chrage"):
        mlipq.label_atoms(hydroxide, charge_key="chrage")


def test_what_cannot_be_labelled_says_why():
    crowded = molecule("H2O")
    crowded.positions[1] = crowded.positions[0] + 0.01
    with pytest.raises(LabelError) as raised:
        mlipq.label_atoms(crowded)
    assert raised.value.error == "atoms_too_close"
    with pytest.raises(InputError, match="str"):
        mlipq.label_atoms("H2O")


def test_labels_do_not_change_from_call_to_call():
    first, second = (mlipq.label_atoms(molecule("SO2")) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
