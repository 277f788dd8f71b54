"""Orbital charges and moments against dxtb, an independent implementation; README.md says how far it agrees."""

import numpy as np
import pytest
from compare import by_name, committed, label, structure_of, worst

from mlipq import units
from mlipq.irreps import to_blocks
from mlipq.methods.electrons import REFERENCE_OCCUPATION

VALUES = committed("dxtb_values.json")["structures"]
RELATIVE_ENERGY = 6e-8
"""dxtb converts eV to Eh by a factor that is 3.6e-8 off."""
D_OF_DXTB = [2, 3, 1, 4, 0]
"""dxtb's z², xz, yz, x²-y², xy among tblite's xy, yz, z², xz, x²-y²."""


def test_enough_is_compared():
    assert len(VALUES) >= 24
    assert sum(any(p[2] for p in value["populations"]) for value in VALUES) >= 5  # with d shells


@pytest.mark.parametrize("value", VALUES, ids=by_name)
def test_populations_agree_with_dxtb(value):
    structure = structure_of(value)
    arrays = label(structure)
    populations = REFERENCE_OCCUPATION[structure.numbers] - arrays["gfn1/orbital_charges"]
    assert worst(populations - value["populations"]) < 1e-5
    assert worst(arrays["gfn1/atomic_charges"] - value["charges"]) < 1e-5
    assert arrays["gfn1/energy"] / units.HARTREE == pytest.approx(value["energy"], rel=RELATIVE_ENERGY)


@pytest.mark.parametrize("value", VALUES, ids=by_name)
def test_moments_hold_the_population_of_every_orbital(value):
    arrays = label(structure_of(value))
    s, p, d = to_blocks(arrays["gfn1/orbital_moments"])
    p_diagonals, d_diagonals = (np.diagonal(block, axis1=1, axis2=2) for block in (p, d))
    diagonals = np.concatenate([s[:, None], p_diagonals, d_diagonals[:, D_OF_DXTB]], axis=1)
    for ours, theirs in zip(diagonals, value["orbitals"], strict=True):
        if len(theirs) == 2:  # hydrogen's two s shells count together
            theirs = [sum(theirs)]
        assert worst(ours[: len(theirs)] - theirs) < 1e-5
        assert not ours[len(theirs) :].any()
