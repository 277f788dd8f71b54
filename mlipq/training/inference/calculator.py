"""A trained model as an ASE calculator."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from mlipq.errors import InputError
from mlipq.schema import Flag
from mlipq.structures import ReadOptions, Rejected, Structure, from_atoms
from mlipq.training.inference.predictor import Predictor
from mlipq.training.saved.model import SavedModel


class MLIPQCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces and stress of a trained model, and the charges and dipole that it kept.

    Total charge and spin multiplicity come from ``atoms.info`` (``charge``, ``spin_multiplicity`` and the other usual keys),
    ``initial_charges`` and ``initial_magmoms``, as everywhere in mlipq; from ``charge`` and ``multiplicity`` where the structure
    states none; else it is neutral, in its lowest multiplicity, with a warning.

    Parameters
    ----------
    model
        Folder of a run, ``.mlipq`` file, or what :func:`~mlipq.training.saved.model.load_model` gave.
    device
        ``cpu``, ``cuda`` …
    dtype
        Precision to compute in; that of the weights by default. In float64 an optimiser or a finite difference sees no noise.
    charge, multiplicity
        Of structures that state none.

    Raises
    ------
    InputError
        If there is no such model, or it predicts no energy; and in a calculation, if the structure cannot be predicted.
    PropertyNotImplementedError
        In a calculation, if a stress is asked for of what is not periodic along all three cell vectors.

    Notes
    -----
    ``results`` are in eV, Å and e: energy in eV, forces in eV/Å, stress in eV/Å³ (six numbers, in ASE's order and sign), charges in e,
    dipole in e·Å about the centre of nuclear charge.

    Examples
    --------
    >>> atoms.calc = MLIPQCalculator("qm7.mlipq")  # doctest: +SKIP
    >>> atoms.get_potential_energy(), atoms.get_forces()  # eV, eV/Å  # doctest: +SKIP
    >>> atoms.calc.results["orbital_charges"]  # (atoms, 3): s, p, d, where the model kept them  # doctest: +SKIP
    """

    def __init__(
        self,
        model: SavedModel | str | Path,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        charge: int | None = None,
        multiplicity: int | None = None,
    ) -> None:
        super().__init__()
        self.predictor = Predictor(model, device, dtype)
        outputs = self.predictor.outputs
        if "energy" not in outputs:
            raise InputError(
                f"{self.predictor.model.where} predicts {', '.join(outputs)}, but no energy: it cannot be a calculator"
            )
        if int(charge or 0) != (charge or 0):
            raise InputError(f"charge={charge}: a whole number of e was expected")
        self._options = ReadOptions(
            charge_default=0 if charge is None else charge,
            spin_default="lowest" if multiplicity is None else multiplicity,
        )
        self._warned = charge is not None and multiplicity is not None
        self._calculated: tuple[int, int] | None = None
        forces = self.predictor.potential.config.energies.values()
        self._kept = [name for name in outputs if name not in {"energy", "stress", *forces}]
        charges = ["charges"] if {"atomic_charges", "orbital_charges"} & set(outputs) else []
        self.implemented_properties = ["energy", "free_energy", "forces", "stress", *charges, *self._kept]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results`` with all that the model predicts; ASE calls this where they do not belong to the structure."""
        super().calculate(atoms, properties, system_changes)
        stress = ["stress"] if self.atoms.pbc.all() else []
        if "stress" in properties and not stress:
            raise PropertyNotImplementedError(
                f"there is a stress where all three cell vectors are periodic; pbc of {self.atoms.get_chemical_formula()} is "
                f"{self.atoms.pbc.tolist()}"
            )
        structure = self._structure(self.atoms)
        self._warn(structure)
        self._calculated = _electronic(structure)
        found = self.predictor.predict([structure], ["energy", "forces", *stress, *self._kept])
        of_atoms = self.predictor.outputs
        results: dict[str, Any] = {n: v if of_atoms[n] == "atom" else v[0] for n, v in found.items()}
        results["energy"] = results["free_energy"] = float(results["energy"])
        if stress:
            results["stress"] = full_3x3_to_voigt_6_stress(results["stress"])
        if "atomic_charges" in results:
            results["charges"] = results["atomic_charges"]
        elif "orbital_charges" in results:
            results["charges"] = results["orbital_charges"].sum(axis=1)
        self.results = results

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation; ASE itself does not look at the charge and spin in ``info``."""
        changes: list[str] = super().check_state(atoms, tol)
        if not changes and _electronic(self._structure(atoms)) != self._calculated:
            changes.append("initial_charges")
        return changes

    def _structure(self, atoms: Atoms) -> Structure:
        """Return the structure as it is: not rounded as a stored one is, which small displacements would notice."""
        formula = atoms.get_chemical_formula()
        checked = from_atoms(atoms.copy(), self._options)  # without what this calculator found before
        if isinstance(checked, Rejected):
            raise InputError(f"{formula or 'no atoms'}: {checked.message}")
        cell = None if checked.cell is None else atoms.cell.array
        return replace(checked, positions=atoms.positions, cell=cell, name=formula)

    def _warn(self, structure: Structure) -> None:
        """Say once that charge and spin were not stated."""
        if self._warned or not structure.quality & (Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT):
            return
        self._warned = True
        warnings.warn(
            f"{structure.name} does not state its charge and spin: taken as charge {structure.charge} e and multiplicity "
            f"{structure.multiplicity}. State them in atoms.info['charge'] and atoms.info['spin_multiplicity'], or give the "
            "calculator charge= and multiplicity=",
            UserWarning,
            stacklevel=2,
        )


def _electronic(structure: Structure) -> tuple[int, int]:
    return structure.charge, structure.multiplicity
