"""What each exporter writes for another project, read back by general means; the projects' own readers are in tests/peers."""

import hashlib

import ase.db
import ase.io
import numpy as np
import pyarrow.parquet
import pytest
from molecules import ENERGY, FORCES, assert_same, crystal, g2_table, labelled, make_dataset, molecule, only_files

from mlipq.errors import InputError
from mlipq.formats import EXPORTERS
from mlipq.store import Manifest, export, open_dataset, pack, write_shard
from mlipq.store.checking.verify import verify_dataset
from mlipq.store.exporters import Exported, exporter_of
from mlipq.store.manifest import ReferenceEnergies, Split
from mlipq.store.splits import split_bytes

LABELS = {spec.name: spec for spec in (ENERGY, FORCES)}


@pytest.fixture
def dataset(tmp_path):
    """Three shards, one of them empty; labels of two sources; one crystal; isolated-atom energies in the manifest."""
    last = pack([labelled(crystal(), 7), molecule("CH4", info={"number": 1, "flag": True, "smiles": "C"})], LABELS)
    tables = [g2_table(0, 9), g2_table(9, 9), g2_table(9, 20)]
    folder = make_dataset(tmp_path / "ds", tables, [".zarr.zip", ".h5", ".zarr.zip"])
    manifest = Manifest.read(folder / "manifest.json")
    known = {ENERGY.name: ReferenceEnergies(isolated={"C": -3.5, "H": -1.25})}
    manifest.model_copy(update={"reference_energies": known}).write(folder / "manifest.json")
    write_shard(tmp_path / "few.h5", last, {})
    return open_dataset(folder)


def test_mace(tmp_path, dataset):
    remark = export(dataset, tmp_path / "a.xyz", "mace").remark
    assert remark.startswith("no isolated atoms, as reference/pbe_energy of ") and remark.endswith(
        "give MACE its --E0s"
    )
    for row, atoms in enumerate(ase.io.read(tmp_path / "a.xyz", ":", format="extxyz")):
        assert atoms.calc is None  # 'energy' itself would make MACE warn
        assert atoms.info["REF_energy"] == dataset["reference/pbe_energy"][row]
        np.testing.assert_array_equal(atoms.arrays["REF_forces"], dataset["reference/pbe_forces"][row])
        assert (atoms.info["total_charge"], atoms.info["total_spin"]) == (0, dataset["multiplicity"][row])


@pytest.mark.parametrize(("only", "atoms"), [("CH", {"C": -3.5, "H": -1.25}), ("H", {"H": -1.25})])
def test_isolated_atoms_are_those_of_the_elements_that_are_exported(tmp_path, dataset, only, atoms):
    """MACE refuses a file that lacks one of them, and one that has more."""
    chosen = dataset.select(only=list(only))
    assert len(chosen) and export(chosen, tmp_path / "a.xyz", "mace").remark == ""
    frames = ase.io.read(tmp_path / "a.xyz", ":", format="extxyz")
    assert len(frames) == len(atoms) + len(chosen)
    for frame, (symbol, energy) in zip(frames, atoms.items(), strict=False):
        assert str(frame.symbols) == symbol
        assert frame.info == {"config_type": "IsolatedAtom", "REF_energy": energy}


def test_fairchem(tmp_path, dataset):
    assert export(dataset, tmp_path / "lmdb", "fairchem").structures == 20
    assert only_files(tmp_path / "lmdb") == ["metadata.npz", "part-00000.aselmdb", "part-00001.aselmdb"]
    row = 0
    for file in sorted((tmp_path / "lmdb").glob("*.aselmdb")):
        with ase.db.connect(file, type="aselmdb", readonly=True) as database:
            for found in database.select():
                atoms = dataset[row]
                np.testing.assert_array_equal(found.positions, atoms.positions)
                assert found.energy == dataset["reference/pbe_energy"][row]
                np.testing.assert_array_equal(found.forces, dataset["reference/pbe_forces"][row])
                assert (found.data["charge"], found.data["spin"]) == (0, dataset["multiplicity"][row])
                assert found.data["info_smiles"] == dataset["info/smiles"][row]
                np.testing.assert_array_equal(found.data["info_masses"], dataset["info/masses"][row])
                assert (found.user, found.ctime) == ("", 0.0)
                assert dataset.find(found.unique_id) == row
                row += 1
    with np.load(tmp_path / "lmdb/metadata.npz", allow_pickle=False) as metadata:
        np.testing.assert_array_equal(metadata["natoms"], np.diff(dataset.atom_offsets))


@pytest.mark.parametrize("energy", [None, "reference/pbe_energy"])
def test_parquet(tmp_path, dataset, energy):
    exported = export(dataset, tmp_path / "parquet", "parquet", energy)
    assert (exported.structures, exported.energy) == (20, energy)
    assert only_files(tmp_path / "parquet") == ["part-00000.parquet", "part-00001.parquet"]
    table = pyarrow.parquet.read_table(tmp_path / "parquet")
    rows = table.to_pylist()
    assert len(rows) == 20 and ("energy" in rows[0]) == (energy is not None)
    for row, found in enumerate(rows):
        assert dataset.find(found["identity"]) == row
        np.testing.assert_array_equal(found["positions"], dataset["positions"][row])
        assert found["atomic_numbers"] == dataset["atomic_numbers"][row].tolist()
        assert found["reference_pbe_energy"] == dataset["reference/pbe_energy"][row]
        np.testing.assert_array_equal(found["reference_pbe_forces"], dataset["reference/pbe_forces"][row])
        assert (found["info_smiles"], found["info_flag"]) == (dataset["info/smiles"][row], dataset["info/flag"][row])
        if energy:
            assert found["energy"] == found["reference_pbe_energy"]
            assert found["forces"] == found["reference_pbe_forces"]
    metadata = table.schema.field("reference_pbe_forces").metadata
    assert metadata[b"unit"] == "eV/Å".encode() and metadata[b"array"] == b"reference/pbe_forces"
    export(dataset, tmp_path / "again", "parquet", energy)
    first, again = (tmp_path / name / "part-00000.parquet" for name in ("parquet", "again"))
    assert first.read_bytes() == again.read_bytes()


def test_cells_and_gaps(tmp_path, dataset):
    few = open_dataset(tmp_path / "few.h5")
    assert export(few, tmp_path / "lmdb", "fairchem") == Exported(1, ENERGY.name, without_energy=1)
    with ase.db.connect(tmp_path / "lmdb/part-00000.aselmdb", type="aselmdb", readonly=True) as database:
        salt = database.get(1)
    np.testing.assert_array_equal(salt.cell, few["cell"][0])
    assert salt.pbc.all() and salt.energy == few["reference/pbe_energy"][0]
    assert export(few, tmp_path / "parquet", "parquet", ENERGY.name).without_energy == 1
    salt, methane = pyarrow.parquet.read_table(tmp_path / "parquet").to_pylist()
    assert salt["cell"] == few["cell"][0].tolist() and np.isnan(methane["energy"])
    assert export(few, tmp_path / "a.xyz", "mace").without_energy == 1
    assert "REF_energy" not in ase.io.read(tmp_path / "a.xyz", 1, format="extxyz").info


@pytest.mark.parametrize("to", ["zarr", "h5"])
def test_an_energy_that_is_named_keeps_its_name_in_shards(tmp_path, dataset, to):
    assert export(dataset, tmp_path / "named", to, ENERGY.name) == Exported(20, ENERGY.name)
    export(dataset, tmp_path / "plain", to)
    for file in only_files(tmp_path / "plain/shards"):
        assert (tmp_path / "named/shards" / file).read_bytes() == (tmp_path / "plain/shards" / file).read_bytes()
    assert export(open_dataset(tmp_path / "few.h5"), tmp_path / "few", to, ENERGY.name).without_energy == 1


@pytest.mark.parametrize("to", EXPORTERS)
def test_a_selection_exports_its_own_structures(tmp_path, dataset, to):
    oxides = dataset.select(contains="O")
    assert 0 < len(oxides) < len(dataset)
    assert exporter_of(to).title
    exported = export(oxides, tmp_path / "out", to)
    assert exported.structures == len(oxides)
    if to in ("zarr", "h5"):
        assert verify_dataset(tmp_path / "out") == []
        out = open_dataset(tmp_path / "out")
        assert_same(next(filter(len, oxides.tables())), next(out.tables()))
        assert out.manifest.statistics["reference/pbe_energy"].count == len(oxides)


def test_splits_come_along(tmp_path, dataset):
    identities = dataset["identity"][:]
    parts = np.where(np.arange(20) % 3 == 0, "test", "train")
    data = split_bytes(identities[:15], parts[:15])
    (dataset.path / "splits").mkdir()
    (dataset.path / "splits/random.csv").write_bytes(data)
    split = Split(
        file="splits/random.csv",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        counts={"test": 5, "train": 10},
    )
    dataset.manifest.model_copy(update={"splits": {"random": split}}).write(dataset.path / "manifest.json")
    whole = open_dataset(dataset.path)
    export(whole, tmp_path / "whole", "h5")
    assert (tmp_path / "whole/splits/random.csv").read_bytes() == data
    assert open_dataset(tmp_path / "whole").manifest.splits == {"random": split}
    export(whole.select(split="test"), tmp_path / "test", "h5")
    tested = open_dataset(tmp_path / "test")
    assert tested.manifest.splits["random"].counts == {"test": 5} and len(tested.select(split="test")) == 5
    assert verify_dataset(tmp_path / "test") == []


def test_what_cannot_be(tmp_path, dataset):
    with pytest.raises(InputError, match="unknown format 'csv'; mlipq exports to extxyz, fairchem, h5"):
        export(dataset, tmp_path / "a", "csv")
    for to in ("h5", "parquet"):
        with pytest.raises(InputError, match=f"--to {to} takes the forces beside an energy; name it too"):
            export(dataset, tmp_path / "a", to, forces=FORCES.name)
        with pytest.raises(InputError, match="'reference/none' cannot be the energy"):
            export(dataset, tmp_path / "a", to, energy="reference/none")
    write_shard(tmp_path / "bare.h5", pack([molecule("CH4")], {}), {})
    for to in ("mace", "fairchem"):
        with pytest.raises(InputError, match="has no energy that"):
            export(open_dataset(tmp_path / "bare.h5"), tmp_path / "a", to)
    assert not (tmp_path / "a").exists()
