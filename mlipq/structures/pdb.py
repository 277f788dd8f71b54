"""Protein Data Bank files, with the formal charges that ASE's reader leaves out.

They become ``initial_charges``, from where they count as any other statement of the total charge.
"""

import re
from collections.abc import Iterator
from io import StringIO

import ase.io
from ase import Atoms

_CHARGE = re.compile(r"(\d)([+-])|([+-])(\d)")


def read_pdb(text: str) -> Iterator[Atoms]:
    """Read every model of a PDB text with ASE, and set the formal charges (columns 79 and 80) where it has any."""
    images = ase.io.iread(StringIO(text), index=":", format="proteindatabank")
    models = [atoms for atoms in images if len(atoms)]  # ASE gives an empty one for an END after the last ENDMDL
    charges = list(_formal_charges(text))
    if [len(atoms) for atoms in models] != [len(model) for model in charges]:
        raise ValueError(f"{len(charges)} models begin, but {len(models)} end with ENDMDL or END")
    for atoms, formal in zip(models, charges, strict=True):
        if any(formal):
            atoms.set_initial_charges(formal)
        yield atoms


def _formal_charges(text: str) -> Iterator[list[float]]:
    charges: list[float] = []
    for line in text.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            charges.append(_charge(line[78:80]))
        elif line.startswith("END") and charges:
            yield charges
            charges = []
    if charges:
        yield charges


def _charge(field: str) -> float:
    match = _CHARGE.fullmatch(field)
    if not match:
        return 0.0
    size, sign = match[1] or match[4], match[2] or match[3]
    return float(f"{sign}{size}")
