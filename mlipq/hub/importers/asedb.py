"""Databases of ASE, ``.db`` (SQLite) and ``.json``: what their calculators computed, and all else under ``info``."""

from collections.abc import Iterator
from pathlib import Path

import ase.db

from mlipq.hub.importers.importer import Image, Importer
from mlipq.structures.ase_db import row_atoms
from mlipq.structures.reference import ReferenceSpec

RESULTS = (
    ReferenceSpec("energy", "energy", "energy", "eV", ""),
    ReferenceSpec("forces", "forces", "forces", "eV/Å", ""),
    ReferenceSpec("stress", "stress", "stress", "eV/Å³", ""),
    ReferenceSpec("dipole", "dipole", "dipole", "e·Å", ""),
)
"""What ASE's calculators give, in ASE's units; how it was computed, the database does not say."""


def read(path: Path) -> Iterator[Image]:
    """Read all rows; charge and spin come from key-value pairs and data, in the names that the field uses."""
    kind = "json" if path.suffix == ".json" else "db"
    with ase.db.connect(path, type=kind, serial=True) as database:
        count = database.count()
        for number, row in enumerate(database.select()):
            yield Image(row_atoms(row), (number + 1) / count)


IMPORTER = Importer("ASE's databases, .db or .json", ("*.db", "*.json"), read, RESULTS)
