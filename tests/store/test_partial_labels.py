"""Labels that only some structures have: all of a method's or none, through tables, shards, datasets and the checks of both."""

import numpy as np
import pytest
from molecules import SUFFIXES, g2_table, make_dataset, molecule

from mlipq.errors import CheckError, InputError
from mlipq.schema import KNOWN_ARRAYS, NO_ATTEMPT, PBE_ARRAYS
from mlipq.store import Table, open_dataset, pack, read_shard, structure_at, write_shard
from mlipq.store.checking.checks import label_problems
from mlipq.store.columns import missing_rows, numpy_dtype
from mlipq.store.shards.validation import array_problems, table_problems
from mlipq.store.tally import Tally

LACKING = [1, 4]


def pbe_table(lacking=LACKING, stop=6) -> Table:
    """Molecules with random numbers for PBE's labels, which some lack; charges add up to the total charge, 0."""
    table = g2_table(0, stop)
    rng = np.random.default_rng(0)
    has = ~np.isin(np.arange(len(table)), lacking)
    of_atoms = np.repeat(has, np.diff(table.arrays["atom_offsets"]))
    for spec in PBE_ARRAYS:
        inside = of_atoms if spec.level == "atom" else has
        values = missing_rows(spec, len(inside))
        values[inside] = (3 * rng.random((int(inside.sum()), *spec.shape))).astype(numpy_dtype(spec))
        table.specs[spec.name], table.arrays[spec.name] = spec, values
    charges = table.arrays["pbe/orbital_charges"]
    for row in np.flatnonzero(has):
        charges[table.atoms_of(row)] -= charges[table.atoms_of(row)].mean()
    return table


def test_some_structures_may_lack_all_labels_of_a_method():
    table = pbe_table()
    assert table_problems(table) == [] and list(label_problems(table)) == []
    assert np.isnan(table.arrays["pbe/energy"]).tolist() == [row in LACKING for row in range(6)]
    assert (table.arrays["pbe/scf_attempt"] == NO_ATTEMPT).tolist() == [row in LACKING for row in range(6)]
    assert table_problems(pbe_table(lacking=range(6))) == []
    assert table_problems(pbe_table(stop=0)) == []


@pytest.mark.parametrize("name", [spec.name for spec in PBE_ARRAYS if spec.name != "pbe/homo_lumo_gap"])
def test_a_structure_with_some_of_them_is_refused(tmp_path, name):
    table = pbe_table()
    values, atoms = table.arrays[name], table.atoms_of(3)
    values[atoms.stop - 1 if table.specs[name].level == "atom" else 3] = missing_rows(table.specs[name], 1)[0]
    (problem,) = table_problems(table)
    assert problem == f"structure 3 has labels of pbe, but {name} lacks some or all of its values"
    with pytest.raises(CheckError, match="structure 3 has labels of pbe"):
        write_shard(tmp_path / "a.zarr.zip", table, {})


@pytest.mark.parametrize("name", [spec.name for spec in PBE_ARRAYS])
def test_a_structure_with_one_of_them_alone_is_refused(name):
    table = pbe_table()
    values, atoms = table.arrays[name], table.atoms_of(LACKING[1])
    values[atoms if table.specs[name].level == "atom" else LACKING[1]] = 1
    problems = table_problems(table)
    assert problems and all(problem.startswith("structure 4 has labels of pbe, but pbe/") for problem in problems)


def test_one_component_alone_is_refused_and_so_is_infinity():
    table = pbe_table()
    table.arrays["pbe/dipole"][0, 2] = np.nan
    assert "but pbe/dipole lacks" in table_problems(table)[0]
    table = pbe_table()
    table.arrays["pbe/energy"][1] = np.inf
    assert "array pbe/energy should be finite" in table_problems(table)[0]


def test_a_gap_may_be_missing_beside_the_other_labels():
    table = pbe_table()
    table.arrays["pbe/homo_lumo_gap"][0] = np.nan
    assert table_problems(table) == []


def test_labels_of_gfn1_are_of_all_structures():
    table = g2_table(0, 6, gfn1=True)
    table.arrays["gfn1/energy"][2] = np.nan
    assert "array gfn1/energy should be finite" in table_problems(table)[0]


def test_arrays_that_are_read_alone_are_checked_among_themselves():
    table = pbe_table()
    table.arrays["pbe/energy"][0] = np.nan
    for names, n_problems in ((["pbe/energy"], 0), (["pbe/energy", "pbe/dipole"], 1)):
        names = ["atom_offsets", *names]
        some = Table({n: table.arrays[n] for n in names}, {n: table.specs[n] for n in names})
        assert len(array_problems(some, table.n_atoms)) == n_problems


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_structures_come_back_from_a_shard_without_the_labels_that_they_lack(tmp_path, suffix):
    table = pbe_table()
    write_shard(tmp_path / f"a{suffix}", table, {})
    dataset = open_dataset(tmp_path / f"a{suffix}")
    labelled, lacking = dataset[0], dataset[1]
    assert "pbe_energy" in labelled.info and "pbe_forces" in labelled.arrays and labelled.info["pbe_scf_attempt"] < 3
    assert not any(name.startswith("pbe") for name in (*lacking.info, *lacking.arrays))
    structures = [structure_at(read_shard(tmp_path / f"a{suffix}"), row) for row in range(6)]
    assert [any(name.startswith("pbe/") for name in s.extra) for s in structures] == [
        row not in LACKING for row in range(6)
    ]
    again = pack(
        structures, {name: spec for name, spec in table.specs.items() if name.startswith(("pbe/", "reference/"))}
    )
    for spec in PBE_ARRAYS:
        assert again.specs[spec.name].dtype == spec.dtype
        np.testing.assert_array_equal(again.arrays[spec.name], table.arrays[spec.name])


def test_a_shard_without_them_is_read_with_others(tmp_path):
    with_labels, without = pbe_table(lacking=[], stop=3), g2_table(3, 6)
    dataset = open_dataset(make_dataset(tmp_path / "d", [with_labels, without], [".zarr.zip"] * 2))
    assert np.isnan(dataset["pbe/energy"][:]).tolist() == [False] * 3 + [True] * 3
    assert dataset["pbe/scf_attempt"][:].tolist()[3:] == [NO_ATTEMPT] * 3
    assert dataset["pbe/scf_attempt"][:].dtype == "u1"
    assert np.isnan(dataset["pbe/forces"][4]).all()
    assert table_problems(Table.concatenate(list(dataset.tables()))) == []


def test_rungs_of_structures_without_a_label_are_not_counted():
    tally = Tally()
    table = pbe_table()
    tally.add("shards/a.zarr.zip", 1000, "0" * 64, table)
    assert sum(tally.attempts.values()) == 4 and "pbe/255" not in tally.attempts


def test_charges_that_do_not_add_up_are_found_beside_structures_without():
    table = pbe_table()
    table.arrays["pbe/orbital_charges"][table.atoms_of(0)] += 0.1
    (problem,) = label_problems(table)
    assert problem.startswith("structure 0: pbe/orbital_charges add up to")


def test_labels_of_gfn1_that_some_structures_lack_are_refused_not_filled():
    """A dataset with GFN1-xTB labels and a plain file, in one job."""
    energy = KNOWN_ARRAYS["gfn1/energy"]
    rows = [molecule("H2O", 0, extra={"gfn1/energy": -1.0}), molecule("CH4", 1)]
    with pytest.raises(InputError, match=r"g2\.xyz frame 1 \(CH4\): it has no gfn1/energy, as other structures have"):
        pack(rows, {energy.name: energy})
