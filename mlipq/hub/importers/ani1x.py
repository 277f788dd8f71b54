"""ANI-1x and ANI-1ccx: one HDF5 file, one group a formula (Smith et al., 2020). Molecules are neutral and closed-shell.

Labels at other levels than those of the references are kept under ``info`` with their unit in their name.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.hub.importers.conformers import Molecule, array, molecules
from mlipq.hub.importers.importer import Image, Importer
from mlipq.structures.reference import ReferenceSpec

_DZ = "ωB97X/6-31G(d)"
_TZ = "ωB97X/def2-TZVPP"
_REFERENCES = (
    ReferenceSpec("wb97x_dz_energy", "wb97x_dz.energy", "energy", "Hartree", _DZ),
    ReferenceSpec("wb97x_dz_forces", "wb97x_dz.forces", "forces", "Hartree/Å", _DZ),
    ReferenceSpec("wb97x_dz_dipole", "wb97x_dz.dipole", "dipole", "e·Å", _DZ),
    ReferenceSpec("cm5_charges", "wb97x_dz.cm5_charges", "charges", "e", _DZ),
    ReferenceSpec("hirshfeld_charges", "wb97x_dz.hirshfeld_charges", "charges", "e", _DZ),
    ReferenceSpec("wb97x_tz_energy", "wb97x_tz.energy", "energy", "Hartree", _TZ),
    ReferenceSpec("wb97x_tz_forces", "wb97x_tz.forces", "forces", "Hartree/Å", _TZ),
    ReferenceSpec("wb97x_tz_dipole", "wb97x_tz.dipole", "dipole", "e·Å", _TZ),
    ReferenceSpec("mbis_charges", "wb97x_tz.mbis_charges", "charges", "e", _TZ),
    ReferenceSpec("ccsdt_energy", "ccsd(t)_cbs.energy", "energy", "Hartree", "CCSD(T)*/CBS"),
)
_ROW_SHAPES: dict[str, tuple[int, ...]] = {"energy": (), "dipole": (3,)}


def read(path: Path) -> Iterator[Image]:
    """Read all conformations; those of one formula are ``CH4-0``, ``CH4-1`` …."""
    for molecule in molecules(path):
        numbers = array(molecule.group, "atomic_numbers", (None,))
        positions = array(molecule.group, "coordinates", (None, len(numbers), 3))
        labels = _labels(molecule, len(positions), len(numbers))
        for row, coordinates in enumerate(positions):
            atoms = Atoms(numbers, coordinates.astype(np.float64))
            atoms.info = {"charge": 0, "spin_multiplicity": 1, "name": f"{molecule.name}-{row}"}
            atoms.info |= {name: values[row] for name, values in labels.items() if not np.isnan(values[row]).all()}
            yield Image(atoms, molecule.done_at(row, len(positions)))


def _labels(molecule: Molecule, rows: int, n_atoms: int) -> dict[str, NDArray]:
    labels: dict[str, NDArray] = {}
    for spec in (spec for spec in _REFERENCES if spec.field in molecule.group):
        shape = (n_atoms, 3) if spec.kind == "forces" else _ROW_SHAPES.get(spec.kind, (n_atoms,))
        if spec.kind == "charges" and molecule.group[spec.field].ndim == 3:
            shape = (n_atoms, 1)
        labels[spec.field] = array(molecule.group, spec.field, (rows, *shape))
    others = [name for name in molecule.group if name.endswith("energy") and name not in labels]
    return labels | {f"{name}_hartree": array(molecule.group, name, (rows,)) for name in others}


IMPORTER = Importer("ANI-1x, .h5", ("*.h5",), read, _REFERENCES)
