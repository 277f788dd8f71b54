"""tmQM: transition-metal complexes in ``tmQM_X*.xyz``, with ``tmQM_X*.q`` and ``tmQM_y*.csv`` beside (Balcells and Skjelstad, 2020).

The charges and properties are found by the CSD code; a complex that they lack is kept without. The level of theory is
the user's to state: the paper says TPSSh-D3BJ/def2-SVP, the README of the 2024 release def2-TZVP.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.hub.importers.importer import Image, Importer
from mlipq.structures.compression import compression_of, open_plain
from mlipq.structures.options import RejectError
from mlipq.structures.reference import ReferenceSpec

_PROPERTIES = {
    "Electronic_E": "electronic_energy",
    "HL_Gap": "gap",
    "Dispersion_E": "dispersion_energy_hartree",
    "Dipole_M": "dipole_norm_debye",
    "Metal_q": "metal_natural_charge",
    "HOMO_Energy": "homo_hartree",
    "LUMO_Energy": "lumo_hartree",
    "Polarizability": "gfn2_polarizability",
    "SMILES": "smiles",
}
_COMPRESSED = 3
"""A compressed file holds about this many times its bytes; it only says how much of it is read."""
_FIELD = re.compile(r"\s*([^=|]+?)\s*=\s*([^|]*?)\s*(?:\||$)")


def read(path: Path) -> Iterator[Image]:
    """Read one XYZ file with the charges and properties that lie in its folder; the name is the CSD code."""
    charges, properties = _charges(path.parent), _properties(path.parent)
    done, size = 0, path.stat().st_size * (1 if path.suffix == ".xyz" else _COMPRESSED)
    with _opened(path) as lines:
        for line in lines:
            if line.strip():
                count = int(line)
                block = list(islice(lines, count + 1))
                if len(block) != count + 1:
                    raise InputError(f"{path}: the last complex is cut off; download the file again")
                done += len(line) + sum(map(len, block))
                yield Image(_complex(block, charges, properties), min(1.0, done / size))


def _complex(
    block: list[str], charges: dict[str, NDArray], properties: dict[str, dict[str, Any]]
) -> Atoms | RejectError:
    try:
        stated = dict(_FIELD.findall(block[0]))
        code, rows = stated["CSD_code"], [line.split() for line in block[1:]]
        atoms = Atoms([row[0] for row in rows], [[float(text) for text in row[1:4]] for row in rows])
        atoms.info = {"charge": int(stated["q"]), "spin_multiplicity": 2 * float(stated["S"]) + 1, "name": code}
        atoms.info |= {"metal_node_degree": int(stated["MND"]), "stoichiometry": stated["Stoichiometry"]}
    except (ValueError, KeyError, IndexError) as error:
        return RejectError("unreadable", f"no complex of tmQM ({type(error).__name__} {error}): {block[0].strip()!r}")
    if code in charges and len(charges[code]) != len(atoms):
        message = f"{code} has {len(atoms)} atoms, and {len(charges[code])} natural charges; download both files again"
        return RejectError("reference_bad", message)
    atoms.info |= properties.get(code, {})
    if code in charges:
        atoms.info["natural_charges"] = charges[code]
    return atoms


def _charges(folder: Path) -> dict[str, NDArray]:
    """Read the natural atomic charges: after a line with the CSD code one line an atom, then the total charge."""
    charges: dict[str, list[float]] = {}
    for path in _beside(folder, ".q"):
        current: list[float] = []
        with _opened(path) as lines:
            for line in lines:
                if line.startswith("CSD_code"):
                    current = charges.setdefault(dict(_FIELD.findall(line))["CSD_code"], [])
                elif line.strip() and not line.startswith("Total"):
                    current.append(float(line.split()[1]))
    return {code: np.array(values) for code, values in charges.items()}


def _properties(folder: Path) -> dict[str, dict[str, Any]]:
    properties = {}
    for path in _beside(folder, ".csv"):
        with _opened(path) as lines:
            for row in csv.DictReader(lines, delimiter=";"):
                known = {name: row[column] for column, name in _PROPERTIES.items() if row.get(column)}
                properties[row["CSD_code"]] = {
                    name: text if name == "smiles" else float(text) for name, text in known.items()
                }
    return properties


def _beside(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for end in ("", ".gz", ".bz2", ".xz") for path in folder.glob(f"*tmQM_*{suffix}{end}"))


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    with open(path, "rb") as raw:
        compression = compression_of(raw.read(6))
    with open_plain(path, compression) as file:
        yield (line.decode() for line in file)


IMPORTER = Importer(
    title="tmQM, .xyz with .q and .csv",
    patterns=("*tmQM_X*.xyz", "*tmQM_X*.xyz.gz"),
    read=read,
    references=(
        ReferenceSpec("dft_energy", "electronic_energy", "energy", "Hartree", ""),
        ReferenceSpec("dft_gap", "gap", "gap", "Hartree", ""),
        ReferenceSpec("natural_charges", "natural_charges", "charges", "e", ""),
    ),
)
