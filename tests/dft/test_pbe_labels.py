"""PBE labels against PySCF run and read in another way, finite differences, and the symmetries of what they claim to be."""

import numpy as np
import pytest
from pyscf import dft, gto
from scipy.spatial.transform import Rotation

from mlipq import units
from mlipq.dft import Pbe
from mlipq.dft.child import REFERENCE_MOLECULE, greet
from mlipq.schema import PBE_ARRAYS, Flag
from mlipq.structures import Structure

COARSE = Pbe(forces=False, grid=1)
NAMES = ["water", "methyl", "ammonium", "silver hydride"]


def moved(structure: Structure, positions: np.ndarray) -> Structure:
    return Structure(structure.numbers, positions, structure.charge, structure.multiplicity)


def straight(structure: Structure, fitted: bool = True, field: tuple[float, float, float] | None = None):
    """PySCF as its manual shows it: in one go, on its own defaults but for basis and functional, coordinates in Å."""
    molecule = gto.M(
        atom=[(int(z), position) for z, position in zip(structure.numbers, structure.positions, strict=True)],
        basis="def2-svp",
        ecp={"Ag": "def2-svp"} if 47 in structure.numbers else {},
        charge=structure.charge,
        spin=structure.multiplicity - 1,
        verbose=0,
    )
    scf = dft.UKS(molecule, xc="pbe,pbe") if structure.multiplicity > 1 else dft.RKS(molecule, xc="pbe,pbe")
    if fitted:
        scf = scf.density_fit(auxbasis="def2-universal-jfit")
    if field is not None:
        core = scf.get_hcore() + np.einsum("x,xij->ij", field, molecule.intor("int1e_r"))
        scf.get_hcore = lambda *_: core
    scf.conv_tol = 1e-10
    scf.kernel()
    assert scf.converged
    return scf


@pytest.fixture(scope="module")
def straights(molecules):
    return {name: straight(structure) for name, structure in molecules.items()}


@pytest.mark.parametrize("name", NAMES)
def test_energy_is_that_of_a_plain_calculation(labels, straights, name):
    assert float(labels[name].arrays["pbe/energy"]) == pytest.approx(straights[name].e_tot * units.HARTREE, abs=1e-6)


def test_density_fitting_moves_the_energy_by_little(molecules, labels):
    exact = straight(molecules["water"], fitted=False)
    assert float(labels["water"].arrays["pbe/energy"]) == pytest.approx(exact.e_tot * units.HARTREE, abs=5e-3)
    charges = exact.mulliken_pop(verbose=0)[1]
    assert np.abs(labels["water"].arrays["pbe/atomic_charges"] - charges).max() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_charges_are_those_of_pyscfs_own_analysis(labels, straights, name):
    _, charges = straights[name].mulliken_pop(verbose=0)
    assert np.abs(labels[name].arrays["pbe/atomic_charges"] - charges).max() < 1e-4


# Electrons of the neutral atom in s, p and d: Ag's potential leaves 4s2 4p6 and, as GFN1 counts, 4d9 5s2.
FREE = {"H": (1, 0, 0), "C": (4, 2, 0), "N": (4, 3, 0), "O": (4, 4, 0), "Ag": (4, 6, 9)}


@pytest.mark.parametrize("name", NAMES)
def test_orbital_charges_are_the_free_atom_minus_the_populations_that_pyscf_names(molecules, labels, straights, name):
    scf = straights[name]
    populations, _ = scf.mulliken_pop(verbose=0)
    spins = populations if np.ndim(populations) == 2 else [populations]
    expected = np.zeros((len(molecules[name]), 3))
    for atom in range(len(expected)):
        expected[atom] = FREE[scf.mol.atom_pure_symbol(atom)]
    for orbital, (atom, _, shell, _) in enumerate(scf.mol.ao_labels(fmt=None)):
        expected[atom, "spdf".index(shell[-1]) if shell[-1] != "f" else 2] -= sum(spin[orbital] for spin in spins)
    assert np.abs(labels[name].arrays["pbe/orbital_charges"] - expected).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_orbital_charges_add_up_to_atomic_and_total_charge(molecules, labels, name):
    arrays = labels[name].arrays
    orbital = arrays["pbe/orbital_charges"]
    assert np.abs(orbital.sum(axis=1) - arrays["pbe/atomic_charges"]).max() < 1e-12
    assert abs(orbital.sum() - molecules[name].charge) < 1e-6
    assert labels[name].quality == Flag(0)


def test_arrays_are_those_of_the_schema(molecules, labels):
    for name, label in labels.items():
        assert set(label.arrays) == {spec.name for spec in PBE_ARRAYS} == {spec.name for spec in Pbe().arrays}
        for spec in PBE_ARRAYS:
            rows = (len(molecules[name]),) if spec.level == "atom" else ()
            assert label.arrays[spec.name].shape == (*rows, *spec.shape)


def test_without_forces_all_else_is_the_same(molecules, labels):
    without = Pbe(forces=False)
    arrays = without.label(molecules["water"]).arrays
    assert set(arrays) == {spec.name for spec in without.arrays} == set(labels["water"].arrays) - {"pbe/forces"}
    assert all(np.array_equal(values, labels["water"].arrays[name]) for name, values in arrays.items())


@pytest.mark.parametrize("name", ["water", "methyl", "silver hydride"])
def test_forces_are_minus_the_slope_of_the_energy(molecules, name):
    structure, step = molecules[name], 1e-3
    direction = np.random.default_rng(7).normal(size=structure.positions.shape)
    energies = [
        float(COARSE.label(moved(structure, structure.positions + s * step * direction)).arrays["pbe/energy"])
        for s in (1, -1)
    ]
    slope = (energies[0] - energies[1]) / (2 * step)
    forces = Pbe(grid=1).label(structure).arrays["pbe/forces"]
    assert float((forces * direction).sum()) == pytest.approx(-slope, abs=1e-3)
    assert np.abs(forces.sum(axis=0)).max() < 1e-5


def test_dipole_is_minus_the_slope_of_the_energy_in_a_field(molecules, labels):
    """An independent road to the dipole: electrons in a uniform field, and the nuclei by hand."""
    structure, strength = molecules["water"], 1e-3
    slope = [straight(structure, field=(0, 0, sign * strength)).e_tot for sign in (1, -1)]
    electrons = -(slope[0] - slope[1]) / (2 * strength)
    nuclei = (structure.numbers * structure.positions[:, 2]).sum() / units.BOHR
    assert labels["water"].arrays["pbe/dipole"][2] / units.BOHR == pytest.approx(electrons + nuclei, abs=1e-4)


def test_the_dipole_of_an_ion_is_about_its_nuclear_charge(molecules, labels):
    assert np.abs(labels["ammonium"].arrays["pbe/dipole"]).max() < 1e-4
    far = moved(molecules["ammonium"], molecules["ammonium"].positions + np.array([3.0, -7.0, 11.0]))
    assert np.abs(COARSE.label(far).arrays["pbe/dipole"]).max() < 1e-3


def test_the_gap_is_between_levels_of_either_spin(labels, straights):
    alpha, beta = straights["methyl"].mo_energy
    expected = (min(alpha[5], beta[4]) - max(alpha[4], beta[3])) * units.HARTREE
    assert float(labels["methyl"].arrays["pbe/homo_lumo_gap"]) == pytest.approx(expected, abs=1e-4)


def test_labels_turn_with_the_molecule(molecules, labels):
    """As far as the grid allows, which does not turn."""
    turn = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    structure, arrays = molecules["water"], labels["water"].arrays
    turned = Pbe().label(moved(structure, structure.positions @ turn.T)).arrays
    assert abs(turned["pbe/energy"] - arrays["pbe/energy"]) < 2e-3
    assert np.abs(turned["pbe/forces"] - arrays["pbe/forces"] @ turn.T).max() < 1e-2
    assert np.abs(turned["pbe/dipole"] - arrays["pbe/dipole"] @ turn.T).max() < 1e-3
    assert np.abs(turned["pbe/orbital_charges"] - arrays["pbe/orbital_charges"]).max() < 1e-3


def test_a_label_is_the_same_to_the_last_bit_whatever_ran_before(molecules, labels):
    again = Pbe().label(molecules["water"]).arrays
    assert all(np.array_equal(values, again[name]) for name, values in labels["water"].arrays.items())


def test_a_state_that_mixes_spins_is_flagged():
    """Three hydrogen atoms in a row, far apart: up, down, up, half doublet and half quartet."""
    chain = Structure(np.ones(3, "u1"), np.array([[0, 0, 0], [0, 0, 2.2], [0, 0, 4.4]]), 0, 2)
    assert Flag.F_SPIN_CONTAMINATION in COARSE.label(chain).quality


def test_the_reference_molecule_comes_out_right():
    assert greet(Pbe())["right"]
    assert len(REFERENCE_MOLECULE) == 3
