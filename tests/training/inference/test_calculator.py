"""The ASE calculator against the potential itself, finite differences, and the conservation of energy."""

import pickle
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from ase.vibrations import Vibrations
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
            with pytest.raises(
                PropertyNotImplementedError, match=r"all three cell vectors are periodic; pbc .* \[False"
            ):
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
    potential = potential_of(channels=8, layers=2)
    potential.heads["energy"].scale.fill_(0.2)  # vibrations by chance, but not faster than those of molecules
    calc = MLIPQCalculator(model_of(potential, tmp_path / "run"))
    atoms = atoms_of(samples("qm7")[0])
    coarse, fine = (fluctuation(atoms, calc, step) for step in (0.5, 0.25))
    assert coarse < 0.001
    assert coarse / fine == pytest.approx(4, rel=0.05)  # the order of the Verlet algorithm: forces are exact slopes


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
        (lambda atoms: atoms.positions.__setitem__((1, 1), np.nan), r"H3N: position 1 .* finite numbers"),
        (lambda atoms: atoms.symbols.__setitem__(0, "P"), "element P was not in training"),
        (lambda atoms: atoms.positions.__setitem__(1, atoms.positions[2]), "at the same place"),
        (lambda atoms: atoms.set_pbc(True), "H3N: periodic along .* span no such cell"),
        (lambda atoms: (atoms.set_pbc(True), atoms.set_cell([4, 4, np.nan])), "H3N: cell vector 2 .* finite numbers"),
        (lambda atoms: atoms.symbols.__setitem__(0, "X"), "H3X: atom 0 .* has Z = 0"),
        (lambda atoms: atoms.__delitem__(slice(None)), "no atoms"),
    ],
)
def test_structures_that_cannot_be_predicted(tmp_path, change, said):
    atoms = molecule("NH3")
    atoms.info |= {"charge": 0, "spin_multiplicity": 1}
    atoms.calc = calculator_of(tmp_path, elements=(1, 7))
    change(atoms)
    with pytest.raises(InputError, match=said):
        atoms.get_forces()


@pytest.mark.parametrize(
    "settings, said", [({"charge": 0.5}, "charge=0.5: a whole number"), ({"multiplicity": 0}, "below 1")]
)
def test_settings_that_cannot_be(tmp_path, settings, said):
    atoms = molecule("NH3")
    with pytest.raises(InputError, match=said):
        atoms.calc = MLIPQCalculator(model_of(potential_of(), tmp_path / "run"), **settings)
        atoms.get_potential_energy()


def neutral(name) -> Atoms:
    return molecule(name, info={"charge": 0, "spin_multiplicity": 1})


@pytest.mark.parametrize("copy", [deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))])
def test_copies_are_calculators_of_their_own(tmp_path, copy):
    atoms, other = neutral("NH3"), neutral("CH4")
    atoms.calc = calculator_of(tmp_path, heads=HEADS, channels=8)
    forces = atoms.get_forces()
    other.calc = copy(atoms.calc)
    assert np.abs(other.get_forces()).max() > 0
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces", "dipole", "charges"])
    again = atoms.copy()
    again.calc = copy(atoms.calc)
    np.testing.assert_array_equal(again.get_forces(), forces)


def test_one_calculation_gives_all_and_only_a_change_starts_another(tmp_path):
    atoms = neutral("NH3")
    atoms.calc = calculator_of(tmp_path, heads=HEADS, channels=8)
    atoms.get_potential_energy()
    kept = ["energy", "free_energy", "forces", "charges", "dipole", "orbital_charges"]
    assert not atoms.calc.calculation_required(atoms, kept)
    atoms.get_forces()[:] = 0  # what ASE hands out is a copy
    assert np.abs(atoms.get_forces()).max() > 0
    atoms.info["smiles"] = "N"
    assert not atoms.calc.calculation_required(atoms, kept)
    alone = atoms.get_forces()
    for change in (
        lambda: atoms.positions.__setitem__((0, 0), atoms.positions[0, 0] + 1e-9),
        lambda: atoms.set_cell([3.0, 3.0, 3.0]),
        lambda: atoms.set_pbc([True, True, False]),
        lambda: atoms.set_initial_charges([1, 0, 0, -1]),
        lambda: atoms.info.update(spin_multiplicity=3),
    ):
        change()
        assert atoms.calc.calculation_required(atoms, ["energy"])
        atoms.get_forces()
    assert np.abs(atoms.get_forces() - alone).max() > 1e-6


def test_ase_optimises_finds_vibrations_and_paths(tmp_path):
    atoms = neutral("H2O")
    atoms.calc = calculator_of(tmp_path, channels=8)
    atoms.set_constraint(FixAtoms([0]))
    assert not atoms.get_forces()[0].any()
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=20)
    assert atoms.get_potential_energy() < before
    atoms.set_constraint()
    vibrations = Vibrations(atoms, name=str(tmp_path / "vibrations"))
    vibrations.run()
    energies = np.sort(np.abs(vibrations.get_energies()))
    assert energies[2] < 1e-2 * energies[-1]  # three are translations, whatever the potential
    images = [atoms.copy() for _ in range(4)]
    for image in images[1:]:
        image.rattle(0.05, seed=1)
    for image in images:
        image.calc = deepcopy(atoms.calc)
    band = NEB(images, method="improvedtangent")
    band.interpolate()
    before = np.abs(band.get_forces()).max()
    BFGS(band, logfile=None).run(fmax=1e-3, steps=20)
    assert np.abs(band.get_forces()).max() < before


def test_a_model_without_an_energy_is_no_calculator(tmp_path):
    model = model_of(potential_of(torch.float32, heads=("orbital_charges",)), tmp_path / "run")
    with pytest.raises(InputError, match="predicts orbital_charges, but no energy"):
        MLIPQCalculator(model)
