"""The guard finds every planted test structure, and takes no other molecule for one."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import build_neighbor_list, natural_cutoffs
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import molecules
from scipy.spatial.transform import Rotation

from mlipq.bench.prepared.guard import HeldOut, graph_keys
from mlipq.store import Table, pack, structure_at
from mlipq.structures import Structure, rounded

TABLE = molecules()
for name in [name for name in TABLE.arrays if "/" in name]:  # the guard reads none of these
    del TABLE.arrays[name], TABLE.specs[name]
HALF = len(TABLE) // 2
rows = st.integers(0, HALF - 1)


def packed(*structures: Structure) -> Table:
    return pack(structures, {})


def moved(structure: Structure, seed: int, sigma: float) -> Structure:
    """Return a molecule turned, shifted, rattled, and with its atoms in another order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(structure))
    positions = structure.positions + rng.normal(scale=sigma, size=structure.positions.shape)
    turned = Rotation.random(random_state=seed).apply(positions)[order] + rng.normal(size=3)
    structure.numbers, structure.positions = structure.numbers[order], rounded(turned)
    return structure


@pytest.fixture(scope="module")
def test_half() -> HeldOut:
    return HeldOut(TABLE.take(np.arange(HALF)))


@given(st.sets(rows, max_size=5), st.sets(rows, max_size=5))
def test_planted_structures_are_found_by_identity_and_no_others(first, second):
    planted = sorted(first | second)
    others = [HALF + row for row in sorted(second)]
    found = HeldOut(TABLE.take(np.arange(HALF))).among(TABLE.take(planted + others), [])
    assert found.tolist() == [True] * len(planted) + [False] * len(others)


@settings(max_examples=40)
@given(rows, st.integers(0, 2**31), st.sampled_from(["formula", "graph", "group", "origin"]))
def test_planted_molecules_are_found_by_each_rule_though_every_atom_moved(row, seed, rule):
    copy = moved(structure_at(TABLE, row), seed, 0.03)
    table = packed(structure_at(TABLE, HALF), copy)
    held_out = HeldOut(TABLE.take(np.arange(HALF)))
    assert not held_out.among(table, [])[1]
    assert held_out.among(table, [rule])[1]


@settings(max_examples=40)
@given(rows, st.text(min_size=1, max_size=8), st.integers(0, 2**31))
def test_a_group_counts_by_name_whatever_the_atoms_are(row, name, seed):
    test, other = structure_at(TABLE, row), moved(structure_at(TABLE, (row + 1) % HALF), seed, 0.3)
    test.group = other.group = name
    assert HeldOut(packed(test)).among(packed(other), ["group"]).all()
    assert HeldOut(packed(test)).among(packed(other), ["named group"]).all()


def test_a_group_that_is_but_a_formula_names_nothing():
    one, other = structure_at(TABLE, 5), moved(structure_at(TABLE, 5), 1, 0.5)
    assert one.group == one.default_group
    assert HeldOut(packed(one)).among(packed(other), ["group"]).all()
    assert not HeldOut(packed(one)).among(packed(other), ["named group"]).any()


@pytest.mark.parametrize("rule", ["graph", "formula"])
def test_an_ion_is_another_molecule(rule):
    ion = moved(structure_at(TABLE, 7), 0, 0.01)
    ion.charge, ion.multiplicity = 1, 2
    assert not HeldOut(TABLE).among(packed(ion), [rule]).any()


def test_isomers_share_a_formula_and_no_graph():
    from ase.build import molecule

    ethanol, ether, ethane = (
        Structure(atoms.numbers.astype("u1"), rounded(atoms.positions), 0, 1)
        for atoms in map(molecule, ("CH3CH2OH", "CH3OCH3", "C2H6"))
    )
    held_out = HeldOut(packed(ethanol))
    assert held_out.among(packed(ether, ethane), ["formula"]).tolist() == [True, False]
    assert not held_out.among(packed(ether, ethane), ["graph"]).any()


def graph_of(row: int) -> nx.Graph:
    """Bonds as ASE sees them."""
    structure = structure_at(TABLE, row)
    atoms = Atoms(structure.numbers, structure.positions)
    neighbours = build_neighbor_list(atoms, natural_cutoffs(atoms, mult=1.25), skin=0, self_interaction=False)
    graph = nx.from_scipy_sparse_array(neighbours.get_connectivity_matrix(sparse=True))
    nx.set_node_attributes(graph, dict(enumerate(structure.numbers.tolist())), "z")
    return graph


def test_keys_are_equal_where_graphs_are_isomorphic_and_nowhere_else():
    keys, graphs = graph_keys(TABLE), [graph_of(row) for row in range(len(TABLE))]
    same = [
        (one, other)
        for one, other in combinations(range(len(TABLE)), 2)
        if len(graphs[one]) == len(graphs[other])
        and nx.is_isomorphic(graphs[one], graphs[other], node_match=lambda a, b: a["z"] == b["z"])
    ]
    assert same == [pair for pair in combinations(range(len(TABLE)), 2) if keys[pair[0]] == keys[pair[1]]]


def test_a_table_without_structures_has_no_test_structures(test_half):
    assert test_half.among(TABLE.take([]), ["graph", "group", "named group", "origin", "formula"]).shape == (0,)
