"""XYZ as a stream: equal to ASE on good files, exact about bad ones."""

import bz2
import gzip
import lzma
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given
from hypothesis import strategies as st

from mlipq.errors import InputError
from mlipq.structures import ReadOptions, ReferenceSpec, Rejected, Structure, find_inputs, read_structures

DATA = Path(__file__).parent / "data"
FILES = ["qm7.extxyz", "gscdb138.extxyz", "mopac_pm7.extxyz"]


def read(path: Path, **options) -> list[Structure | Rejected]:
    (file,) = find_inputs([path], path.parent)
    return list(read_structures(file, ReadOptions(**options)))


def read_text(folder: Path, text: str | bytes, **options) -> list[Structure | Rejected]:
    path = folder / "input.xyz"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **options)


def water(comment: str = "", last: str = "H 0 -0.76 -0.59") -> str:
    return f"3\n{comment}\nO 0 0 0\nH 0 0.76 -0.59\n{last}\n"


@pytest.mark.parametrize("name", FILES)
def test_real_files_read_as_ase_reads_them(name):
    structures = read(DATA / name)
    expected = ase.io.read(DATA / name, ":", format="extxyz")
    assert len(structures) == len(expected) > 0
    for index, (structure, atoms) in enumerate(zip(structures, expected, strict=True)):
        np.testing.assert_array_equal(structure.numbers, atoms.numbers)
        np.testing.assert_array_equal(structure.positions, np.round(atoms.positions, 8))
        assert structure.charge == atoms.info["charge"]
        assert structure.multiplicity == atoms.info["spin_multiplicity"]
        assert (structure.source_file, structure.source_index) == (name, index)
        assert structure.name == atoms.info["name"] and structure.quality == 0


def test_reference_labels_of_real_files():
    qm7 = read(DATA / "qm7.extxyz", references=(ReferenceSpec.parse("e=atomization_energy:energy:eV:PBE0"),))
    assert qm7[0].reference == {"e": -18.08417561376829}
    assert "atomization_energy" not in qm7[0].info and qm7[0].info["col3"] == -18.724068124270506
    gscdb = read(DATA / "gscdb138.extxyz", references=(ReferenceSpec.parse("e=energy:energy:eV:wB97M-V"),))
    assert [structure.reference["e"] for structure in gscdb] == [structure.info["E_wB97M_V"] for structure in gscdb]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["input.dat", "input.xyz", "input.xyz.gz"])
def test_compression_is_known_by_content(tmp_path, compress, name):
    path = tmp_path / name
    path.write_bytes(compress((DATA / "qm7.extxyz").read_bytes()))
    plain = [structure.identity() for structure in read(DATA / "qm7.extxyz")]
    assert [structure.identity() for structure in read(path)] == plain


def test_many_blocks_keep_their_order(tmp_path):
    text = "".join(f"1\nname=n{i}\nHe 0 0 {i}\n" for i in range(1000))
    structures = read_text(tmp_path, text)
    assert [s.positions[0, 2] for s in structures] == list(range(1000))
    assert [s.source_index for s in structures] == list(range(1000))
    assert [s.name for s in structures] == [f"n{i}" for i in range(1000)]


def test_windows_line_ends_and_blank_lines_between_frames(tmp_path):
    text = "\n" + water("charge=0") + "\n \n" + water("charge=0") + "\n\n"
    assert len(read_text(tmp_path, text)) == 2
    assert len(read_text(tmp_path, text.replace("\n", "\r\n"))) == 2


@pytest.mark.parametrize(
    "comment, name, info, charge",
    [
        ("", "", {}, 0),
        ("methane", "methane", {}, 0),
        ("gdb 1\t157.7118  157.70997", "gdb 1 157.7118 157.70997", {}, 0),
        ("qm9 stuff 1 2 3 charge=1 E = -3.5", "qm9 stuff 1 2 3", {"E": -3.5}, 1),
        ("charge=+1", "", {}, 1),
        ("name=given other words", "given", {}, 0),
        ('name="two words" smiles="[O-]"', "two words", {"smiles": "[O-]"}, 0),
        ("name=007 group=1e5", "007", {}, 0),
        ("CC(=O)O", "CC(=O)O", {}, 0),
        ("my Properties are fine charge=-1", "my Properties are fine", {}, -1),
        ("Properties = species:S:1:pos:R:3 converged charge=1", "", {"converged": True}, 1),
        ('"Properties"=species:S:1:pos:R:3 converged charge=1', "", {"converged": True}, 1),
        ("Properties=species:S:1:pos:R:3 converged name=\"a 'b'\"", "a 'b'", {"converged": True}, 0),
    ],
)
def test_comments(tmp_path, comment, name, info, charge):
    (structure,) = read_text(tmp_path, water(comment))
    assert (structure.name, structure.info, structure.charge) == (name, info, charge)


def test_names_that_look_like_numbers_stay_text(tmp_path):
    (structure,) = read_text(tmp_path, water("Properties=species:S:1:pos:R:3 name=007 group=1e5"))
    assert (structure.name, structure.group) == ("007", "1e5")


def test_cell_vectors_after_the_atoms(tmp_path):
    text = water("charge=1") + "VEC1 5 0 0\nVEC2 0 6 0\n" + water()
    first, second = read_text(tmp_path, text)
    assert first.pbc.tolist() == [True, True, False] and first.charge == 1
    assert first.cell.tolist() == [[5, 0, 0], [0, 6, 0], [0, 0, 0]]
    assert second.pbc is None


def test_wrong_structures_are_rejected_and_the_rest_read(tmp_path):
    frames = [
        water(),
        water(last="H nan 0 0"),
        water(last="Xx 1 0 0"),
        water(last="X 1 0 0"),
        "0\n\n",
        water('Lattice="1 2 3"'),
        water("charge=0.5"),
        water(),
    ]
    results = read_text(tmp_path, "".join(frames))
    errors = [result.error if isinstance(result, Rejected) else None for result in results]
    assert errors == [
        None, "bad_coordinates", "unknown_element", "unknown_element", "no_atoms", "unreadable", "fractional_charge", None,
    ]  # fmt: skip
    assert [result.source_index for result in results] == list(range(8))
    assert "line 15" in results[2].message and "'Xx'" in results[2].message
    assert "line 24" in results[5].message and "Lattice" in results[5].message


@pytest.mark.parametrize(
    "bad, message",
    [
        ("three\n\nO 0 0 0\n", r"frame 2 line 11: expected a number of atoms, got 'three' \(frame 1 announces 3 atoms on line 6\)"),
        (water(last="H 0 0.1.2 0"), r"frame 2 line 15: expected a number for pos1, got '0.1.2'"),
        (water(last="H 0 0"), r"frame 2 line 15: expected 4 columns .* got 3"),
        ("4\n\nO 0 0 0\nH 0 0.76 -0.59\nH 0 0 1\n", r"frame 2 line 16: expected 4 columns .* got 1: '3'"),
        ("2\n\nO 0 0 0\nH 0 0.76 -0.59\nH 0 0 1\n", r"frame 3 line 15: expected a number of atoms, got 'H 0 0 1'"),
        ("-3\n\n", r"frame 2 line 11: expected a number of atoms, got '-3'"),
        ("1234567890\n\n", r"frame 2 line 11: expected a number of atoms, got '1234567890'"),
        ("9" * 30 + "\n\n", r"frame 2 line 11: expected a number of atoms, got '9999"),
        ("9" * 5000 + "\n\n", r"frame 2 line 11: expected a number of atoms, got '9999"),
        ("999999999\n\n", r"frame 2 line 11: 999999999 atoms announced, .* truncated"),
    ],
)  # fmt: skip
def test_damage_is_named_by_frame_and_line(tmp_path, bad, message):
    with pytest.raises(InputError, match=message) as caught:
        read_text(tmp_path, water() + water() + bad + water())
    assert str(tmp_path / "input.xyz") in str(caught.value)


def test_the_last_frame_is_incomplete(tmp_path):
    with pytest.raises(
        InputError, match="frame 1 line 6: 3 atoms announced, but the file ends after 2; it is truncated"
    ):
        read_text(tmp_path, water() + "3\n\nO 0 0 0\nH 0 0 1\n")
    with pytest.raises(InputError, match="ends after 0"):
        read_text(tmp_path, water() + "3\n")


def test_text_that_is_not_utf8(tmp_path):
    with pytest.raises(InputError, match=r"frame 1 line 7: not UTF-8 text.*iconv"):
        read_text(tmp_path, water().encode() + water("5 Å").encode("latin1"))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_truncated_file_never_gives_fewer_structures(tmp_path, compress):
    whole = compress((DATA / "qm7.extxyz").read_bytes())
    path = tmp_path / "input.extxyz.gz"
    for length in [*range(0, len(whole), 37), *range(len(whole) - 12, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_damaged_compressed_file_is_never_read_as_whole(tmp_path):
    whole = gzip.compress((DATA / "qm7.extxyz").read_bytes(), mtime=0)
    path = tmp_path / "input.extxyz.gz"
    for position in range(10, len(whole), 41):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            read(path)


def test_a_truncated_text_gives_an_error_or_whole_frames(tmp_path):
    text = (DATA / "qm7.extxyz").read_text()
    whole = [structure.identity() for structure in read(DATA / "qm7.extxyz")]
    ends = [i for i in range(len(text)) if text[i] == "\n"]
    for end in ends[:-1]:
        try:
            found = read_text(tmp_path, text[: end + 1])
        except InputError:
            continue
        assert [structure.identity() for structure in found] == whole[: len(found)]


finite = st.floats(-500, 500).map(lambda x: round(x, 8))
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)


@st.composite
def molecules(draw):
    n = draw(st.integers(1, 6))
    numbers = draw(st.lists(st.integers(1, 118), min_size=n, max_size=n))
    positions = draw(st.lists(st.tuples(finite, finite, finite), min_size=n, max_size=n))
    charge = draw(st.integers(max(-2, -sum(numbers)), 1))
    lowest = 1 + (sum(numbers) - charge) % 2
    atoms = Atoms(numbers, positions)
    atoms.info = {
        "charge": charge,
        "multiplicity": lowest,
        "name": draw(words),
        "x": draw(finite),
        "n": draw(st.integers(-9, 9)),
    }
    if draw(st.booleans()):
        atoms.set_cell(np.diag(draw(st.tuples(*[st.floats(1, 50).map(lambda x: round(x, 8))] * 3))))
        atoms.pbc = draw(st.tuples(*[st.booleans()] * 3))
    atoms.set_array("w", np.array(draw(st.lists(finite, min_size=n, max_size=n))))
    forces = np.array(draw(st.lists(st.tuples(finite, finite, finite), min_size=n, max_size=n)))
    atoms.calc = SinglePointCalculator(atoms, energy=draw(finite), forces=forces)
    return atoms


@given(st.lists(molecules(), min_size=1, max_size=4))
def test_what_ase_writes_comes_back(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("xyz") / "images.xyz"
    ase.io.write(path, images, format="extxyz")
    references = (ReferenceSpec.parse("e=energy:energy:eV:x"), ReferenceSpec.parse("f=forces:forces:eV/Å:x"))
    for atoms, structure in zip(images, read(path, references=references), strict=True):
        np.testing.assert_array_equal(structure.numbers, atoms.numbers)
        np.testing.assert_array_equal(structure.positions, atoms.positions)
        assert (structure.charge, structure.multiplicity) == (atoms.info["charge"], atoms.info["multiplicity"])
        assert (structure.name, structure.info["x"], structure.info["n"]) == tuple(
            atoms.info[k] for k in ("name", "x", "n")
        )
        np.testing.assert_array_equal(structure.info["w"], atoms.arrays["w"])
        assert structure.reference["e"] == atoms.calc.results["energy"]
        np.testing.assert_array_equal(structure.reference["f"], atoms.calc.results["forces"])
        assert structure.is_periodic == atoms.pbc.any()
        if structure.is_periodic:
            np.testing.assert_allclose(structure.cell, atoms.cell.array, atol=1e-8)


@given(st.binary(max_size=300) | st.text(st.sampled_from("0123 -.eHO\n=xnaAC\t"), max_size=200).map(str.encode))
def test_no_content_gives_a_bare_traceback(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("junk") / "input.xyz"
    path.write_bytes(content)
    try:
        results = read(path)
    except InputError as err:
        assert str(path) in str(err)
    else:
        assert results and all(isinstance(result, Structure | Rejected) for result in results)


def test_compressed_reading_is_not_pathological(tmp_path):
    path = tmp_path / "long.extxyz.gz"
    path.write_bytes(gzip.compress((DATA / "qm7.extxyz").read_bytes() * 125))
    started = time.process_time()
    assert len(read(path)) == 1000
    assert time.process_time() - started < 5  # ASE's own reader takes minutes on such a file
