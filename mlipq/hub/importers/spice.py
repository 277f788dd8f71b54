"""SPICE: one HDF5 file, one group a molecule or cluster (Eastman et al., 2023).

The file has no charge; it is the sum of the formal charges in the SMILES, and where the file has MBIS charges, their sum
must agree. All are closed-shell. Conformations are in Bohr, forces the negative of ``dft_total_gradient``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.hub.importers.conformers import Molecule, array, first_text, molecules
from mlipq.hub.importers.importer import Image, Importer
from mlipq.structures.options import RejectError
from mlipq.structures.reference import ReferenceSpec
from mlipq.units import BOHR

_LEVEL = "ωB97M-D3BJ/def2-TZVPPD"
_FORMAL_CHARGE = re.compile(r"([+-]+)(\d*)(?::\d+)?\]")
_CHARGES_AGREE = 0.1


def read(path: Path) -> Iterator[Image]:
    """Read all conformations; the group is the molecule, and its subset and SMILES are kept."""
    for molecule in molecules(path):
        numbers = array(molecule.group, "atomic_numbers", (None,))
        positions = array(molecule.group, "conformations", (None, len(numbers), 3)).astype(np.float64) * BOHR
        smiles = first_text(molecule.group, "smiles")
        stated = {
            "charge": formal_charge(smiles),
            "spin_multiplicity": 1,
            "group": molecule.name,
            "subset": first_text(molecule.group, "subset"),
            "smiles": smiles,
        }
        labels = _labels(molecule, len(positions), len(numbers))
        for row, coordinates in enumerate(positions):
            own = {name: values[row] for name, values in labels.items()}
            atoms = Atoms(numbers, coordinates, info={**stated, **own, "name": f"{molecule.name}-{row}"})
            yield Image(_checked(atoms), molecule.done_at(row, len(positions)))


def formal_charge(smiles: str) -> int:
    """Return the sum of the formal charges of a SMILES: of ``[NH4+:1].[O-2]``, -1."""
    found = _FORMAL_CHARGE.findall(smiles)
    return sum((int(digits) if digits else len(signs)) * (1 if signs[0] == "+" else -1) for signs, digits in found)


def _labels(molecule: Molecule, rows: int, n_atoms: int) -> dict[str, NDArray]:
    group = molecule.group
    labels = {"energy": array(group, "dft_total_energy", (rows,))}
    if "dft_total_gradient" in group:
        labels["forces"] = -array(group, "dft_total_gradient", (rows, n_atoms, 3))
    if "formation_energy" in group:
        labels["formation_energy_hartree"] = array(group, "formation_energy", (rows,))
    if "mbis_charges" in group:
        labels["mbis_charges"] = array(group, "mbis_charges", (rows, n_atoms, 1))
    if "scf_dipole" in group:
        labels["scf_dipole"] = array(group, "scf_dipole", (rows, 3))
    return labels


def _checked(atoms: Atoms) -> Atoms | RejectError:
    charges = atoms.info.get("mbis_charges")
    if charges is None or np.isnan(charges).all():
        return atoms
    total = float(charges.sum())
    if abs(total - atoms.info["charge"]) <= _CHARGES_AGREE:
        return atoms
    message = (
        f"{atoms.info['name']}: the formal charges of its SMILES sum to {atoms.info['charge']:+d}, its MBIS charges to "
        f"{total:+.2f}; one of them is wrong"
    )
    return RejectError("charge_disagrees", message)


IMPORTER = Importer(
    title="SPICE, .hdf5",
    patterns=("*.hdf5", "*.h5"),
    read=read,
    references=(
        ReferenceSpec("wb97m_energy", "energy", "energy", "Hartree", _LEVEL),
        ReferenceSpec("wb97m_forces", "forces", "forces", "Hartree/Bohr", _LEVEL),
        ReferenceSpec("mbis_charges", "mbis_charges", "charges", "e", _LEVEL),
        ReferenceSpec("scf_dipole", "scf_dipole", "dipole", "e·a0", _LEVEL),
    ),
)
