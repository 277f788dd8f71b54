"""Structures into tables and back; the types of the columns that users bring."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molecules import CHARGES, ENERGY, FORCES, SPECS, crystal, molecule, structures

from mlipq.errors import CheckError, InputError
from mlipq.schema import STRUCTURE_ARRAYS
from mlipq.store import Table, atoms_at, join_specs, pack, structure_at
from mlipq.store.columns import conform
from mlipq.store.shards.validation import table_problems
from mlipq.structures.structure import Structure


def column(*values, names=("CH4", "H2O", "CO2", "LiH")):
    rows = [molecule(name, info={} if value is None else {"x": value}) for name, value in zip(names, values)]
    table = pack(rows, {})
    return table.specs["info/x"], table.arrays["info/x"]


@pytest.mark.parametrize(
    ("values", "dtype", "stored"),
    [
        ((True, False), "bool", [True, False]),
        ((1, -(2**53)), "i8", [1, -(2**53)]),
        ((1, -(2**53) - 1), "str", ["1", "-9007199254740993"]),
        ((2**53 + 1, 0.5), "str", ["9007199254740993", "0.5"]),
        ((2**53 + 1, None), "str", ["9007199254740993", ""]),
        ((1, 2.5), "f8", [1.0, 2.5]),
        ((True, 3), "i8", [1, 3]),
        ((np.float32(0.5), np.int8(3)), "f8", [0.5, 3.0]),
        ((1, "a", 2.5, True), "str", ["1", "a", "2.5", "True"]),
        ((2**63, 1), "str", ["9223372036854775808", "1"]),
        (("a", None), "str", ["a", ""]),
        (("nul\0", "\ud800"), "str", ["nul\ufffd", "\ufffd"]),
        (({"k": [1]}, "a"), "str", ['{"k": [1]}', "a"]),
    ],
)
def test_scalar_columns_hold_the_widest_type(values, dtype, stored):
    spec, array = column(*values)
    assert (spec.dtype, spec.level, spec.shape) == (dtype, "structure", ())
    assert array.tolist() == stored


@pytest.mark.parametrize("value", [7, True, 0.5])
def test_numbers_with_gaps_become_floats_with_nan(value):
    spec, array = column(value, None)
    assert spec.dtype == "f8"
    np.testing.assert_array_equal(array, [float(value), np.nan])


def test_arrays_are_atom_level_fixed_shape_or_text():
    atom, values = column(np.arange(5), np.arange(3), np.arange(3), None)  # CH4, H2O, CO2 have 5, 3 and 3 atoms
    assert (atom.level, atom.shape, atom.dtype) == ("atom", (), "f8")
    np.testing.assert_array_equal(values, [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, np.nan, np.nan])
    fixed, values = column(np.eye(2), np.zeros((2, 2)))
    assert (fixed.level, fixed.shape, values.shape) == ("structure", (2, 2), (2, 2, 2))
    ragged, values = column(np.arange(2), np.arange(4))
    assert (ragged.dtype, values.tolist()) == ("str", ["[0, 1]", "[0, 1, 2, 3]"])
    names, values = column(np.array(["C", "H", "H", "H", "H"]), np.array(["O", "H", "H"]))
    assert (names.level, names.dtype, values.tolist()) == ("atom", "str", [*"CHHHH", *"OHH"])


@given(st.lists(structures(), max_size=6))
def test_every_packed_table_obeys_the_schema_and_gives_the_structures_back(rows):
    table = pack(rows, SPECS)
    assert table_problems(table) == []
    for row, structure in enumerate(rows):
        back = structure_at(table, row)
        assert back.identity() == structure.identity() == table.arrays["identity"][row].tobytes()
        assert (back.source_file, back.source_index, back.name) == (
            structure.source_file,
            structure.source_index,
            structure.name,
        )
        assert back.group == structure.default_group
        assert back.reference == structure.reference
        assert back.extra.keys() == structure.extra.keys()
    again = pack([structure_at(table, row) for row in range(len(rows))], SPECS)
    assert again.arrays["identity"].tobytes() == table.arrays["identity"].tobytes()


def test_cell_is_kept_only_where_something_is_periodic():
    assert "cell" not in pack([molecule("CH4")], {}).arrays
    mixed = pack([molecule("CH4"), crystal()], {})
    assert mixed.arrays["pbc"].tolist() == [[False] * 3, [True] * 3]
    assert structure_at(mixed, 0).cell is None
    assert structure_at(mixed, 1).identity() == crystal().identity()


def test_missing_labels_are_nan_and_left_out_of_structures():
    table = pack([molecule("CH4", reference={"pbe_energy": -1.0}), molecule("H2O")], SPECS)
    np.testing.assert_array_equal(table.arrays[ENERGY.name], [-1.0, np.nan])
    assert np.isnan(table.arrays[FORCES.name]).all() and table.arrays[FORCES.name].shape == (8, 3)
    assert table.arrays[CHARGES.name].dtype == "f4"
    assert structure_at(table, 1).reference == {}


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"pbe_forces": np.zeros((4, 3))}, r"g2.xyz frame 0 \(CH4\): reference/pbe_forces should have shape \(5, 3\)"),
        ({"pbe_energy": "low"}, "should be f8"),
        ({"unknown": 1.0}, "label reference/unknown has no specification"),
    ],
)
def test_labels_that_do_not_fit_are_named(label, said):
    with pytest.raises(InputError, match=said):
        pack([molecule("CH4", reference=label)], SPECS)


def test_two_fields_of_one_name_are_refused():
    with pytest.raises(InputError, match="two fields would be stored as info/a_b"):
        pack([molecule("CH4", info={"a/b": 1, "a_b": 2})], {})


def test_atoms_carry_charge_spin_and_labels_under_underscore_names():
    structure = molecule("CH3", info={"smiles": "[CH3]"}, reference={"pbe_forces": np.ones((4, 3))})
    atoms = atoms_at(pack([structure], SPECS), 0)
    assert atoms.calc is None
    assert atoms.info["charge"] == 0 and atoms.info["spin_multiplicity"] == 2
    assert atoms.info["name"] == "CH3" and atoms.info["info_smiles"] == "[CH3]"
    assert atoms.arrays["reference_pbe_forces"].shape == (4, 3)
    assert "reference_pbe_energy" not in atoms.info


def info_tables(*columns):
    return [
        pack([molecule(n, info={} if v is None else {"x": v}) for n, v in zip(("CH4", "H2O"), c)], {}) for c in columns
    ]


@pytest.mark.parametrize(
    ("shards", "dtype", "expected"),
    [
        ([(1, 2), (0.5, 1.5)], "f8", [1.0, 2.0, 0.5, 1.5]),
        ([(1, 2), ("a", "b")], "str", ["1", "2", "a", "b"]),
        ([(True, False), (3, 4)], "i8", [1, 0, 3, 4]),
        ([(1, None), ("a", "b")], "str", ["1", "", "a", "b"]),
        ([(2**53 + 1, 2), (None, None)], "str", ["9007199254740993", "2", "", ""]),
        ([(1, 2), (None, None)], "f8", [1.0, 2.0, np.nan, np.nan]),
        ([("a", "b"), (None, None)], "str", ["a", "b", "", ""]),
        ([(np.arange(5), np.arange(3)), (7, 8)], "str", ["[0, 1, 2, 3, 4]", "[0, 1, 2]", "7", "8"]),
        ([(np.arange(2), np.arange(2)), (np.arange(4), np.arange(4))], "str", ["[0, 1]"] * 2 + ["[0, 1, 2, 3]"] * 2),
    ],
)
def test_shards_of_different_types_read_as_one(shards, dtype, expected):
    tables = info_tables(*shards)
    specs = join_specs([table.specs for table in tables])
    joined = Table.concatenate([conform(table, specs) for table in tables])
    assert specs["info/x"].dtype == dtype
    assert table_problems(joined) == []
    if dtype == "f8":
        np.testing.assert_array_equal(joined.arrays["info/x"], expected)
    else:
        assert joined.arrays["info/x"].tolist() == expected


@given(st.lists(structures(), min_size=2, max_size=6), st.integers(1, 5))
def test_joining_shards_obeys_the_schema(rows, cut):
    tables = [pack(part, SPECS) for part in (rows[:cut], rows[cut:]) if part]
    specs = join_specs([table.specs for table in tables])
    joined = Table.concatenate([conform(table, specs) for table in tables])
    assert table_problems(joined) == []
    assert joined.arrays["identity"].tobytes() == pack(rows, SPECS).arrays["identity"].tobytes()


def test_labels_of_one_name_and_two_units_are_not_mixed():
    other = {**pack([molecule("CH4")], SPECS).specs}
    other[ENERGY.name] = type(ENERGY)(ENERGY.name, "structure", (), "f8", "eV", "Energy", "energy", "PBE0")
    with pytest.raises(CheckError, match=r"PBE in one shard and .* PBE0 in another"):
        join_specs([pack([molecule("CH4")], SPECS).specs, other])


def test_no_structures_still_make_a_table():
    table = pack([], SPECS)
    assert len(table) == 0 and table.n_atoms == 0
    assert {spec.name for spec in STRUCTURE_ARRAYS if not spec.optional} <= table.arrays.keys()
    assert table_problems(table) == []


def test_take_reorders_and_repeats():
    rows: list[Structure] = [molecule("CH4"), molecule("H2O"), molecule("LiH")]
    table = pack(rows, {}).take([2, 0, 2])
    assert [structure_at(table, row).name for row in range(3)] == ["LiH", "CH4", "LiH"]
    assert table_problems(table) == []
