"""Labels have the symmetries and sums of the quantities that they claim to be."""

import json
from pathlib import Path

import numpy as np
import pytest

from mlipq import units
from mlipq.irreps import to_blocks, to_moments
from mlipq.methods.electrons import REFERENCE_OCCUPATION
from mlipq.schema import GFN1_ARRAYS, gfn1_shells
from mlipq.structures import Structure, rounded
from mlipq.xtb import Gfn1

STRICT = Gfn1(accuracy=0.01)
E3NN = json.loads((Path(__file__).parents[1] / "oracles" / "e3nn_values.json").read_text())


def moved(structure: Structure, positions: np.ndarray) -> Structure:
    return Structure(structure.numbers, positions, structure.charge, structure.multiplicity)


@pytest.fixture(scope="module")
def molecules(samples) -> list[Structure]:
    """Small ones with p and d shells: main group, transition metals, ions, radicals, a lanthanide."""
    chosen = [*samples("qm7")[:6], *samples("gscdb138")[::12], *samples("mopac_pm7")[::9]]
    return [structure for structure in chosen if 1 < len(structure) <= 30 and structure.name != "O24x5_he2_1.0"]


@pytest.fixture(scope="module")
def labels(molecules):
    return [STRICT.label(structure).arrays for structure in molecules]


def test_the_chosen_molecules_are_diverse(molecules):
    numbers = np.concatenate([structure.numbers for structure in molecules])
    assert len(molecules) >= 15
    assert {len(gfn1_shells(z)) for z in numbers.tolist()} == {1, 2, 3}
    assert any(structure.charge for structure in molecules)
    assert any(structure.multiplicity > 1 for structure in molecules)


def test_arrays_are_those_of_the_schema(molecules, labels):
    for structure, arrays in zip(molecules, labels, strict=True):
        for spec in GFN1_ARRAYS:
            rows = (len(structure),) if spec.level == "atom" else ()
            assert arrays[spec.name].shape == (*rows, *spec.shape)


def test_orbital_charges_add_up_to_atomic_and_total_charge(molecules, labels):
    for structure, arrays in zip(molecules, labels, strict=True):
        orbital = arrays["gfn1/orbital_charges"]
        assert np.abs(orbital.sum(axis=1) - arrays["gfn1/atomic_charges"]).max() < 1e-9  # tblite's own Mulliken charges
        assert abs(orbital.sum() - structure.charge) < 1e-6


def test_orbital_charges_are_zero_where_there_is_no_shell(molecules, labels):
    for structure, arrays in zip(molecules, labels, strict=True):
        for z, charges in zip(structure.numbers.tolist(), arrays["gfn1/orbital_charges"], strict=True):
            for shell, charge in zip("spd", charges, strict=True):
                assert shell in gfn1_shells(z) or charge == 0


def test_moments_hold_the_orbital_charges(molecules, labels):
    for structure, arrays in zip(molecules, labels, strict=True):
        moments = arrays["gfn1/orbital_moments"]
        populations = moments[:, :3] * np.sqrt([1, 3, 5])
        charges = REFERENCE_OCCUPATION[structure.numbers] - populations
        assert np.abs(charges - arrays["gfn1/orbital_charges"]).max() < 1e-12


def test_moments_and_blocks_are_inverse_and_keep_the_norm(labels):
    for arrays in labels:
        moments = arrays["gfn1/orbital_moments"]
        s, p, d = to_blocks(moments)
        assert np.abs(to_moments(s, p, d) - moments).max() < 1e-14
        norms = s**2 + (p**2).sum(axis=(1, 2)) + (d**2).sum(axis=(1, 2))
        assert np.allclose(norms, (moments**2).sum(axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rotation", E3NN["rotations"], ids=lambda rotation: f"R{E3NN['rotations'].index(rotation)}")
def test_labels_turn_with_the_molecule(molecules, labels, rotation):
    turn, wigner = np.array(rotation["R"]), np.array(rotation["D_moments"])
    for structure, arrays in zip(molecules, labels, strict=True):
        turned = STRICT.label(moved(structure, structure.positions @ turn.T)).arrays
        assert abs(turned["gfn1/energy"] - arrays["gfn1/energy"]) < 1e-6
        for name, expected in {
            "gfn1/forces": arrays["gfn1/forces"] @ turn.T,
            "gfn1/dipole": arrays["gfn1/dipole"] @ turn.T,
            "gfn1/orbital_charges": arrays["gfn1/orbital_charges"],
            "gfn1/orbital_moments": arrays["gfn1/orbital_moments"] @ wigner.T,
        }.items():
            assert np.abs(turned[name] - expected).max() < 1e-6, (structure.where, name)


def test_labels_do_not_depend_on_place(molecules, labels):
    for structure, arrays in zip(molecules[:8], labels, strict=False):
        shifted = STRICT.label(moved(structure, structure.positions + np.array([3.0, -7.0, 11.0]))).arrays
        for name in ("gfn1/energy", "gfn1/forces", "gfn1/dipole", "gfn1/orbital_moments"):
            assert np.abs(shifted[name] - arrays[name]).max() < 1e-6, name


def test_labels_follow_the_order_of_atoms(molecules, labels):
    for structure, arrays in zip(molecules[:8], labels, strict=False):
        order = np.random.default_rng(7).permutation(len(structure))
        shuffled = Structure(
            structure.numbers[order], structure.positions[order], structure.charge, structure.multiplicity
        )
        found = STRICT.label(shuffled).arrays
        for name in ("gfn1/forces", "gfn1/orbital_moments", "gfn1/atomic_charges"):
            assert np.abs(found[name] - arrays[name][order]).max() < 1e-6, name


def test_forces_are_minus_the_slope_of_the_energy(molecules, labels):
    step = 1e-3
    for structure, arrays in zip(molecules, labels, strict=True):
        atom, axis = len(structure) // 2, 1
        energies = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            energies.append(float(STRICT.label(moved(structure, positions)).arrays["gfn1/energy"]))
        slope = (energies[0] - energies[1]) / (2 * step)
        assert arrays["gfn1/forces"][atom, axis] == pytest.approx(-slope, abs=2e-4), structure.where


def test_dipole_is_minus_the_slope_of_the_energy_in_a_field(samples):
    """An independent road to the dipole: tblite's energy in a uniform electric field."""
    structure = next(s for s in samples("qm7") if len(s) > 10)
    dipole = STRICT.label(structure).arrays["gfn1/dipole"] / units.BOHR
    field = 1e-3
    slope = [
        (field_energy(structure, -field, axis) - field_energy(structure, field, axis)) / (2 * field)
        for axis in range(3)
    ]
    assert np.abs(np.array(slope) - dipole).max() < 1e-4


def field_energy(structure: Structure, strength: float, axis: int) -> float:
    """Energy in Hartree in a field of ``strength`` atomic units."""
    from tblite import library
    from tblite.interface import Calculator

    calculator = Calculator("GFN1-xTB", structure.numbers, structure.positions / units.BOHR, 0.0, 0)
    calculator.set("verbosity", 0)
    calculator.set("accuracy", 0.01)
    calculator.add("electric-field", library.ffi.new("double[3]", (strength * np.eye(3)[axis]).tolist()))
    return float(calculator.singlepoint().get("energy"))


def test_a_single_point_does_not_depend_on_what_ran_before(molecules):
    first = STRICT.label(molecules[0]).arrays
    STRICT.label(molecules[-1])
    again = STRICT.label(molecules[0]).arrays
    for name, values in first.items():
        assert np.array_equal(values, again[name], equal_nan=True), name


def test_positions_are_rounded_before_labeling():
    assert np.array_equal(rounded(np.array([1 / 3, -1e-9])), [0.33333333, 0.0])


def test_no_gap_where_no_level_is_empty():
    helium = Structure(np.array([2], dtype="u1"), np.zeros((1, 3)), 0, 1)
    assert np.isnan(Gfn1().label(helium).arrays["gfn1/homo_lumo_gap"])
