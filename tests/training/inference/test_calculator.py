"""The ASE calculator against the potential itself, finite differences, and the conservation of energy."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet
from building import BACKBONES, batch_of, potential_of
from trained import model_of

from mlipq.errors import InputError
from mlipq.training import MLIPQCalculator

HEADS = ("energy", "orbital_charges", "atomic_charges", "dipole")


def atoms_of(structure) -> Atoms:
    info = {"charge": structure.charge, "spin_multiplicity": structure.multiplicity}
    return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc, info=info)


def calculator_of(tmp_path, **config) -> MLIPQCalculator:
    return MLIPQCalculator(model_of(potential_of(**config), tmp_path / "run"))


def test_its_results_are_those_of_the_potential(samples, tmp_path):
    calc = calculator_of(tmp_path, heads=HEADS, conserve_charge=True)
    potential = calc.predictor.potential
    for structure in [*samples("gscdb138")[:5], samples("crystals")[0]]:
        atoms = atoms_of(structure)
        atoms.calc = calc
        out = potential(batch_of(structure).differentiable(), ["energy"])
        assert atoms.get_potential_energy() == pytest.approx(out["energy"].item(), rel=1e-12)
        assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
        np.testing.assert_allclose(atoms.get_forces(), out["forces"].detach(), atol=1e-11)
        np.testing.assert_allclose(atoms.get_charges(), out["atomic_charges"].detach(), atol=1e-11)
        assert atoms.get_charges().sum() == pytest.approx(structure.charge, abs=1e-10)
        np.testing.assert_allclose(atoms.get_dipole_moment(), out["dipole"].detach()[0], atol=1e-11)
        np.testing.assert_allclose(calc.results["orbital_charges"], out["orbital_charges"].detach(), atol=1e-11)
        if structure.is_periodic:
            expected = out["strain_gradient"].detach().numpy()[0] / atoms.get_volume()
            np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, atol=1e-11)
        else:
            with pytest.raises(PropertyNotImplementedError):
                atoms.get_stress()


def test_without_atomic_charges_those_of_the_shells_are_added_up(samples, tmp_path):
    atoms = atoms_of(samples("qm7")[3])
    atoms.calc = calculator_of(tmp_path, heads=("energy", "orbital_charges"))
    np.testing.assert_allclose(atoms.get_charges(), atoms.calc.results["orbital_charges"].sum(axis=1))


@pytest.mark.parametrize("name", BACKBONES)
def test_forces_and_stress_are_slopes_of_the_energy(samples, tmp_path, name):
    calc = calculator_of(tmp_path, backbone=name, channels=8, layers=1)
    small, crystal = (atoms_of(min(samples(file), key=len)) for file in ("qm7", "crystals"))
    for atoms in (small, crystal):
        atoms.rattle(0.05, seed=3)
        atoms.calc = calc
    np.testing.assert_allclose(calculate_numerical_forces(small, eps=1e-4), small.get_forces(), atol=1e-6)
    assert np.abs(crystal.get_stress()).max() > 1e-3
    np.testing.assert_allclose(calculate_numerical_stress(crystal, eps=1e-5), crystal.get_stress(), atol=1e-7)


def fluctuation(atoms, calc, step: float) -> float:
    """How far the total energy goes from where it was, in eV, in 30 fs."""
    atoms = atoms.copy()
    atoms.calc = calc
    spread = np.sqrt(300 * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(2).normal(size=(len(atoms), 3)))
    start = atoms.get_total_energy()
    dynamics = VelocityVerlet(atoms, timestep=step * units.fs)
    found = []
    dynamics.attach(lambda: found.append(atoms.get_total_energy() - start))
    dynamics.run(round(30 / step))
    return float(np.abs(found).max())


def test_molecular_dynamics_conserves_energy(samples, tmp_path):
    calc = calculator_of(tmp_path, channels=8, layers=2)
    atoms = atoms_of(samples("qm7")[0])
    coarse, fine = (fluctuation(atoms, calc, step) for step in (0.5, 0.25))
    assert coarse < 0.02
    assert coarse / fine == pytest.approx(4, rel=0.35)  # the order of the Verlet algorithm: forces are exact slopes


def test_a_new_charge_or_spin_is_a_new_calculation(tmp_path):
    atoms = molecule("NH3")
    atoms.calc = calculator_of(tmp_path)
    atoms.info |= {"charge": 0, "spin_multiplicity": 1}
    neutral = atoms.get_potential_energy()
    atoms.info |= {"charge": 1, "spin_multiplicity": 2}
    assert abs(atoms.get_potential_energy() - neutral) > 1e-6
    atoms.info |= {"charge": 0, "spin_multiplicity": 3}
    assert abs(atoms.get_potential_energy() - neutral) > 1e-6
    atoms.info |= {"spin_multiplicity": 1}
    assert atoms.get_potential_energy() == neutral


def test_charge_and_spin_are_stated_or_warned_of_once(tmp_path):
    model = model_of(potential_of(), tmp_path / "run")
    atoms, ion = molecule("CH4"), molecule("CH4")
    atoms.calc = MLIPQCalculator(model)
    with pytest.warns(
        UserWarning, match="CH4 does not state its charge and spin: taken as charge 0 e and multiplicity 1"
    ):
        unsaid = atoms.get_potential_energy()
    ion.calc = MLIPQCalculator(model, charge=1, multiplicity=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.rattle(0.01)
        atoms.get_potential_energy()
        by_setting = ion.get_potential_energy()
        ion.info |= {"charge": 0, "spin_multiplicity": 1}  # what the structure says comes first
        assert ion.get_potential_energy() == unsaid != by_setting


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda atoms: atoms.info.update(spin_multiplicity=2), r"H3N: .*multiplicity"),
        (lambda atoms: atoms.info.update(charge=0.5), r"H3N: charge=0\.5 is not an integer"),
        (lambda atoms: atoms.positions.__setitem__((1, 1), np.nan), r"H3N.*atom 1 .* no finite number"),
        (lambda atoms: atoms.symbols.__setitem__(0, "P"), "element P was not in training"),
        (lambda atoms: atoms.positions.__setitem__(1, atoms.positions[2]), "at the same place"),
    ],
)
def test_structures_that_cannot_be_predicted(tmp_path, change, said):
    atoms = molecule("NH3")
    atoms.info |= {"charge": 0, "spin_multiplicity": 1}
    atoms.calc = calculator_of(tmp_path, elements=(1, 7))
    change(atoms)
    with pytest.raises(InputError, match=said):
        atoms.get_forces()


def test_a_model_without_an_energy_is_no_calculator(tmp_path):
    model = model_of(potential_of(torch.float32, heads=("orbital_charges",)), tmp_path / "run")
    with pytest.raises(InputError, match="predicts orbital_charges, but no energy"):
        MLIPQCalculator(model)
