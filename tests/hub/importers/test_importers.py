"""Each importer against its file read by other means: charge, spin, group, name and labels in mlipq's units."""

from pathlib import Path

import ase.db
import h5py
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlipq.errors import InputError
from mlipq.formats import IMPORTERS
from mlipq.hub.importers import import_dataset
from mlipq.hub.importers.spice import formal_charge
from mlipq.store import export, open_dataset
from mlipq.store.checking.verify import verify_dataset

DATA = Path(__file__).parent / "data"
KCAL = units.kcal / units.mol
FILES = {
    "rmd17": ["rmd17_ethanol_train_01.npz", "rmd17_ethanol_test_01.npz", "rmd17_benzene_train_01.npz"],
    "gdb9": ["dsgdb9nsd_000001.xyz", "dsgdb9nsd_000003.xyz"],
    "ani1x": ["ani1x.h5"],
    "spice": ["spice.hdf5"],
    "tmqm": ["tmQM_X1.xyz"],
    "aselmdb": ["omol.aselmdb"],
}
LEVELS = {"tmqm": "TPSSh-D3BJ/def2-SVP", "aselmdb": "ωB97M-V/def2-TZVPD"}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")

    def get(name: str):
        if not (folder / name).exists():
            paths = [DATA / file for file in FILES[name]]
            import_dataset(paths, name, folder / name, LEVELS.get(name, ""))
        return open_dataset(folder / name)

    return get


@pytest.mark.parametrize("name", FILES)
def test_every_import_is_a_valid_dataset(imported, name):
    ds = imported(name)
    assert verify_dataset(ds.path) == []
    assert not any(spec.name.startswith("gfn1/") for spec in ds.specs.values())
    assert ds.manifest.provenance.settings["import"]["format"] == name
    assert ds.manifest.failures == {} and ds.manifest.duplicates == 0
    assert (ds["quality"][:] == 0).all()  # charge and spin are stated, not taken for granted
    assert ds.manifest.level_of_theory


def test_rmd17(imported):
    ds = imported("rmd17")
    assert len(ds) == 9
    assert ds["group"][:].tolist() == ["ethanol"] * 6 + ["benzene"] * 3
    assert ds["info/part"][:].tolist() == ["train"] * 3 + ["test"] * 3 + ["train"] * 3
    assert set(ds["info/split"][:]) == {"01"}
    for row, file in enumerate(FILES["rmd17"]):
        with np.load(DATA / file, allow_pickle=False) as source:
            for frame in range(3):
                atoms = ds[3 * row + frame]
                np.testing.assert_array_equal(atoms.numbers, source["nuclear_charges"])
                np.testing.assert_allclose(atoms.positions, source["coords"][frame], atol=5.1e-9, rtol=0)
                assert atoms.info["reference_pbe_energy"] == pytest.approx(source["energies"][frame] * KCAL, rel=1e-14)
                forces = source["forces"][frame] * KCAL
                np.testing.assert_allclose(atoms.arrays["reference_pbe_forces"], forces, rtol=1e-13)
                assert atoms.info["name"] == f"{ds['group'][3 * row]}-{source['old_indices'][frame]}"
                assert (atoms.info["source_file"], atoms.info["source_index"]) == (file, frame)
    assert (ds.specs["reference/pbe_energy"].unit, ds.specs["reference/pbe_forces"].unit) == ("eV", "eV/Å")
    assert ds.manifest.level_of_theory == "PBE/def2-SVP"


def test_rmd17_without_a_split_in_its_name(tmp_path):
    (tmp_path / "rmd17_ethanol.npz").write_bytes((DATA / FILES["rmd17"][0]).read_bytes())
    import_dataset(tmp_path / "rmd17_ethanol.npz", "rmd17", tmp_path / "out")
    ds = open_dataset(tmp_path / "out")
    assert set(ds["group"][:]) == {"ethanol"} and "info/part" not in ds.specs


def test_gdb9(imported):
    ds = imported("gdb9")
    methane, water = ds[0], ds[1]
    assert ds["name"][:].tolist() == ["gdb 1", "gdb 3"]
    assert methane.info["reference_b3lyp_u0"] == pytest.approx(-40.47893 * units.Hartree, rel=1e-14)
    assert methane.info["reference_b3lyp_energy"] == pytest.approx((-40.47893 - 0.044749) * units.Hartree, rel=1e-14)
    assert methane.info["reference_b3lyp_gap"] == pytest.approx(0.5048 * units.Hartree)
    np.testing.assert_array_equal(methane.arrays["reference_mulliken_charges"][:2], [-0.535689, 0.133921])
    assert methane.info["info_zpve_hartree"] == 0.044749 and methane.info["info_smiles"] == "C"
    assert methane.info["info_inchi"] == "InChI=1S/CH4/h1H4"
    np.testing.assert_allclose(water.positions[0], [0, 0.119262, 1.5e-6], atol=1e-12)  # 1.5*^-6


def test_gdb9_in_an_archive(tmp_path, imported):
    import tarfile

    with tarfile.open(tmp_path / "dsgdb9nsd.xyz.tar.bz2", "w:bz2") as archive:
        for file in FILES["gdb9"]:
            archive.add(DATA / file, file)
    import_dataset(tmp_path / "dsgdb9nsd.xyz.tar.bz2", "gdb9", tmp_path / "out")
    ds = open_dataset(tmp_path / "out")
    assert set(ds["source_file"][:]) == {"dsgdb9nsd.xyz.tar.bz2"} and ds["source_index"][:].tolist() == [0, 1]
    np.testing.assert_array_equal(ds["identity"][:], imported("gdb9")["identity"][:])


def test_ani1x(imported):
    ds = imported("ani1x")
    assert ds["name"][:].tolist() == ["C1H4-0", "C1H4-1", "C1H4-2", "H2O1-0", "H2O1-1"]
    with h5py.File(DATA / "ani1x.h5") as source:
        for row, (formula, frame) in enumerate(name.split("-") for name in ds["name"][:]):
            group, atoms = source[formula], ds[row]
            frame = int(frame)
            np.testing.assert_allclose(atoms.positions, group["coordinates"][frame], atol=5.1e-9)
            energy, forces = group["wb97x_dz.energy"][frame], group["wb97x_dz.forces"][frame]
            assert atoms.info["reference_wb97x_dz_energy"] == pytest.approx(energy * units.Hartree, rel=1e-14)
            np.testing.assert_allclose(atoms.arrays["reference_wb97x_dz_forces"], forces * units.Hartree, rtol=1e-6)
            assert ("reference_ccsdt_energy" in atoms.info) == (frame == 0)
    assert ds.specs["reference/wb97x_tz_energy"].level_of_theory == "ωB97X/def2-TZVPP"
    assert "info/mp2_dz.corr_energy_hartree" in ds.specs


def test_spice(imported):
    ds = imported("spice")
    assert len(ds) == 6
    assert dict(zip(ds["group"][:], ds["charge"][:].tolist(), strict=True)) == {"103926": 0, "ammonium": 1, "na-cl": 0}
    with h5py.File(DATA / "spice.hdf5") as source:
        for row, (molecule_name, frame) in enumerate(name.rsplit("-", 1) for name in ds["name"][:]):
            group, atoms, frame = source[molecule_name], ds[row], int(frame)
            positions = group["conformations"][frame].astype("f8") * units.Bohr
            np.testing.assert_allclose(atoms.positions, positions, atol=5.1e-9)
            forces = -group["dft_total_gradient"][frame].astype("f8") * units.Hartree / units.Bohr
            np.testing.assert_allclose(atoms.arrays["reference_wb97m_forces"], forces, rtol=1e-6)
            assert atoms.info["reference_wb97m_energy"] == group["dft_total_energy"][frame] * units.Hartree
            assert atoms.info["info_subset"] == group["subset"][0].decode()


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [
        ("[N+:1]([H:2])([H:3])([H:4])[H:5]", 1),
        ("[Na+:1].[Cl-:2]", 0),
        ("[Mg+2:1]", 2),
        ("[O--]", -2),
        ("C[N+](C)(C)CC(=O)[O-]", 0),
        ("[C@@H:1](N)C", 0),
        ("C-C", 0),
    ],
)
def test_formal_charges(smiles, charge):
    assert formal_charge(smiles) == charge


def test_a_charge_that_spice_contradicts_is_refused(tmp_path):
    path = tmp_path / "spice.hdf5"
    path.write_bytes((DATA / "spice.hdf5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["ammonium/mbis_charges"][0, 0, 0] += 1
    manifest = import_dataset(path, "spice", tmp_path / "out")
    assert manifest.failures == {"charge_disagrees": 1} and manifest.n_structures == 5
    assert "sum to +1, its MBIS charges to +2.00" in (tmp_path / "out/failures.csv").read_text()


def test_spice_without_mbis_charges_of_a_conformation(tmp_path):
    path = tmp_path / "spice.hdf5"
    path.write_bytes((DATA / "spice.hdf5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["ammonium/mbis_charges"][0] = np.nan
    manifest = import_dataset(path, "spice", tmp_path / "out")
    assert manifest.n_structures == 6 and manifest.failures == {}
    ammonium = next(atoms for atoms in open_dataset(tmp_path / "out") if atoms.info["name"] == "ammonium-0")
    assert ammonium.info["charge"] == 1 and "reference_mbis_charges" not in ammonium.arrays


def test_tmqm(imported):
    ds = imported("tmqm")
    lines = (DATA / "tmQM_X1.xyz").read_text().splitlines()
    codes = [line.split()[2] for line in lines if line.startswith("CSD_code")]
    assert ds["name"][:].tolist() == codes
    assert (ds["multiplicity"][:] == 1).all()
    header, *rows = [line.split(";") for line in (DATA / "tmQM_y.csv").read_text().splitlines()]
    for row, values in enumerate(rows):
        stated = dict(zip(header, values, strict=True))
        info = ds[row].info
        assert info["reference_dft_energy"] == float(stated["Electronic_E"]) * units.Hartree
        assert info["reference_dft_gap"] == float(stated["HL_Gap"]) * units.Hartree
        assert info["info_dispersion_energy_hartree"] == float(stated["Dispersion_E"])
    block = (DATA / "tmQM_X.q").read_text().split("CSD_code")[2].splitlines()[1:-1]
    charges = [float(line.split()[1]) for line in block if not line.startswith("Total")]
    np.testing.assert_array_equal(ds[1].arrays["reference_natural_charges"], charges)
    assert "reference_natural_charges" not in ds[2].arrays  # the .q file has the first two only


def test_aselmdb(imported):
    ds = imported("aselmdb")
    assert set(ds["charge"][:]) - {0} and set(ds["multiplicity"][:]) - {1}
    with ase.db.connect(DATA / "omol.aselmdb", type="aselmdb", readonly=True) as database:
        for number, row in enumerate(database.select()):
            atoms = ds[number]
            assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (row.data["charge"], row.data["spin"])
            assert atoms.info["reference_energy"] == row.energy
            np.testing.assert_array_equal(atoms.arrays["reference_forces"], row.forces)
            assert atoms.info["info_source"] == row.data["source"]
    assert ds.specs["reference/energy"].level_of_theory == LEVELS["aselmdb"]
    assert sorted(path.name for path in DATA.glob("omol*")) == ["omol.aselmdb"]  # no lock file is left beside it


def test_what_is_exported_for_fairchem_is_imported_again(tmp_path, imported):
    ds = imported("aselmdb")
    export(ds, tmp_path / "lmdb", "fairchem")
    import_dataset(tmp_path / "lmdb", "aselmdb", tmp_path / "out", LEVELS["aselmdb"])
    again = open_dataset(tmp_path / "out")
    for name in ("identity", "charge", "multiplicity", "reference/energy", "reference/forces"):
        np.testing.assert_array_equal(again[name][:], ds[name][:])


def test_asedb(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        for name in ("N2", "CO"):
            atoms = molecule(name)
            atoms.calc = EMT()
            atoms.get_forces()
            database.write(atoms, charge=0, multiplicity=1, data={"note": name})
        copper = bulk("Cu")
        copper.calc = SinglePointCalculator(copper, energy=-1.0, stress=np.arange(6.0))
        database.write(copper)
    manifest = import_dataset(tmp_path / "a.db", "asedb", tmp_path / "out", "EMT")
    ds = open_dataset(tmp_path / "out")
    assert len(ds) == 3 and manifest.level_of_theory == "EMT"
    carbon_monoxide = molecule("CO")
    carbon_monoxide.calc = EMT()
    assert ds[1].info["reference_energy"] == carbon_monoxide.get_potential_energy()
    np.testing.assert_allclose(ds[1].arrays["reference_forces"], carbon_monoxide.get_forces(), atol=1e-12)
    assert ds[2].info["reference_stress"][0, 1] == 5.0 and ds[2].pbc.all()
    assert ds[0].info["info_note"] == "N2"


def test_formats_and_levels_must_be_known(tmp_path):
    with pytest.raises(InputError, match="unknown format 'qm9'; mlipq imports ani1x, asedb, aselmdb, gdb9"):
        import_dataset(DATA, "qm9", tmp_path / "out")
    with pytest.raises(
        InputError, match="Extended XYZ and whatever else ASE reads needs no import: mlipq label takes it"
    ):
        import_dataset(DATA, "extxyz", tmp_path / "out")
    with pytest.raises(
        InputError, match=r"is it complete, and of this format\? Its name is like those of --format rmd17$"
    ):
        import_dataset(DATA / FILES["rmd17"][0], "gdb9", tmp_path / "out")
    with pytest.raises(InputError, match="/C1H4/conformations is missing; there are atomic_numbers, "):
        import_dataset(DATA / "ani1x.h5", "spice", tmp_path / "out")
    with pytest.raises(InputError, match=r"do not say how their labels were computed.*--level-of-theory"):
        import_dataset(DATA / "omol.aselmdb", "aselmdb", tmp_path / "out")
    with pytest.raises(InputError, match="are PBE/def2-SVP; leave out --level-of-theory PBE0"):
        import_dataset(DATA / FILES["rmd17"][0], "rmd17", tmp_path / "out", "PBE0")
    assert {*IMPORTERS} == {*FILES, "asedb"}  # each has a test here


def test_equal_structures_are_kept_once_and_conflicts_listed(tmp_path):
    atoms = Atoms("H2", [(0, 0, 0), (0, 0, 0.74)], info={"charge": 0, "spin_multiplicity": 1})
    with ase.db.connect(tmp_path / "a.db") as database:
        for energy in (-1.0, -1.0, -2.0):
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            database.write(atoms)
    manifest = import_dataset(tmp_path / "a.db", "asedb", tmp_path / "out", "X")
    assert (manifest.n_structures, manifest.duplicates, len(manifest.conflicts)) == (1, 2, 1)
    assert manifest.conflicts[0].kept == "a.db frame 0" and manifest.conflicts[0].dropped == "a.db frame 2"
    assert manifest.conflicts[0].labels == ["energy: -1.0 there, -2.0 here"]


def test_shards_close_by_size_and_import_is_deterministic(tmp_path, monkeypatch):
    monkeypatch.setattr("mlipq.hub.importers.importing.SHARD_ATOMS", 20)
    seen = []
    for out in ("a", "b"):
        import_dataset(DATA, "rmd17", tmp_path / out, progress=lambda read, done: seen.append((read, round(done, 6))))
    first, second = open_dataset(tmp_path / "a"), open_dataset(tmp_path / "b")
    assert [entry.n_structures for entry in first.manifest.shards] == [1, 1, 1, 2, 2, 2]  # benzene has 12 atoms
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()
    assert seen == [(9, 1.0), (9, 1.0)]
