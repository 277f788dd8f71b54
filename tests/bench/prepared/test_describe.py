"""What reports know of test structures, against counting by hand."""

from collections import Counter

import numpy as np
from ase.formula import Formula
from dft_charges import give_dft_charges
from preparing import base, molecules

from mlipq.bench.prepared import composition_distances, describe
from mlipq.bench.prepared.describe import XTB_CHARGES
from mlipq.store import open_dataset


def test_a_description_says_what_the_structures_are(tmp_path):
    test = open_dataset(base(tmp_path / "base")).select(split="test")
    found = describe(test)
    for row, structure in enumerate(map(test.structure, range(len(test)))):
        assert found.identities[row] == structure.identity().hex()
        assert found.n_atoms[row] == len(structure)
        assert Formula(found.formula[row]).count() == Counter(Formula(structure.formula).count())
        assert set(found.elements[row]) == set(Formula(structure.formula).count())
        assert (found.charge[row], found.group[row], found.name[row]) == (0, structure.group, structure.name)
    assert found.formula[0].startswith("C")
    assert set(found.charge_deviation) == {None}


def test_charge_deviation_is_the_mean_over_atoms_where_dft_charges_are(tmp_path):
    rows = np.array([0, 2, 50])
    found = describe(
        open_dataset(base(tmp_path / "base", lambda table: give_dft_charges(table, rows)))
    ).charge_deviation
    table = molecules()
    assert [row for row, deviation in enumerate(found) if deviation is not None] == rows.tolist()
    for row in rows.tolist():
        charges = table.arrays[XTB_CHARGES][table.atoms_of(row)].tolist()
        assert abs(found[row] - sum(abs(charge) / 2 for charge in charges) / len(charges)) < 1e-6


def test_the_distance_is_to_the_nearest_composition(tmp_path):
    dataset = open_dataset(base(tmp_path / "base"))
    test, training = dataset.select(split="test"), dataset.select(split="pool", only=["C", "H", "O"], max_atoms=12)
    found = composition_distances(test, training)
    known = [Counter(training.structure(row).numbers.tolist()) for row in range(len(training))]
    for row in range(len(test)):
        own = Counter(test.structure(row).numbers.tolist())
        expected = min(sum(abs(own[z] - other[z]) for z in own | other) for other in known)
        assert found[row] == expected
    assert found.min() == 0 and found.max() >= 2
