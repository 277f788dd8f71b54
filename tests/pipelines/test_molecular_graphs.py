"""Graphs from geometries, against molecules whose SMILES is known; mutations, which keep every valence."""

import ase.build
import numpy as np
import pytest
from generation.graphs import UnclearBondsError, bonded, environments, formula_of, perceived, skeleton, smiles_of
from generation.mutations import MOVES, NoPlaceError, mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from scipy.spatial.transform import Rotation

G2 = {
    "CH3CH2OH": "CCO",
    "CH3OCH3": "COC",
    "C6H6": "c1ccccc1",
    "C5H5N": "c1ccncc1",
    "C4H4S": "c1ccsc1",
    "C4H4NH": "c1cc[nH]c1",
    "CH3CN": "CC#N",
    "CH3NO2": "C[N+](=O)[O-]",
    "CH3ONO": "CON=O",
    "CH3COOH": "CC(=O)O",
    "C3H4_C3v": "C#CC",
    "C3H4_D2d": "C=C=C",
    "C3H4_C2v": "C1=CC1",
    "bicyclobutane": "C1C2CC12",
    "cyclobutene": "C1=CCC1",
    "CH3SCH3": "CSC",
    "H2CCO": "C=C=O",
    "C2H6NH": "CNC",
    "isobutene": "C=C(C)C",
    "SiH3": None,
    "CH3": None,
    "C2H5": None,
}
"""Molecules of the G2 set in ASE; what has an unpaired electron has no SMILES here."""
HEAVY = {"add atom": 1, "insert atom": 1, "remove atom": -1}
ELEMENTS = {6: 70, 7: 15, 8: 13, 16: 2}


@pytest.mark.parametrize("name", G2)
def test_the_bonds_of_known_molecules(name):
    atoms = ase.build.molecule(name)
    molecule = bonded(atoms.numbers, atoms.positions)
    assert formula_of(molecule) == "".join(f"{s}{n if n > 1 else ''}" for s, n in sorted(_counts(atoms).items()))
    if G2[name] is None:
        with pytest.raises(UnclearBondsError):
            perceived(molecule)
        return
    expected = Chem.MolFromSmiles(G2[name])
    assert smiles_of(perceived(molecule)) == Chem.CanonSmiles(G2[name])
    assert skeleton(molecule) == skeleton(Chem.AddHs(expected))


def _counts(atoms):
    symbols = atoms.get_chemical_symbols()
    return {symbol: symbols.count(symbol) for symbol in symbols}


def test_two_molecules_side_by_side_are_none():
    pair = ase.build.molecule("CH4")
    pair += ase.build.molecule("H2O", vacuum=None)
    pair.positions[5:] += 6.0
    with pytest.raises(UnclearBondsError):
        perceived(bonded(pair.numbers, pair.positions))


@settings(max_examples=40)
@given(st.integers(0, 199), st.randoms(use_true_random=False))
def test_neither_orientation_nor_order_of_atoms_matters(samples, which, random):
    structure = samples("qm7")[which]
    order = random.sample(range(len(structure)), len(structure))
    turned = Rotation.from_euler("xyz", [random.uniform(-3, 3) for _ in range(3)]).apply(structure.positions)
    first = bonded(structure.numbers, structure.positions)
    second = bonded(structure.numbers[order], turned[order])
    assert skeleton(first) == skeleton(second)
    try:
        expected = smiles_of(perceived(first))
    except UnclearBondsError:
        return
    assert smiles_of(perceived(second)) == expected


def test_skeletons_tell_isomers_apart_and_forgive_resonance():
    def of(smiles):
        return skeleton(Chem.AddHs(Chem.MolFromSmiles(smiles)))

    assert len({of(smiles) for smiles in ("CCO", "COC", "OC=C", "CC=O", "C1CO1")}) == 5
    assert of("CN(=O)=O") == of("C[N+](=O)[O-]")
    assert of("C[C@H](O)N") == of("C[C@@H](O)N")
    assert of("[C-]#[N+]C") == of("[C]=NC")


@given(st.integers(0, 10**6), st.integers(0, 2**32))
def test_mutations_keep_every_valence(pool, which, seed):
    parent = pool.parents[which % len(pool.parents)]
    before = Chem.MolToSmiles(parent.molecule)
    try:
        child, move = mutated(parent.molecule, ELEMENTS, np.random.default_rng(seed))
    except NoPlaceError:
        return
    assert Chem.MolToSmiles(parent.molecule) == before
    assert child.GetNumHeavyAtoms() - parent.molecule.GetNumHeavyAtoms() == HEAVY.get(move, 0)
    again = Chem.MolFromSmiles(smiles_of(child))
    assert again is not None and smiles_of(again) == smiles_of(child)
    assert Chem.GetFormalCharge(child) == 0 or any(atom.GetFormalCharge() for atom in parent.molecule.GetAtoms())
    rings = _rings(child) - _rings(parent.molecule)
    if move == "close ring":
        assert rings == 1
    if move == "open ring":
        assert rings == -1
    if move in ("replace atom", "insert atom", "add atom"):
        assert rings == 0


def _rings(molecule):
    """Independent cycles of a connected or broken graph."""
    return molecule.GetNumBonds() - molecule.GetNumAtoms() + len(Chem.GetMolFrags(molecule))


def test_every_move_occurs_and_mutations_reach_back():
    """From ethanol one move leads to what a chemist would list, and one move leads back."""
    found: dict[str, set[str]] = {}
    for seed in range(3000):
        try:
            child, move = mutated(Chem.MolFromSmiles("CCO"), {6: 1, 8: 1}, np.random.default_rng(seed))
        except NoPlaceError:
            continue
        found.setdefault(move, set()).add(smiles_of(child))
    assert found["add atom"] >= {"CC(C)O", "CCCO", "CCOC", "CC(=O)O", "OCCO", "CCOO"}
    assert found["insert atom"] == {"CCCO", "COCO", "CCOO"}
    assert found["remove atom"] == {"CO", "CC"}
    assert found["replace atom"] == {"CCC", "OCO", "COO"}
    assert found["change bond"] == {"C=CO", "CC=O", "C#CO"}
    assert found["close ring"] == {"C1CO1"}
    back = {
        smiles_of(mutated(Chem.MolFromSmiles("C1CO1"), {6: 1}, np.random.default_rng(s))[0]) for s in _works("C1CO1")
    }
    assert "CCO" in back and {*found, "open ring"} == {*MOVES}


def _works(smiles):
    for seed in range(100):
        try:
            mutated(Chem.MolFromSmiles(smiles), {6: 1}, np.random.default_rng(seed))
        except NoPlaceError:
            continue
        yield seed


def test_kinds_of_atoms_and_bonds():
    acid = Chem.MolFromSmiles("CC(=O)O")
    assert set(environments(acid)) == {
        ("C", 0, 3, 1), ("C", 0, 0, 3), ("O", 0, 0, 1), ("O", 0, 1, 1),
        ("C", "C", 1.0, 0), ("C", "O", 2.0, 0), ("C", "O", 1.0, 0),
    }  # fmt: skip
    assert ("C", "S", 1.5, 5) in set(environments(Chem.MolFromSmiles("c1ccsc1")))
    assert ("C", "O", 1.0, 3) in set(environments(Chem.MolFromSmiles("C1CO1")))
