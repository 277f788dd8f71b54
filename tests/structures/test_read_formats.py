"""Other formats, with ASE as the oracle, and what ASE's readers leave out."""

import gzip
import time
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from mlipq.errors import InputError
from mlipq.structures import ReadOptions, Rejected, Structure, find_inputs, read_structures


def read(path: Path, **options) -> list[Structure | Rejected]:
    (file,) = find_inputs([path], path.parent)
    return list(read_structures(file, ReadOptions(**options)))


def assert_same(structure: Structure, atoms: Atoms) -> None:
    np.testing.assert_array_equal(structure.numbers, atoms.numbers)
    np.testing.assert_array_equal(structure.positions, np.round(atoms.positions, 8) + 0.0)
    assert structure.is_periodic == atoms.pbc.any()
    if structure.is_periodic:
        np.testing.assert_allclose(structure.cell, atoms.cell.array, atol=6e-9)


MOLECULES = [molecule("CH3CH2OH"), molecule("SO2")]
CRYSTALS = [bulk("NaCl", "rocksalt", a=5.64), bulk("Si")]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "name, images",
    [
        ("a.cif", CRYSTALS), ("POSCAR", CRYSTALS[:1]), ("crystal.txt", CRYSTALS[:1]), ("a.pdb", [MOLECULES[0]] * 2),
        ("a.sdf", MOLECULES[:1]), ("a.mol", MOLECULES[:1]), ("a.gen", MOLECULES[:1]), ("a.gen", CRYSTALS[:1]),
        ("a.traj", MOLECULES + CRYSTALS), ("a.db", MOLECULES + CRYSTALS), ("a.json", MOLECULES + CRYSTALS),
        ("a.xsf", CRYSTALS[:1]), ("coord", MOLECULES[:1]), ("a.xyz", MOLECULES + CRYSTALS),
    ],
)  # fmt: skip
def test_formats_read_as_ase_reads_them(tmp_path, name, images, compressed):
    form = {"crystal.txt": "vasp", "a.xyz": "extxyz", "a.pdb": "proteindatabank"}.get(name)
    ase.io.write(tmp_path / name, images if len(images) > 1 else images[0], format=form)
    expected = ase.io.read(tmp_path / name, ":", format=form)
    path = tmp_path / name
    if compressed:
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        if name == "a.db":
            with pytest.raises(InputError, match="only uncompressed"):
                read(path)
            return
    structures = read(path)
    assert len(structures) == len(expected) == len(images)
    for index, (structure, atoms) in enumerate(zip(structures, expected, strict=True)):
        assert_same(structure, atoms)
        assert (structure.source_file, structure.source_index) == (path.name, index)


def test_results_in_a_trajectory_are_kept(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-5.0, forces=np.ones((3, 3)))
    ase.io.write(tmp_path / "a.traj", atoms)
    (structure,) = read(tmp_path / "a.traj")
    assert structure.info["energy"] == -5.0 and structure.info["forces"].shape == (3, 3)


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_key_value_pairs_of_a_database_state_charge_and_spin(tmp_path, name):
    with ase.db.connect(tmp_path / name) as database:
        database.write(Atoms("OH"), charge=-1, multiplicity=1, source="lab", data={"weights": [1, 2]})
    (structure,) = read(tmp_path / name)
    assert (structure.charge, structure.multiplicity, structure.quality) == (-1, 1, 0)
    assert structure.info["source"] == "lab" and structure.info["weights"].tolist() == [1, 2]


def test_a_foreign_sqlite_file_is_refused_untouched(tmp_path):
    import sqlite3

    path = tmp_path / "browser.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE history (url TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="not one of ASE"):
        read(path)
    assert path.read_bytes() == before


AMMONIUM = """ammonium
  someone

  5  4  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 N   0  0  0  0  0  0
    0.6000    0.6000    0.6000 H   0  0
   -0.6000   -0.6000    0.6000 H   0  0
   -0.6000    0.6000   -0.6000 H   0  0
    0.6000   -0.6000   -0.6000 H   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
M  CHG  1   1   1
M  END
> <inchi>
InChI=1S/H3N/h1H3/p+1

> <energy_kcal>
-12.5

$$$$
"""
HELIUM = """helium
  someone

  1  0  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 He  0  0
M  END
$$$$
"""
METHYL = """
  someone

  4  3  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  4  0  0  0  0
    1.0800    0.0000    0.0000 H   0  0
   -0.5400    0.9353    0.0000 H   0  0
   -0.5400   -0.9353    0.0000 H   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
M  END
$$$$
"""


def test_every_record_of_an_sdf_with_its_formal_charge_and_radicals(tmp_path):
    (tmp_path / "a.sdf").write_text(AMMONIUM + METHYL + AMMONIUM.replace("CHG  1   1   1", "CHG  1   1  -1"))
    cation, radical, anion = read(tmp_path / "a.sdf")
    assert (cation.charge, cation.multiplicity, cation.name) == (1, 1, "ammonium")
    assert cation.info == {"inchi": "InChI=1S/H3N/h1H3/p+1", "energy_kcal": -12.5}
    assert (radical.charge, radical.multiplicity) == (0, 2)
    assert anion.charge == -1


@pytest.mark.parametrize(
    "text, value",
    [
        ("7", 7), ("-12", -12), ("0", 0), ("-12.5", -12.5), ("+.5", 0.5), ("3.", 3.0), ("1e-3", 1e-3), (" 2.5", 2.5),
        ("007", "007"), ("1_000", "1_000"), ("+1", "+1"), ("nan", "nan"), ("1e999", "1e999"), ("-0", "-0"), ("1.2.3", "1.2.3"),
        ("123456789012345678901", "123456789012345678901"), ("9" * 5000, "9" * 5000), ("١", "١"),
    ],
)  # fmt: skip
def test_data_items_are_numbers_only_where_nothing_is_lost(tmp_path, text, value):
    (tmp_path / "a.sdf").write_text(AMMONIUM.replace("-12.5", text))
    kept = read(tmp_path / "a.sdf")[0].info["energy_kcal"]
    assert kept == value and type(kept) is type(value)


def test_an_sdf_is_read_in_linear_time(tmp_path):
    (tmp_path / "a.sdf").write_text(HELIUM * 4000 + "\n" * 2_000_000)
    started = time.process_time()
    assert len(read(tmp_path / "a.sdf")) == 4000
    assert time.process_time() - started < 4  # about 10 s if every record copies all lines after it


def test_charge_codes_of_the_atom_block(tmp_path):
    text = AMMONIUM.replace("M  CHG  1   1   1\n", "").replace("N   0  0", "N   0  3")
    (tmp_path / "a.sdf").write_text(text)
    assert read(tmp_path / "a.sdf")[0].charge == 1


def test_columns_of_an_sdf_that_touch(tmp_path):
    (tmp_path / "a.sdf").write_text(METHYL.replace("   -0.5400   -0.9353", " -100.5400-1000.9353"))
    assert read(tmp_path / "a.sdf")[0].positions[3, 1] == -1000.9353


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("M  END\n", "", "truncated"),
        ("  0.6000", "  0.6x00", "line 6: expected x, y, z"),
        ("M  CHG  1   1   1", "M  CHG  1   9   1", "M  CHG"),
        ("  5  4", "  5  x", "counts"),
    ],
)
def test_damaged_sdf(tmp_path, old, new, message):
    (tmp_path / "a.sdf").write_text(AMMONIUM.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.sdf")


def test_v3000_is_rejected_rather_than_read_as_empty(tmp_path):
    text = AMMONIUM.replace("  5  4  0  0  0  0  0  0  0  0999 V2000", "  0  0  0     0  0            999 V3000")
    (tmp_path / "a.sdf").write_text(text)
    assert read(tmp_path / "a.sdf")[0].error == "unreadable"


def test_formal_charges_of_a_pdb(tmp_path):
    atom = "HETATM{:5d} {:>2}   LIG A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2}{:2}\n"
    oxide = atom.format(1, "O", 0, 0, 0, "O", "1-") + atom.format(2, "H", 0, 0, 0.96, "H", "  ")
    water = (
        atom.format(1, "O", 0, 0, 0, "O", "")
        + atom.format(2, "H", 0, 0, 0.96, "H", "")
        + atom.format(3, "H", 0, 0.9, -0.3, "H", "")
    )
    (tmp_path / "a.pdb").write_text(f"MODEL 1\n{oxide}ENDMDL\nMODEL 2\n{water}ENDMDL\nEND\n")
    first, second = read(tmp_path / "a.pdb")
    assert (first.charge, first.multiplicity) == (-1, 1)
    assert second.charge == 0 and len(second) == 3
    (tmp_path / "b.pdb").write_text(f"MODEL 1\n{oxide}ENDMDL\nMODEL 2\n{water}")
    with pytest.raises(InputError, match="2 models begin, but 1 end"):
        read(tmp_path / "b.pdb")


def test_a_gaussian_input_states_charge_and_multiplicity(tmp_path):
    (tmp_path / "a.gjf").write_text("%chk=a\n#P B3LYP/6-31G* SP\n\nH2 cation\n\n1 2\nH 0.0 0.0 0.0\nH 0.0 0.0 1.05\n\n")
    (structure,) = read(tmp_path / "a.gjf")
    assert (structure.charge, structure.multiplicity, structure.quality) == (1, 2, 0)


@pytest.mark.parametrize("name", ["a.cif", "a.traj", "a.json", "a.gen", "a.db"])
def test_truncated_files_of_other_formats(tmp_path, name):
    path = tmp_path / name
    image = CRYSTALS[0]
    ase.io.write(path, image)
    whole = path.read_bytes()
    for fraction in (0.3, 0.6, 0.85):
        path.write_bytes(whole[: int(len(whole) * fraction)])
        try:
            found = read(path)
        except InputError as err:
            assert str(path) in str(err)
        else:
            assert [type(item) for item in found] == [Rejected] or len(found[0]) == len(image)
