"""Frames of the common form: parsed to exactly what ASE makes of them, or left to ASE."""

from io import StringIO, TextIOWrapper
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from mlipq.structures.compression import open_plain
from mlipq.structures.extxyz import parse_frame

SAMPLES = Path(__file__).parents[2] / "datasets" / "samples"
FILES = sorted(SAMPLES.glob("*.extxyz*"))


def frames_of(path: Path) -> list[list[str]]:
    with open_plain(path, "gz" if path.suffix == ".gz" else "") as stream:
        file = TextIOWrapper(stream)
        frames = []
        while line := file.readline():
            frames.append([line, *islice(file, int(line) + 1)])
    return frames


def fast(lines: list[str]) -> Atoms | None:
    try:
        return parse_frame(lines)
    except Exception:
        return None


def read_by_ase(lines: list[str]) -> Atoms | None:
    try:
        return ase.io.read(StringIO("".join(lines)), 0, format="extxyz")
    except Exception:
        return None


def assert_same_value(ours: object, ases: object) -> None:
    assert type(ours) is type(ases)
    if isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (ases.dtype, ases.shape)
        assert ours.tolist() == ases.tolist() if ours.dtype == object else ours.tobytes() == ases.tobytes()
    else:
        assert ours == ases or (ours != ours and ases != ases)


def assert_same(ours: Atoms, ases: Atoms) -> None:
    for mine, theirs in (
        (ours.arrays, ases.arrays),
        (ours.info, ases.info),
        (ours.calc.results if ours.calc else {}, ases.calc.results if ases.calc else {}),
        ({"cell": ours.cell.array, "pbc": ours.pbc}, {"cell": ases.cell.array, "pbc": ases.pbc}),
    ):
        assert list(mine) == list(theirs)
        for name in mine:
            assert_same_value(mine[name], theirs[name])
    assert (ours.calc is None) == (ases.calc is None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_bundled_files(path):
    frames = frames_of(path)
    parsed = [fast(frame) for frame in frames]
    assert sum(atoms is not None for atoms in parsed) >= 0.99 * len(frames)
    for atoms, frame in zip(parsed, frames, strict=True):
        if atoms is not None:
            assert_same(atoms, read_by_ase(frame))


NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.floats(-1e3, 1e3).map(lambda x: f"{x:.6f}"),
    st.sampled_from(["1.", ".5", "+3", "-0", "1e5", "1_0", "1d3", "nan", "Infinity", "007", "0x1", "1e400", "٣"]),
)
WORDS = st.one_of(NUMBERS, st.sampled_from(["T", "F", "true", "FALSE", "yes", "_JSON", "C"]), st.text(max_size=6))
VALUES = st.one_of(
    WORDS,
    st.lists(WORDS, max_size=4).map(" ".join).map('"{}"'.format),
    st.lists(NUMBERS, min_size=9, max_size=9).map(" ".join).map('"{}"'.format),
    st.lists(NUMBERS, max_size=3).map(",".join),
    st.sampled_from(["[1 2]", "{a b}", "'x y'", '"a\\"b"', '"_JSON [1, 2]"', "a=b"]),
)
KEYS = st.sampled_from(
    [
        "energy",
        "free_energy",
        "stress",
        "virial",
        "dipole",
        "Lattice",
        "pbc",
        "charge",
        "name",
        "config_type",
        "uid",
        "a-b",
        "x.y",
        "2x",
        "é",
    ]
)
PAIRS = st.tuples(KEYS, VALUES).map("=".join)
COMMENTS = st.lists(st.one_of(PAIRS, PAIRS, PAIRS, WORDS), max_size=5).map(" ".join)
COLUMNS = {
    "forces:R:3": st.lists(NUMBERS, min_size=3, max_size=3).map(" ".join),
    "charges:R:1": NUMBERS,
    "magmoms:R:1": NUMBERS,
    "tag:I:1": NUMBERS,
    "fixed:L:1": st.sampled_from(["T", "F", "True", "no"]),
    "label:S:1": st.sampled_from(["a", "b1", "7"]),
    "pair:S:2": st.sampled_from(["a b", "1 2"]),
    "Z:I:1": st.integers(0, 119).map(str),
    "initial_charges:R:1": NUMBERS,
    "move_mask:L:1": st.sampled_from(["T", "F"]),
    "move_mask:L:3": st.sampled_from(["T F T"]),
    "odd:X:1": WORDS,
}
COORDINATES = st.floats(-50, 50).map(lambda x: f"{x:.8f}")


@st.composite
def frames(draw) -> list[str]:
    """Frames that a file may hold, nearly always with something uncommon or wrong about them."""
    extra = draw(st.lists(st.sampled_from(sorted(COLUMNS)), max_size=2))
    properties = ":".join(["species:S:1", "pos:R:3", *extra])
    said = [draw(COMMENTS), *([f"Properties={properties}"] if extra or draw(st.booleans()) else [])]
    atoms = [
        " ".join(
            [
                draw(st.sampled_from(["C", "h", "FE", "O"])),
                *(draw(COORDINATES) for _ in range(3)),
                *(draw(COLUMNS[column]) for column in extra),
                *draw(st.sampled_from([[]] * 9 + [["9"]])),
            ]
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    comment = " ".join(draw(st.permutations(said)))
    lines = [str(len(atoms)), comment.replace("\n", " "), *(atom.replace("\n", " ") for atom in atoms)]
    return [f"{line}\n" for line in lines]


@given(frames())
def test_whatever_is_parsed_is_what_ase_reads(lines):
    ours, ases = fast(lines), read_by_ase(lines)
    if ours is not None:
        assert ases is not None
        assert_same(ours, ases)


@given(
    st.lists(st.tuples(KEYS.filter(str.isidentifier).filter(str.isascii), COORDINATES), max_size=5),
    st.lists(st.tuples(COORDINATES, COORDINATES, COORDINATES), min_size=1, max_size=4),
)
def test_the_common_form_is_not_left_to_ase(pairs, positions):
    pairs = [(key, number) for key, number in pairs if key not in ("Lattice", "stress", "virial", "pbc", "uid")]
    comment = " ".join([f"{key}={number}" for key, number in pairs] + ['pbc="F F F"'])
    lines = [f"{len(positions)}\n", f"{comment}\n", *(f"C  {' '.join(row)}\n" for row in positions)]
    assert_same(parse_frame(lines), read_by_ase(lines))


@pytest.mark.parametrize("space", ["\t", "\v", "\x1c", "\x85", "\xa0", "\u2003", "\u2028"])
def test_any_white_space_ends_a_value(space):
    lines = ["1\n", f"charge=1{space}2 name=a{space}spin=3\n", f"C 0{space}0 1\n"]
    assert fast(lines) is None
    lines[1] = f"charge=1{space}name=a{space}\n"
    assert_same(parse_frame(lines), read_by_ase(lines))


@pytest.mark.parametrize(("column", "number"), [("R", "6"), ("R", "6.5"), ("R", "nan"), ("S", "6"), ("S", "C")])
def test_numbers_that_are_no_integers_are_left_to_ase(column, number):
    assert fast(["1\n", f"Properties=Z:{column}:1:pos:R:3\n", f"{number} 0 0 0\n"]) is None


def test_a_column_without_a_name_is_left_to_ase():
    assert fast(["1\n", "Properties=species:S:1:pos:R:3::R:1\n", "C 0 0 0 1\n"]) is None


@pytest.mark.parametrize(
    "line", ["C 0 0", "C 0 0 0 0", "C 0 0 x", "Xx 0 0 0", ""], ids=["short", "long", "text", "element", "blank"]
)
def test_odd_lines_are_left_to_ase(line):
    assert fast(["2\n", "\n", "C 1 1 1\n", f"{line}\n"]) is None
