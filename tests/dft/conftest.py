"""Small real molecules, labelled once; the tests need PySCF, the extra ``dft``."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mlipq.dft import Pbe
from mlipq.methods import Label
from mlipq.structures import Structure


def structure(atoms: Atoms, charge: int = 0, multiplicity: int = 1) -> Structure:
    return Structure(atoms.numbers.astype("u1"), atoms.positions, charge, multiplicity)


MOLECULES = {
    "water": structure(molecule("H2O")),
    "methyl": structure(molecule("CH3"), 0, 2),
    "ammonium": structure(
        Atoms("NH4", 0.59 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])), 1
    ),
    "silver hydride": structure(Atoms("AgH", [[0, 0, 0], [0.2, -0.1, 1.6]])),  # f functions, a core potential
}


@pytest.fixture(scope="session")
def molecules() -> dict[str, Structure]:
    """A polar one, a radical, an ion, one with a heavy atom."""
    return MOLECULES


@pytest.fixture(scope="session")
def labels(molecules) -> dict[str, Label]:
    """Their labels, with forces."""
    return {name: Pbe().label(structure) for name, structure in molecules.items()}
