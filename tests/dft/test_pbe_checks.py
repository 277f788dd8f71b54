"""What PBE cannot label is refused by name, before PySCF sees it."""

import numpy as np
import pytest

from mlipq.dft import Pbe, labeler
from mlipq.dft.checks import refuse
from mlipq.errors import InputError, LabelError
from mlipq.methods import force_check
from mlipq.schema import Flag
from mlipq.structures import Structure


def atoms(numbers, positions, charge=0, multiplicity=1, **cell) -> Structure:
    return Structure(
        np.array(numbers, dtype="u1"), np.array(positions, dtype=float).reshape(-1, 3), charge, multiplicity, **cell
    )


WATER = ([8, 1, 1], [[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])


@pytest.mark.parametrize(
    ("structure", "error", "advice"),
    [
        (atoms([1], [[0, 0, 0]], charge=1), "no_electrons", "at least one"),
        (atoms(*WATER, multiplicity=2), "impossible_spin", "even numbers from 0 to 10"),
        (atoms(*WATER, charge=1, multiplicity=1), "impossible_spin", "odd numbers"),
        (atoms([2], [[0, 0, 0]], multiplicity=5), "impossible_spin", "0 to 2"),
        (atoms([0, 1], [[0, 0, 0], [0, 0, 1]]), "unknown_element", "Z = 0"),
        (
            atoms([64], [[0, 0, 0]], multiplicity=9),
            "unknown_element",
            "La (57) and Hf (72) to Rn (86); the structure holds Z = 64 (Gd)",
        ),
        (atoms([92], [[0, 0, 0]]), "unknown_element", "Z = 92 (U)"),
        (atoms([], []), "no_atoms", "no atoms"),
        (atoms([6, 6], [[0, 0, 0], [0, 0, 0.1]]), "atoms_too_close", "0.100 Å"),
        (atoms([1, 1], [[0, 0, 0], [0, 0, np.inf]]), "bad_coordinates", "atom 1"),
        (atoms(*WATER, cell=np.eye(3) * 9, pbc=np.array([True, False, False])), "periodic", "--ignore-pbc"),
    ],
)
def test_refused_by_name_with_advice(structure, error, advice):
    with pytest.raises(LabelError) as raised:
        refuse(structure)
    assert raised.value.error == error
    assert advice in raised.value.message


def test_one_electron_is_enough():
    label = Pbe().label(atoms([1], [[0, 0, 0]], multiplicity=2))
    assert float(label.arrays["pbe/energy"]) == pytest.approx(-13.6, abs=0.3)
    assert np.abs(label.arrays["pbe/orbital_charges"]).max() < 1e-6


def test_wrong_forces_are_caught(monkeypatch):
    monkeypatch.setattr(force_check, "ONE_IN", 1)
    hydrogen = atoms([1, 1], [[0, 0, 0], [0, 0, 0.8]])
    assert Pbe(grid=0).label(hydrogen).quality == Flag(0)
    right = labeler.single_point

    def wrong(*arguments, **options):
        solution = right(*arguments, **options)
        if solution.forces is not None:
            solution.forces[:] += np.array([[0, 0, 0.5], [0, 0, -0.5]])
        return solution

    monkeypatch.setattr(labeler, "single_point", wrong)
    assert Pbe(grid=0).label(hydrogen).quality == Flag.F_FORCE_CHECK


def test_without_pyscf_the_advice_is_how_to_get_it(monkeypatch):
    def missing(name):
        raise labeler.PackageNotFoundError(name)

    monkeypatch.setattr(labeler, "version", missing)
    with pytest.raises(InputError, match=r"pip install 'mlipq\[dft\]'"):
        Pbe()
