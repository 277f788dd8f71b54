"""Reference labels: how they are named, mapped, converted and refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mlipq.errors import InputError
from mlipq.structures import ReadOptions, ReferenceSpec, from_atoms

KCAL_PER_MOL = 4184 / 6.02214076e23 / 1.602176634e-19
"""One kcal/mol in eV, from the exact SI constants."""


def read(atoms: Atoms, *specs: str):
    return from_atoms(atoms, ReadOptions(references=tuple(map(ReferenceSpec.parse, specs))))


def test_the_form_of_the_command_line():
    spec = ReferenceSpec.parse("pbe0_energy=atomization_energy:energy:kcal/mol:PBE0:def2-TZVP")
    assert spec == ReferenceSpec("pbe0_energy", "atomization_energy", "energy", "kcal/mol", "PBE0:def2-TZVP")
    stored = spec.array_spec()
    assert (stored.name, stored.level, stored.shape) == ("reference/pbe0_energy", "structure", ())
    assert (stored.dtype, stored.unit, stored.kind) == ("f8", "eV", "energy")
    assert stored.level_of_theory == "PBE0:def2-TZVP" and stored.optional


@pytest.mark.parametrize(
    "text, message",
    [
        ("energy", "expected name=field"),
        ("e=energy:energy:eV", "expected name=field"),
        ("e=energy:enthalpy:eV:x", "unknown kind 'enthalpy'; mlipq knows energy, "),
        ("e=energy:energy:furlong:x", "'furlong' is no unit of kind energy that mlipq knows; use one of eV, meV"),
        ("f=forces:forces:eV:x", "'eV' is no unit of kind forces that mlipq knows; use one of eV/Å"),
        ("a/b=energy:energy:eV:x", "may hold only"),
        ("e=:energy:eV:x", "is empty"),
    ],
)
def test_unusable_specifications(text, message):
    with pytest.raises(InputError, match=message):
        ReferenceSpec.parse(text)


def test_the_same_name_twice():
    spec = ReferenceSpec.parse("e=energy:energy:eV:x")
    with pytest.raises(InputError, match="given twice: e"):
        ReadOptions(references=(spec, spec))


def test_values_are_found_wherever_ase_puts_them_and_converted():
    atoms = Atoms("HF", [(0, 0, 0), (0, 0, 0.92)], info={"E_at": -100.0})
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.ones((2, 3)), dipole=[0, 0, 1.8])
    atoms.set_array("q", np.array([0.4, -0.4]))
    structure = read(
        atoms,
        "at=E_at:energy:kcal/mol:x", "e=energy:energy:Hartree:x", "f=forces:forces:Hartree/Bohr:x",
        "mu=dipole:dipole:Debye:x", "q=q:charges:e:x",
    )  # fmt: skip
    assert structure.reference["at"] == pytest.approx(-100 * KCAL_PER_MOL, rel=1e-6)
    assert structure.reference["e"] == pytest.approx(-27.211386, rel=1e-7)
    assert structure.reference["f"] == pytest.approx(np.full((2, 3), 51.422067), rel=1e-7)
    assert structure.reference["mu"] == pytest.approx([0, 0, 1.8 * 0.20819434], rel=1e-6)
    assert structure.reference["q"].tolist() == [0.4, -0.4]
    assert structure.info == {}


def test_stress_in_voigt_order_becomes_a_symmetric_matrix():
    atoms = Atoms("Si", cell=[5, 5, 5], pbc=True, info={"s": [1, 2, 3, 4, 5, 6], "v": np.arange(9.0)})
    reference = read(atoms, "s=s:stress:eV/Å³:x", "v=v:virial:eV:x").reference
    assert reference["s"].tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    assert reference["v"].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize(
    "kind, unit, value",
    [
        ("energy", "eV", "low"), ("energy", "eV", True), ("energy", "eV", [1.0, 2.0]), ("energy", "eV", np.inf),
        ("forces", "eV/Å", np.ones((3, 2))), ("forces", "eV/Å", np.ones(6)),
        ("forces", "eV/Å", [[np.nan, 0, 0], [0, 0, 0]]), ("dipole", "Debye", [1, 2]), ("charges", "e", [1, 2, 3]),
    ],
)  # fmt: skip
def test_values_of_another_shape_or_type_reject_the_structure(kind, unit, value):
    rejected = read(Atoms("H2", [(0, 0, 0), (0, 0, 0.74)], info={"field": value}), f"r=field:{kind}:{unit}:x")
    assert rejected.error == "reference_bad" and "'field'" in rejected.message


@pytest.mark.parametrize("info", [{}, {"field": np.nan}, {"field": None}])
def test_a_missing_label_is_left_out(info):
    structure = read(Atoms("He", info=info), "r=field:energy:eV:x")
    assert structure.reference == {} and structure.info == {}
