"""Draw the bundled sample structures from the source files named in README.md.

    python build.py --source FOLDER [--out FOLDER]

Frames are copied verbatim and stay in source order. Which ones is decided by a rank, the SHA-256 of SEED and the frame's
text, and by the quotas in :data:`SOURCES`; never by what a calculation made of them. Equal sources give equal files (of equal bytes,
where zlib is the same).
"""

import argparse
import gzip
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ase.io
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols

SEED = b"mlipq samples 1"


@dataclass(frozen=True)
class Frame:
    """One frame of an extended XYZ file, as text."""

    text: str

    @cached_property
    def lines(self) -> list[str]:
        """Number of atoms, comment, one line an atom."""
        return self.text.splitlines()

    @cached_property
    def rank(self) -> bytes:
        """Decides which frame is drawn first."""
        return ranked(SEED)(self)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.lines[0])

    @cached_property
    def elements(self) -> set[str]:
        """Element symbols."""
        return {line.split()[0] for line in self.lines[2:]}

    @cached_property
    def charge_and_spin(self) -> tuple[int, int]:
        """Total charge and multiplicity."""
        return self._integer("charge"), self._integer("spin_multiplicity")

    @cached_property
    def is_possible(self) -> bool:
        """True where the electrons can have that multiplicity."""
        charge, multiplicity = self.charge_and_spin
        electrons = sum(atomic_numbers[line.split()[0]] for line in self.lines[2:]) - charge
        return bool((electrons + multiplicity) % 2)

    def is_named(self, name: str) -> bool:
        """Whether the comment gives this name."""
        return f" name={name} " in self.lines[1]

    def _integer(self, key: str) -> int:
        found = re.search(rf" {key}=(-?\d+)(?: |$)", self.lines[1])
        if found is None:
            raise SystemExit(f"no integer {key!r} in this comment line: {self.lines[1]}")
        return int(found[1])


def ranked(seed: bytes) -> Callable[[Frame], bytes]:
    """Return what puts frames in a random order, the same everywhere: the SHA-256 of the seed and a frame's text."""
    return lambda frame: hashlib.sha256(seed + frame.text.encode()).digest()


Traits = Callable[[Frame], Iterable[Hashable]]


class Draw:
    """Frames drawn so far from one source, lowest rank first."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.candidates = sorted(frames, key=lambda frame: frame.rank)
        self.drawn: list[Frame] = []

    def take(self, wanted: Callable[[Frame], bool], count: int) -> None:
        """Draw up to ``count`` more frames that are wanted."""
        new = [frame for frame in self.candidates if wanted(frame)][:count]
        self.drawn += new
        taken = set(map(id, new))
        self.candidates = [frame for frame in self.candidates if id(frame) not in taken]

    def cover(self, traits: Traits, each: int) -> None:
        """Draw until every trait that occurs is on ``each`` frames, as far as there are so many; the rarest first."""
        rarity = Counter(trait for frame in self.candidates for trait in traits(frame))
        for trait, _ in sorted(rarity.items(), key=lambda item: (item[1], str(item[0]))):
            have = sum(trait in traits(frame) for frame in self.drawn)
            self.take(lambda frame, trait=trait: trait in traits(frame), max(0, each - have))  # type: ignore[misc]

    def fill(self, total: int) -> None:
        """Draw whatever comes next until there are ``total``."""
        self.take(lambda frame: True, max(0, total - len(self.drawn)))


def elements(frame: Frame) -> Iterable[Hashable]:
    """Elements of a frame."""
    return frame.elements


def charge_and_spin(frame: Frame) -> Iterable[Hashable]:
    """Charge and multiplicity of a frame."""
    return {frame.charge_and_spin}


D_METALS = {chemical_symbols[z] for z in (*range(21, 31), *range(39, 49), 57, *range(72, 81))}
"""Sc to Zn, Y to Cd, La and Hf to Hg: what tmQM has."""


def metal_and_charge(frame: Frame) -> Iterable[Hashable]:
    """Metals and charge of a frame."""
    return frame.elements & D_METALS | {str(frame.charge_and_spin[0])}


def draw_qm7(draw: Draw) -> None:
    """200 at random."""
    draw.fill(200)


def draw_gscdb138(draw: Draw) -> None:
    """The two doublets with a spurious SCF solution, 3 of every element, 3 of every charge and spin, 160 in all."""
    for name in ("ROST61_m117", "ROST61_m145"):
        draw.take(lambda frame, name=name: frame.is_named(name), 1)  # type: ignore[misc]
    draw.cover(elements, each=3)
    draw.cover(charge_and_spin, each=3)
    draw.fill(160)


def draw_mopac(draw: Draw) -> None:
    """One of every element, one of every charge and spin."""
    draw.cover(elements, each=1)
    draw.cover(charge_and_spin, each=1)


def draw_tmqm(draw: Draw) -> None:
    """4 beyond 120 atoms; of those up to 80 atoms, one of every d metal and 10 of every charge, 50 in all."""
    large, small = (lambda frame: frame.n_atoms > 120), (lambda frame: frame.n_atoms <= 80)
    draw.take(large, 4)
    draw.candidates = [frame for frame in draw.candidates if small(frame)]
    draw.cover(metal_and_charge, each=1)
    for charge in (-1, 1):
        draw.take(lambda frame, charge=charge: frame.charge_and_spin[0] == charge, 6)  # type: ignore[misc]
    draw.fill(50)


@dataclass(frozen=True)
class Source:
    """A source file, its hash, and how samples are drawn from it."""

    path: str
    sha256: str
    target: str
    max_atoms: int
    draw: Callable[[Draw], None]


SOURCES = (
    Source(
        "qm7/qm7.extxyz.gz",
        "ef3f9b2b59b85308de4ae7359e44dddef7180d8336e4d96383c05bdadffc1bba",
        "qm7.extxyz.gz",
        23,
        draw_qm7,
    ),
    Source(
        "gscdb138/gscdb138_qz_unique.extxyz.gz",
        "3f32553ba2a415b4e437d9d0cfb136692a3130c5ca70a0ab4bd0beb5d38f6ef8",
        "gscdb138.extxyz.gz",
        60,
        draw_gscdb138,
    ),
    Source(
        "mopac_pm7_structures/mopac_pm7_normal.extxyz.gz",
        "9d4357813e2d1de24ce512c7b0342945239273002cd3f99253610fe2cb7300aa",
        "mopac_pm7.extxyz.gz",
        50,
        draw_mopac,
    ),
    Source(
        "tmqm/tmqm_86k.extxyz.gz",
        "95ff640344ecf14e41fcf57da4446d1201577a8ad4132661bc4774d66a7d1df2",
        "tmqm.extxyz.gz",
        200,
        draw_tmqm,
    ),
)


def read_checked(path: Path, sha256: str) -> str:
    """Return the text of a gzipped file after checking the file's hash."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{path}: expected sha256 {sha256}, got {found}; take the version named in README.md")
    return gzip.decompress(data).decode()


def frames(text: str) -> Iterator[Frame]:
    """Cut extended XYZ into frames."""
    lines = io.StringIO(text)
    while first := lines.readline().strip():
        yield Frame("".join((first + "\n", *(lines.readline() for _ in range(int(first) + 1)))))


def build(source: Source, folder: Path, out: Path) -> None:
    """Draw the samples of one source."""
    text = read_checked(folder / source.path, source.sha256)
    everything = list(frames(text))
    draw = Draw(frame for frame in everything if frame.n_atoms <= source.max_atoms and frame.is_possible)
    source.draw(draw)
    drawn = set(map(id, draw.drawn))
    sample = "".join(frame.text for frame in everything if id(frame) in drawn)
    (out / source.target).write_bytes(gzip.compress(sample.encode(), compresslevel=9, mtime=0))
    print(f"{source.target}: {len(drawn)} structures, {len(set().union(*(f.elements for f in draw.drawn)))} elements")


def crystals() -> list[Atoms]:
    """Return generated crystals, which the labeler must refuse: lattice constants in Å as measured."""
    made = {
        "Si diamond": bulk("Si", "diamond", a=5.431),
        "NaCl rocksalt": bulk("NaCl", "rocksalt", a=5.640, cubic=True),
        "Cu fcc": bulk("Cu", "fcc", a=3.615),
        "MgO rocksalt 2x2x2": bulk("MgO", "rocksalt", a=4.212, cubic=True) * (2, 2, 2),
    }
    for name, atoms in made.items():
        atoms.info = {"name": name, "charge": 0, "spin_multiplicity": 1 if name != "Cu fcc" else 2}
    return list(made.values())


def main() -> None:
    """Write all sample files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder that holds the source files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write (default: here)")
    arguments = parser.parse_args()
    for source in SOURCES:
        build(source, arguments.source, arguments.out)
    ase.io.write(arguments.out / "crystals.extxyz", crystals(), format="extxyz")


if __name__ == "__main__":
    main()
