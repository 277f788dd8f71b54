"""The tables of elements are PySCF's, as far as both have them."""

import numpy as np
import pytest
from ase.data import chemical_symbols
from pyscf import gto
from pyscf.data.elements import CONFIGURATION

from mlipq.dft.basis import BASIS, COVERED, N_FUNCTIONS, REFERENCE, REPLACED, n_electrons

ELEMENTS = np.flatnonzero(COVERED).tolist()
SHELLS = (1, 3, 5)


@pytest.fixture(scope="module")
def atoms():
    """A free atom of every element that is covered, as PySCF builds it."""
    return {
        z: gto.M(atom=chemical_symbols[z], basis=BASIS, ecp=BASIS if z > 36 else {}, spin=None, verbose=0)
        for z in ELEMENTS
    }


def test_functions_are_those_of_the_basis(atoms):
    assert {z: atom.nao for z, atom in atoms.items()} == {z: int(N_FUNCTIONS[z]) for z in ELEMENTS}


def test_lanthanides_have_no_basis():
    assert sorted(set(range(1, 87)) - set(ELEMENTS)) == list(range(58, 72))
    with pytest.raises(Exception, match="Basis set not found"), pytest.warns(UserWarning):
        gto.basis.load(BASIS, "Ce")


def test_potentials_replace_as_many_electrons(atoms):
    assert {z: atom.atom_nelec_core(0) for z, atom in atoms.items()} == {z: int(REPLACED[z].sum()) for z in ELEMENTS}
    assert all(n_electrons(np.array([z]), 0) == atom.nelectron for z, atom in atoms.items())


def test_a_free_atom_has_no_orbital_charge():
    """In its ground state: but for transition metals, of which GFN1 says d^n s² though several have less in s."""
    for z in ELEMENTS:
        ground = np.array(CONFIGURATION[z][:4]) - REPLACED[z]
        s, p, d = ground[0], ground[1], ground[2] + ground[3]
        if 21 <= z <= 30 or 39 <= z <= 48 or z == 57 or 72 <= z <= 80:
            assert REFERENCE[z].sum() == ground.sum() and REFERENCE[z][1] == p
            assert REFERENCE[z][0] - s in (0, 1, 2)
        else:
            assert REFERENCE[z].tolist() == [s, p, d], chemical_symbols[z]
