"""Where charge and spin come from, and every way in which they can be wrong."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from hypothesis import given
from hypothesis import strategies as st

from mlipq.errors import InputError
from mlipq.schema import Flag
from mlipq.structures import ReadOptions, Rejected, Structure, from_atoms
from mlipq.xtb import blas


def water(**info) -> Atoms:
    return Atoms("OH2", [(0, 0, 0), (0, 0.76, -0.59), (0, -0.76, -0.59)], info=info)


def read(atoms: Atoms, **options) -> Structure | Rejected:
    return from_atoms(atoms, ReadOptions(**options))


def stated(structure) -> tuple[int, int]:
    assert isinstance(structure, Structure), structure
    return structure.charge, structure.multiplicity


@pytest.mark.parametrize("key", ["charge", "Charge", "total_charge", "TOTAL_CHARGE", "molecular_charge"])
@pytest.mark.parametrize("value", [1, 1.0, "1", "+1", np.int64(1), np.float32(1), np.array([1]), 1.0000004])
def test_charge_keys_and_types(key, value):
    structure = read(water(**{key: value}))
    assert stated(structure) == (1, 2)
    assert structure.quality == Flag.F_SPIN_DEFAULT
    assert structure.info == {}


@pytest.mark.parametrize(
    "key, value, multiplicity",
    [
        ("spin_multiplicity", 3, 3), ("Multiplicity", 3, 3), ("molecular_multiplicity", "3", 3), ("spin", 3, 3),
        ("mult", 3, 3), ("MULT", "1", 1),
        ("uhf", 2, 3), ("UHF", 0, 1), ("total_spin", 0, 1), ("spin_multiplicity", 1.0, 1),
    ],
)  # fmt: skip
def test_spin_keys(key, value, multiplicity):
    structure = read(water(**{key: value}))
    assert stated(structure) == (0, multiplicity)
    assert structure.quality == Flag.F_CHARGE_DEFAULT
    assert structure.info == {}


def test_half_integer_total_spin_is_s():
    assert stated(read(water(charge=1, total_spin=0.5))) == (1, 2)


def test_integer_total_spin_alone_is_ambiguous():
    rejected = read(water(total_spin=1))
    assert rejected.error == "ambiguous_spin"
    assert "--spin-key total_spin:S" in rejected.message and "total_spin:2S+1" in rejected.message


@pytest.mark.parametrize("total_spin, multiplicity", [(1, 1), (1, 3), (3, 3)])
def test_another_key_decides_what_total_spin_means(total_spin, multiplicity):
    assert stated(read(water(total_spin=total_spin, multiplicity=multiplicity))) == (0, multiplicity)


@pytest.mark.parametrize("spin_key, multiplicity", [("total_spin:S", 3), ("total_spin:2S+1", 1)])
def test_the_user_decides_what_total_spin_means(spin_key, multiplicity):
    assert stated(read(water(total_spin=1), spin_key=spin_key)) == (0, multiplicity)


def test_nothing_stated_uses_and_flags_the_defaults():
    structure = read(water())
    assert stated(structure) == (0, 1)
    assert structure.quality == Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT
    assert stated(read(Atoms("OH"))) == (0, 2)
    assert stated(read(water(), charge_default=-1, spin_default=4)) == (-1, 4)


def test_no_default_rejects():
    rejected = read(water(), charge_default=None)
    assert rejected.error == "charge_missing" and "total_charge" in rejected.message


def test_none_is_no_statement():
    structure = read(water(charge=None, spin=None))
    assert structure.quality == Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT


def test_initial_charges_are_summed():
    atoms = water()
    atoms.set_initial_charges([0.3334, 0.3333, 0.3333])
    structure = read(atoms)
    assert stated(structure) == (1, 2)
    assert not structure.quality & Flag.F_CHARGE_DEFAULT and structure.info == {}


def test_zwitterion_states_neutral_and_zeros_state_nothing():
    atoms = water()
    atoms.set_initial_charges([-1, 1, 0])
    assert read(atoms).quality == Flag.F_SPIN_DEFAULT
    atoms.set_initial_charges([0, 0, 0])
    assert read(atoms).quality == Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT


@pytest.mark.parametrize("magmoms, multiplicity", [([2, 0, 0], 3), ([-2, 0, 0], 3), ([1, 1, 0], 3)])
def test_initial_magmoms_count_unpaired_electrons(magmoms, multiplicity):
    atoms = water()
    atoms.set_initial_magnetic_moments(magmoms)
    assert stated(read(atoms)) == (0, multiplicity)


def test_antiferromagnetic_magmoms_state_nothing():
    atoms = water()
    atoms.set_initial_magnetic_moments([0, 1, -1])
    assert read(atoms).quality & Flag.F_SPIN_DEFAULT


@pytest.mark.parametrize(
    "info, error, words",
    [
        ({"charge": 0, "total_charge": 1}, "charge_disagrees", ["charge=0", "total_charge=1", "--charge-key"]),
        ({"charge": 0, "Charge": 1}, "charge_disagrees", ["Charge=1"]),
        ({"multiplicity": 1, "uhf": 2}, "spin_disagrees", ["multiplicity=1", "uhf=2", "multiplicity 3", "--spin-key"]),
        ({"multiplicity": 5, "total_spin": 1}, "spin_disagrees", ["total_spin=1"]),
        ({"charge": 0.5}, "fractional_charge", ["charge=0.5"]),
        ({"charge": 1.00001}, "fractional_charge", []),
        ({"charge": "1+"}, "bad_charge", ["'1+'"]),
        ({"charge": True}, "bad_charge", []),
        ({"charge": float("nan")}, "bad_charge", []),
        ({"charge": np.array([1, 2])}, "bad_charge", []),
        ({"charge": 11}, "bad_charge", ["+11", "10 e", "correct the charge"]),
        ({"charge": -11}, "bad_charge", ["-11"]),
        ({"charge": -3_000_000_000}, "bad_charge", ["-3000000000"]),
        ({"charge": 1e300}, "bad_charge", []),
        ({"spin": 0}, "impossible_spin", ["spin=0", "--spin-key spin:2S"]),
        ({"multiplicity": 2}, "impossible_spin", ["10 electrons"]),
        ({"multiplicity": 13}, "impossible_spin", ["12 unpaired"]),
        ({"multiplicity": 1.5}, "impossible_spin", []),
        ({"uhf": -1}, "impossible_spin", []),
        ({"total_spin": 0.25}, "impossible_spin", []),
        ({"spin": "singlet"}, "impossible_spin", ["'singlet'"]),
    ],
)
def test_rejections_say_what_and_why(info, error, words):
    rejected = read(water(**info))
    assert isinstance(rejected, Rejected) and rejected.error == error
    assert all(word in rejected.message for word in words), rejected.message


def test_sum_of_charges_that_disagrees_or_is_fractional():
    atoms = water(charge=0)
    atoms.set_initial_charges([1, 0, 0])
    assert read(atoms).error == "charge_disagrees"
    atoms = water()
    atoms.set_initial_charges([0.4, 0, 0])
    assert read(atoms).error == "fractional_charge"
    atoms.set_initial_charges([np.nan, 0, 0])
    assert read(atoms).error == "bad_charge"


def test_noncollinear_magmoms_are_rejected():
    atoms = water()
    atoms.set_initial_magnetic_moments([[0, 0, 1.0]] * 3)
    assert read(atoms).error == "impossible_spin"


def test_bare_proton_and_hydrogen_with_charge_two():
    assert stated(read(Atoms("H", info={"charge": 1}))) == (1, 1)
    assert stated(read(Atoms("H", info={"charge": -1}))) == (-1, 1)
    assert read(Atoms("H", info={"charge": 2})).error == "bad_charge"


def test_an_explicit_key_is_the_only_one_used():
    atoms = water(q=1, charge=0, m=2, spin=7)
    structure = read(atoms, charge_key="q", spin_key="m")
    assert stated(structure) == (1, 2)
    assert structure.quality == 0
    assert structure.info == {"charge": 0, "spin": 7}


def test_an_explicit_key_that_is_missing_falls_to_the_default():
    structure = read(water(other=1), charge_key="q", spin_key="s:2S")
    assert stated(structure) == (0, 1)
    assert structure.quality == Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT
    rejected = read(water(), charge_key="q", charge_default=None)
    assert rejected.error == "charge_missing" and "looked for q" in rejected.message


@pytest.mark.parametrize("default", [0, None])
@pytest.mark.parametrize("field", [{"charge": -2}, {"Total_Charge": 0}, {"charge": "1+"}])
def test_a_mistyped_charge_key_never_takes_the_default(field, default):
    rejected = read(water(**field), charge_key="chrage", charge_default=default)
    ((key, value),) = field.items()
    assert rejected.error == "charge_missing"
    assert "'chrage'" in rejected.message and f"{key}={value} stands there" in rejected.message


@pytest.mark.parametrize("field", [{"spin": 3}, {"UHF": 0}, {"mult": "triplet"}, {"total_spin": 1}])
@pytest.mark.parametrize("spin_key", ["spni", "spni:2S"])
def test_a_mistyped_spin_key_never_takes_the_default(field, spin_key):
    rejected = read(water(**field), spin_key=spin_key)
    ((key, value),) = field.items()
    assert rejected.error == "spin_missing"
    assert "'spni'" in rejected.message and f"{key}={value} stands there" in rejected.message


def test_a_mistyped_key_beside_fields_of_the_atoms():
    atoms = water()
    atoms.set_initial_charges([0, 0, 0])
    atoms.set_initial_magnetic_moments([0, 1, -1])
    assert stated(read(atoms, charge_key="q", spin_key="s")) == (0, 1)  # neither states anything
    atoms.set_initial_charges([-1, 0, 0])
    rejected = read(atoms, charge_key="q")
    assert rejected.error == "charge_missing" and "initial_charges" in rejected.message
    for magmoms in ([2, 0, 0], [[0, 0, 1.0]] * 3, [np.nan, 0, 0]):
        atoms = water()
        atoms.set_initial_magnetic_moments(magmoms)
        rejected = read(atoms, spin_key="s")
        assert rejected.error == "spin_missing" and "initial_magmoms" in rejected.message


def test_explicit_keys_may_name_arrays():
    atoms = water(charge=5)
    atoms.set_array("q", np.array([1.0, 0, 0]))
    assert stated(read(atoms, charge_key="q")) == (1, 2)
    atoms.set_initial_magnetic_moments([2, 0, 0])
    atoms.info = {"spin": 1}
    assert stated(read(atoms, spin_key="initial_magmoms")) == (0, 3)


@pytest.mark.parametrize(
    "spin_key, value, multiplicity", [("spin:2S", 0, 1), ("spin:2S", 2, 3), ("s:S", 1, 3), ("uhf", 2, 3)]
)
def test_spin_key_with_unit(spin_key, value, multiplicity):
    assert stated(read(water(**{spin_key.split(":")[0]: value}), spin_key=spin_key)) == (0, multiplicity)


def test_unknown_unit_of_the_spin_key():
    with pytest.raises(InputError, match="2S\\+1, 2S, S"):
        ReadOptions(spin_key="spin:hbar")


def test_the_parameters_of_a_calculator_count():
    atoms = water()
    atoms.calc = Calculator(charge=1, multiplicity=2)
    assert stated(read(atoms)) == (1, 2)


def test_parameters_that_are_none_state_nothing():
    blas.preload()  # before tblite is loaded, which other tests in this process need
    from tblite.ase import TBLite

    atoms = water()
    atoms.calc = TBLite(method="GFN1-xTB", verbosity=0)
    assert atoms.calc.parameters["charge"] is None
    assert read(atoms).quality == Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT
    atoms.calc = Calculator(charge=1, mult=2, multiplicity=None)
    assert stated(read(atoms)) == (1, 2)


@given(
    st.integers(-3, 3),
    st.integers(1, 6),
    st.sets(st.sampled_from(["charge", "total_charge", "molecular_charge"]), min_size=1),
    st.sets(
        st.sampled_from(["spin_multiplicity", "multiplicity", "molecular_multiplicity", "spin", "uhf"]), min_size=1
    ),
)
def test_any_agreeing_combination_gives_what_it_says_or_nothing(charge, multiplicity, charge_keys, spin_keys):
    info = dict.fromkeys(charge_keys, charge) | {key: multiplicity - (key == "uhf") for key in spin_keys}
    result = read(water(**info))
    electrons = 10 - charge
    if (electrons - (multiplicity - 1)) % 2:
        assert result.error == "impossible_spin"
    else:
        assert stated(result) == (charge, multiplicity) and result.quality == 0
