"""What tblite would swallow or die of is refused before it is called."""

import numpy as np
import pytest
from ase.data import covalent_radii
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from mlipq.errors import LabelError
from mlipq.methods import force_check
from mlipq.methods.checks import closest_pair
from mlipq.schema import Flag, gfn1_shells
from mlipq.structures import Structure
from mlipq.xtb import Gfn1
from mlipq.xtb.checks import n_orbitals, refuse
from mlipq.xtb.parameters import SHELL_CAPACITY, unpaired_electrons, valence_electrons


def atoms(numbers, positions, charge=0, multiplicity=1, **cell) -> Structure:
    return Structure(
        np.array(numbers, dtype="u1"), np.array(positions, dtype=float).reshape(-1, 3), charge, multiplicity, **cell
    )


WATER = ([8, 1, 1], [[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])


@pytest.mark.parametrize(
    ("structure", "error", "advice"),
    [
        (atoms([1], [[0, 0, 0]], charge=2), "no_electrons", "at least one"),
        (atoms([1], [[0, 0, 0]], charge=1), "no_electrons", "at least one"),
        (atoms(*WATER, multiplicity=21), "impossible_spin", "0 to 8"),
        (atoms(*WATER, multiplicity=2), "impossible_spin", "even numbers"),
        (atoms(*WATER, charge=1, multiplicity=1), "impossible_spin", "odd numbers"),
        (atoms([2, 2], [[0, 0, 0], [0, 0, 3]], multiplicity=3), "impossible_spin", "0 to 0"),
        (atoms([0, 1], [[0, 0, 0], [0, 0, 1]]), "unknown_element", "Z = 0"),
        (atoms([87], [[0, 0, 0]], multiplicity=2), "unknown_element", "Z = 87 (Fr)"),
        (atoms([], []), "no_atoms", "no atoms"),
        (atoms([6, 6], [[0, 0, 0], [0, 0, 0.1]]), "atoms_too_close", "0.100 Å"),
        (atoms([6, 6], [[1, 2, 3], [1, 2, 3]]), "atoms_too_close", "0.000 Å"),
        (atoms([1, 1], [[0, 0, 0], [0, 0, np.nan]]), "bad_coordinates", "atom 1"),
        (atoms(*WATER, cell=np.eye(3) * 9, pbc=np.array([True, False, False])), "periodic", "--ignore-pbc"),
    ],
)
def test_refused_by_name_with_advice(structure, error, advice):
    with pytest.raises(LabelError) as raised:
        refuse(structure)
    assert raised.value.error == error
    assert advice in raised.value.message


@pytest.mark.parametrize("charge", [-1, 0])
def test_hydrogen_is_not_refused(charge):
    multiplicity = 2 if charge == 0 else 1
    assert np.isfinite(Gfn1().label(atoms([1], [[0, 0, 0]], charge, multiplicity)).arrays["gfn1/energy"])


def test_everything_in_the_samples_is_labelled_or_refused_by_name(samples):
    refused = {}
    for name in ("crystals", "gscdb138"):
        for structure in samples(name):
            try:
                refuse(structure)
            except LabelError as error:
                refused.setdefault(error.error, []).append(structure.name)
    assert set(refused) == {"periodic", "impossible_spin"}
    assert len(refused["periodic"]) == len(samples("crystals"))
    assert all("he2" in name for name in refused["impossible_spin"])  # quintet He2: GFN1 gives He one orbital


def test_orbitals_are_those_of_the_shells():
    sizes = {"s": 1, "sp": 4, "spd": 9}
    for z in range(1, 87):
        assert n_orbitals(np.array([z])) == (2 if z == 1 else sizes[gfn1_shells(z)])
    assert SHELL_CAPACITY[26].tolist() == [2, 6, 10]
    assert SHELL_CAPACITY[1].tolist() == [2, 0, 0]


def test_lanthanides_keep_4f_in_the_core():
    gadolinium = np.array([64], dtype="u1")
    assert valence_electrons(gadolinium, 3) == 0
    assert valence_electrons(gadolinium, 0) == 3
    assert unpaired_electrons(gadolinium, 0, 9) == 1  # eight unpaired, seven of them 4f
    label = Gfn1().label(atoms([64, 17, 17, 17], [[0, 0, 0], [2.5, 0, 0], [-1.25, 2.165, 0], [-1.25, -2.165, 0]], 0, 8))
    assert label.arrays["gfn1/uhf"] == 0
    assert Flag.F_IN_CORE in label.quality


def test_flags(samples):
    stretched = atoms([7, 7], [[0, 0, 0], [0, 0, 0.8]])
    label = Gfn1().label(stretched)
    assert label.quality == Flag.F_CLOSE_ATOMS | Flag.F_LARGE_FORCE
    assert Gfn1().label(samples("qm7")[0]).quality == Flag(0)


def test_force_check_is_run_and_catches_wrong_forces(samples, monkeypatch):
    from mlipq.xtb import labeler

    monkeypatch.setattr(force_check, "ONE_IN", 1)
    structure = samples("qm7")[5]
    assert Flag.F_FORCE_CHECK not in Gfn1().label(structure).quality
    right = labeler.single_point

    def wrong(*arguments):
        solution = right(*arguments)
        solution.forces[:] *= 1.5
        solution.forces[0] += 0.5
        return solution

    monkeypatch.setattr(labeler, "single_point", wrong)
    assert Flag.F_FORCE_CHECK in Gfn1().label(structure).quality


@given(
    n_atoms=st.sampled_from([2, 3, 30, 499, 500, 501, 1100]),
    spread=st.floats(0.5, 40),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_the_closest_pair_is_that_of_a_tree(n_atoms, spread, seed):
    rng = np.random.default_rng(seed)
    numbers, positions = rng.integers(1, 87, n_atoms).astype("u1"), spread * rng.normal(size=(n_atoms, 3))
    ratio, i, j = closest_pair(Structure(numbers, positions, 0, 1))
    radii = covalent_radii[numbers]
    pairs = cKDTree(positions).query_pairs(2 * ratio * radii.max() + 1e-9, output_type="ndarray")
    ratios = np.linalg.norm(np.subtract(*positions[pairs.T]), axis=1) / radii[pairs].sum(axis=1)
    assert np.isclose(ratio, ratios.min(), rtol=1e-12) and sorted((i, j)) == sorted(pairs[ratios.argmin()])


def test_one_atom_has_no_pair():
    assert closest_pair(Structure(np.array([6], "u1"), np.zeros((1, 3)), 0, 1)) == (float("inf"), 0, 0)
