"""Rows of ASE databases, with the key-value pairs and data that ``ase.io`` drops."""

from ase import Atoms
from ase.db.row import AtomsRow


def row_atoms(row: AtomsRow) -> Atoms:
    """Return a row as ASE's ``Atoms``: results in its calculator, data and key-value pairs in ``info``.

    A pair named ``charge`` is hidden by the property ``AtomsRow.charge``, the sum of the initial charges; hence ``vars``.
    """
    atoms = row.toatoms()
    atoms.info.update(row.get("data") or {})
    atoms.info.update({key: vars(row)[key] for key in row.key_value_pairs})
    return atoms
