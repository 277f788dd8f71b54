"""GDB-9, known as QM9: one file a molecule, in an archive or a folder (Ramakrishnan et al., 2014).

The format is XYZ of a kind of its own: properties on the second line, Mulliken charges as a fifth column, and after the
atoms frequencies, SMILES and InChI, each of the GDB-17 molecule and of the relaxed one; numbers as Mathematica writes
them, ``1.5*^-6``. The molecules are neutral and closed-shell. U0 is the energy at 0 K with the zero-point vibration;
``b3lyp_energy`` is U0 less that, the energy of the electrons and nuclei at rest. What no reference takes stands under
``info`` with its unit in its name.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from mlipq.hub.importers.importer import Image, Importer
from mlipq.structures.options import RejectError
from mlipq.structures.reference import ReferenceSpec

_LEVEL = "B3LYP/6-31G(2df,p)"
_PROPERTIES = (
    "rotational_constant_a_ghz",
    "rotational_constant_b_ghz",
    "rotational_constant_c_ghz",
    "dipole_norm_debye",
    "polarizability_bohr3",
    "homo_hartree",
    "lumo_hartree",
    "gap",
    "spatial_extent_bohr2",
    "zpve_hartree",
    "u0",
    "u_298k_hartree",
    "h_298k_hartree",
    "g_298k_hartree",
    "cv_298k_cal_per_mol_k",
)
_MAX_BYTES = 1 << 20
"""Of one molecule's file; those of GDB-9 have up to 4,000."""


def read(path: Path) -> Iterator[Image]:
    """Read one ``.xyz`` file, or every one of a tar archive, compressed or not."""
    if path.suffix == ".xyz":
        yield Image(_molecule(path.read_bytes()), 1.0)
        return
    size = path.stat().st_size
    with open(path, "rb") as raw, tarfile.open(fileobj=raw) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".xyz") else None
            if file is not None:
                yield Image(_molecule(file.read(_MAX_BYTES)), min(1.0, raw.tell() / size))


def _molecule(content: bytes) -> Atoms | RejectError:
    try:
        return _parsed(content.decode().splitlines())
    except (ValueError, KeyError, IndexError) as error:
        return RejectError("unreadable", f"no record of GDB-9: {error}; download the file again")


def _parsed(lines: list[str]) -> Atoms:
    n_atoms = int(lines[0])
    _, number, *texts = lines[1].split()
    rows = [line.split() for line in lines[2 : 2 + n_atoms]]
    if len(texts) != len(_PROPERTIES) or len(rows) != n_atoms or any(len(row) != 5 for row in rows):
        raise ValueError(f"expected {len(_PROPERTIES)} properties, and {n_atoms} atoms of 5 columns")
    atoms = Atoms([row[0] for row in rows], [[_number(text) for text in row[1:4]] for row in rows])
    atoms.info = {"charge": 0, "spin_multiplicity": 1, "name": f"gdb {int(number)}"}
    atoms.info |= dict(zip(_PROPERTIES, map(_number, texts), strict=True))
    atoms.info["energy"] = atoms.info["u0"] - atoms.info["zpve_hartree"]
    atoms.info["mulliken_charges"] = np.array([_number(row[4]) for row in rows])
    _, smiles, inchi = (line.split() for line in lines[2 + n_atoms : 5 + n_atoms])
    atoms.info |= {"smiles": smiles[-1], "smiles_gdb17": smiles[0], "inchi": inchi[-1], "inchi_gdb17": inchi[0]}
    return atoms


def _number(text: str) -> float:
    return float(text.replace("*^", "e"))


IMPORTER = Importer(
    title="GDB-9 (QM9), .tar.bz2 or .xyz",
    patterns=("*.tar.bz2", "*.tar", "*.xyz"),
    read=read,
    references=(
        ReferenceSpec("b3lyp_energy", "energy", "energy", "Hartree", _LEVEL),
        ReferenceSpec("b3lyp_u0", "u0", "energy", "Hartree", _LEVEL),
        ReferenceSpec("b3lyp_gap", "gap", "gap", "Hartree", _LEVEL),
        ReferenceSpec("mulliken_charges", "mulliken_charges", "charges", "e", _LEVEL),
    ),
)
