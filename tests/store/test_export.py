"""Exports: other shards with the same arrays, and extended XYZ that ASE reads back to the same structures."""

import gzip

import ase.io
import numpy as np
import pytest
from ase.io.extxyz import key_val_str_to_dict
from hypothesis import given
from hypothesis import strategies as st
from molecules import ENERGY, FORCES, assert_same, crystal, g2_table, labelled, molecule, only_files, text
from test_dataset import make_dataset

from mlipq.errors import CheckError, InputError
from mlipq.store import Manifest, ShardEntry, export, open_dataset, pack, sha256_file, write_shard
from mlipq.store.exporters import Exported
from mlipq.store.exporters.frames import value_text
from mlipq.store.statistics import summarise
from mlipq.structures.structure import identity


@pytest.fixture
def dataset(tmp_path):
    tables = [g2_table(0, 9, gfn1=True), g2_table(9, 9, gfn1=True), g2_table(9, 20, gfn1=True)]
    return open_dataset(make_dataset(tmp_path / "ds", tables, [".zarr.zip", ".h5", ".zarr.zip"]))


@pytest.mark.parametrize(("to", "suffix"), [("h5", ".h5"), ("zarr", ".zarr.zip")])
def test_conversion_keeps_every_array(tmp_path, dataset, to, suffix):
    seen = []
    export(dataset, tmp_path / "out", to, progress=lambda done, total: seen.append((done, total)))
    out = open_dataset(tmp_path / "out")
    assert seen == [(9, 20), (9, 20), (20, 20)]
    for before, after in zip(filter(len, dataset.tables()), out.tables(), strict=True):
        assert_same(before, after)
    for file, entry in zip(out.files, out.manifest.shards, strict=True):
        assert file.name.endswith(suffix) and sha256_file(file) == entry.sha256
    assert out.manifest.model_dump(exclude={"shards"}) == dataset.manifest.model_dump(exclude={"shards"})
    export(out, tmp_path / "back", "zarr")
    first = open_dataset(tmp_path / "back").files[0]
    assert first.read_bytes() == dataset.files[0].read_bytes()


def test_a_single_shard_becomes_a_dataset(tmp_path):
    write_shard(tmp_path / "a.h5", g2_table(), {"made": "by hand"})
    export(open_dataset(tmp_path / "a.h5"), tmp_path / "out", "zarr")
    out = open_dataset(tmp_path / "out")
    assert_same(g2_table(), next(out.tables()))


def test_a_taken_folder_is_left_alone(tmp_path, dataset):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        export(dataset, tmp_path / "out", "zarr")
    assert only_files(tmp_path / "out") == ["mine"]


@pytest.mark.parametrize(("to", "name"), [("h5", "out"), ("extxyz", "out.extxyz"), ("extxyz", "out.extxyz.gz")])
def test_a_failed_export_leaves_nothing(tmp_path, dataset, to, name):
    dataset.files[2].write_bytes(dataset.files[2].read_bytes()[:-100])
    with pytest.raises(CheckError, match="part-00002"):
        export(dataset, tmp_path / name, to, energy="gfn1/energy" if to == "extxyz" else None)
    assert only_files(tmp_path) == ["ds"]


@pytest.mark.parametrize("name", ["all.extxyz", "all.extxyz.gz"])
def test_ase_reads_the_extxyz_back(tmp_path, dataset, name):
    export(dataset, tmp_path / name, "extxyz", energy="gfn1/energy")
    content = (tmp_path / name).read_bytes()
    (tmp_path / "plain.extxyz").write_bytes(gzip.decompress(content) if name.endswith(".gz") else content)
    frames = ase.io.read(tmp_path / "plain.extxyz", ":")
    assert len(frames) == len(dataset) == 20
    for row, atoms in enumerate(frames):
        info = atoms.info
        found = identity(atoms.numbers, atoms.positions, info["charge"], info["spin_multiplicity"])
        assert dataset.find(found) == row
        assert atoms.get_potential_energy() == info["gfn1_energy"] == dataset["gfn1/energy"][row]
        np.testing.assert_array_equal(atoms.get_forces().astype("f4"), dataset["gfn1/forces"][row])
        np.testing.assert_array_equal(
            atoms.arrays["gfn1_orbital_moments"].astype("f4"), dataset["gfn1/orbital_moments"][row]
        )
        np.testing.assert_array_equal(atoms.arrays["reference_pbe_forces"], dataset["reference/pbe_forces"][row])
        assert (info["name"], info["info_smiles"]) == (dataset["name"][row], dataset["info/smiles"][row])
    export(dataset, tmp_path / "again", "extxyz", energy="gfn1/energy")
    export(dataset, tmp_path / "again.gz", "extxyz", energy="gfn1/energy")
    assert content == (tmp_path / ("again.gz" if name.endswith(".gz") else "again")).read_bytes()


def test_crystals_keep_their_cell(tmp_path):
    write_shard(tmp_path / "a.h5", pack([crystal(), molecule("CH4")], {}), {})
    export(open_dataset(tmp_path / "a.h5"), tmp_path / "a.extxyz", "extxyz")
    salt, methane = ase.io.read(tmp_path / "a.extxyz", ":")
    assert identity(salt.numbers, salt.positions, 0, 1, salt.cell.array, salt.pbc) == crystal().identity()
    assert not methane.pbc.any() and salt.calc is None


def test_the_energy_is_never_guessed(tmp_path, dataset):
    with pytest.raises(InputError, match="--energy reference/pbe_energy or --energy gfn1/energy") as refused:
        export(dataset, tmp_path / "a.extxyz", "extxyz")
    assert "choose one" in str(refused.value)
    for odd in ("gfn1/forces", "gfn1/homo_lumo_gap", "info/smiles", "nothing"):
        with pytest.raises(InputError, match=r"cannot be the energy.* --reference"):
            export(dataset, tmp_path / "a.extxyz", "extxyz", energy=odd)
    with pytest.raises(InputError, match="cannot be the forces"):
        export(dataset, tmp_path / "a.extxyz", "extxyz", energy="gfn1/energy", forces="gfn1/dipole")
    assert only_files(tmp_path) == ["ds"]


def test_forces_come_from_the_energys_own_source(tmp_path, dataset):
    export(dataset, tmp_path / "a.extxyz", "extxyz", energy="reference/pbe_energy")
    first = ase.io.read(tmp_path / "a.extxyz", 0)
    np.testing.assert_array_equal(first.get_forces(), dataset["reference/pbe_forces"][0])
    other = {
        ENERGY.name: type(ENERGY)(**{**{f: getattr(ENERGY, f) for f in ENERGY.__slots__}, "level_of_theory": "PBE0"}),
        FORCES.name: FORCES,
    }
    write_shard(tmp_path / "b.h5", pack([labelled(molecule("CH4"), 1)], other), {})
    export(open_dataset(tmp_path / "b.h5"), tmp_path / "b.extxyz", "extxyz")
    assert "forces" not in ase.io.read(tmp_path / "b.extxyz").calc.results  # PBE forces, PBE0 energy


def test_a_missing_energy_is_left_out(tmp_path):
    rows = [molecule("CH4", reference={"pbe_energy": -1.0}), molecule("H2O")]
    write_shard(tmp_path / "a.h5", pack(rows, {ENERGY.name: ENERGY}), {})
    exported = export(open_dataset(tmp_path / "a.h5"), tmp_path / "a.extxyz", "extxyz")
    assert exported == Exported(2, ENERGY.name, without_energy=1)
    with_energy, without = ase.io.read(tmp_path / "a.extxyz", ":")
    assert with_energy.get_potential_energy() == -1.0 and without.calc is None


@pytest.mark.parametrize("value", ["n/a", np.arange(5.0), -1.5])
def test_an_energy_of_no_unit_is_no_label(tmp_path, value):
    table = pack([molecule("CH4", info={"energy": value})], {})
    found = summarise([table], lambda names: [table])
    assert found.reference_energies == {} and found.outliers == []
    write_shard(tmp_path / "a.h5", table, {})
    with pytest.raises(InputError, match=r"'info/energy' cannot be the energy; this dataset has none.* --reference"):
        export(open_dataset(tmp_path / "a.h5"), tmp_path / "a.extxyz", "extxyz", energy="info/energy")


def test_shards_of_one_name_in_two_folders_are_kept_apart(tmp_path):
    entries = []
    tables = [g2_table(0, 3), g2_table(3, 7)]
    for folder, table in zip("ab", tables, strict=True):
        (tmp_path / "ds" / folder).mkdir(parents=True)
        write_shard(tmp_path / "ds" / folder / "part.h5", table, {})
        entries.append(ShardEntry.of(tmp_path / "ds", f"{folder}/part.h5", table))
    Manifest(shards=entries, arrays=list(tables[0].specs.values())).write(tmp_path / "ds/manifest.json")
    export(open_dataset(tmp_path / "ds"), tmp_path / "out", "zarr")
    for before, after in zip(tables, open_dataset(tmp_path / "out").tables(), strict=True):
        assert_same(before, after)


values = st.one_of(
    text.filter(bool),
    st.sampled_from(
        ["T", "1.5", "nan", "_JSON [1]", 'quo"te', "back\\slash", "new\nline", "a=b", "{x}", "T F", " pad "]
    ),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False),
    st.booleans(),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=12).map(np.array),
    st.just(np.arange(6.0).reshape(2, 3)),
)


@given(values)
def test_ase_reads_every_value_as_it_was(value):
    found = key_val_str_to_dict(f"before=1 key={value_text(value)} after=2")
    assert found.keys() == {"before", "key", "after"}
    assert type(found["key"]) is str if isinstance(value, str) else True
    np.testing.assert_array_equal(found["key"], value)
