"""A trained model as an ASE calculator."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from mlipq.errors import InputError
from mlipq.structures import ReadOptions, Structure
from mlipq.structures.charge_spin import ChargeSpin, charge_and_spin
from mlipq.structures.options import RejectError
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
        self._options = ReadOptions(charge_default=charge or 0, spin_default=multiplicity or "lowest")
        self._warned = charge is not None and multiplicity is not None
        self._kept = [name for name in outputs if name not in ("energy", "stress") and not name.endswith("forces")]
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
        found = self.predictor.predict([self._structure(self.atoms)], ["energy", "forces", *stress, *self._kept])
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
        if not changes and self._electronic(atoms)[:2] != self._electronic(self.atoms)[:2]:
            changes.append("initial_charges")
        return changes

    def _structure(self, atoms: Atoms) -> Structure:
        """Return the structure as it is: not rounded as a stored one is, which small displacements would notice."""
        charge, multiplicity, quality, _ = self._electronic(atoms)
        if not self._warned and quality:
            self._warned = True
            warnings.warn(
                f"{atoms.get_chemical_formula()} does not state its charge and spin: taken as charge {charge} e and multiplicity "
                f"{multiplicity}. State them in atoms.info['charge'] and atoms.info['spin_multiplicity'], or give the calculator "
                "charge= and multiplicity=",
                UserWarning,
                stacklevel=2,
            )
        numbers = atoms.numbers.astype(np.uint8)
        periodic = {"cell": atoms.cell.array, "pbc": atoms.pbc} if atoms.pbc.any() else {}
        return Structure(numbers, atoms.positions, charge, multiplicity, name=atoms.get_chemical_formula(), **periodic)

    def _electronic(self, atoms: Atoms) -> ChargeSpin:
        try:
            return charge_and_spin(atoms.info, atoms.arrays, int(atoms.numbers.sum()), self._options)
        except RejectError as error:
            raise InputError(f"{atoms.get_chemical_formula()}: {error.message}") from None
