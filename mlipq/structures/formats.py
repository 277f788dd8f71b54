"""What format a file has: by its content where that tells, by its name where only that does."""

import re
import sqlite3
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from ase.io.formats import UnknownFileTypeError, filetype, ioformats

from mlipq.structures.compression import SUFFIXES, compression_of, open_plain, reading

HEAD_BYTES = 8192

FOLDER_FORMATS = frozenset({
    "extxyz", "cif", "vasp", "proteindatabank", "sdf", "mol", "gen", "db", "json", "traj", "xsf", "turbomole",
    "gromacs",
})  # fmt: skip
"""Formats picked up when a folder is searched: those made to hold structures, not a program's in- and output."""

STRUCTURE_SUFFIXES = frozenset({
    ".xyz", ".extxyz", ".cif", ".vasp", ".poscar", ".pdb", ".sdf", ".mol", ".gen", ".traj", ".xsf", ".gro",
})  # fmt: skip
"""Suffixes that promise a structure: in a searched folder, such a file that holds none is an error, not skipped."""

_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?|[-+]?[nN]a[nN]|[-+]?[iI]nf"
_PDB_ATOM = re.compile(rb"^(?:ATOM  |HETATM).{24}", re.MULTILINE)
_GEN_HEADER = re.compile(rb"\s*\d+\s+[CSFH]\s*$")
_MOL_COUNTS = re.compile(rb".{33,}V[23]000\s*$")

_REFUSED_CONTENT = (
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd-compressed, which mlipq does not read: unpack it with 'zstd -d'"),
    (re.compile(rb"PK\x03\x04"), "a zip archive: unpack it, or name it *.zarr.zip if it is an mlipq shard"),
    (re.compile(rb"\x89HDF"), "an HDF5 file: name it *.h5 if it is an mlipq shard"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array, not a structure file"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive: unpack it"),
    (re.compile(rb"\x80[\x02-\x05]|PickleTrajectory"), "pickled, which mlipq never reads as it could run any code"),
)  # fmt: skip
_REFUSED_FORMATS = {"bundletrajectory", "mysql", "postgresql"}
_SURE_BY_CONTENT = {"extxyz", "xyz", "traj", "db", "sdf", "mol", "gen", "json"}


class NotAStructureFileError(Exception):
    """The file holds no structures that mlipq reads; the message says why."""


def detect(path: Path) -> tuple[str, str]:
    """Return the format (a name of :data:`ase.io.formats.ioformats`) and the compression of a file.

    Raises
    ------
    NotAStructureFileError
        If it is empty or nothing that holds structures.
    InputError
        If it cannot be read.
    """
    with reading(path):
        with path.open("rb") as raw:
            compression = compression_of(raw.read(8))
        with open_plain(path, compression) as stream:
            head = stream.read(HEAD_BYTES)
    if not head.strip():
        raise NotAStructureFileError("the file is empty")
    for pattern, reason in _REFUSED_CONTENT:
        if pattern.match(head):
            raise NotAStructureFileError(reason)
    name = plain_name(path)
    found = _by_content(head, name) or _by_name(head, path, name)
    if compression and not ioformats[found].acceptsfd:
        raise NotAStructureFileError(f"ASE reads {found} files only uncompressed: unpack it")
    if found == "db" and not _has_systems(path):
        raise NotAStructureFileError("an SQLite database, but not one of ASE: it has no table 'systems'")
    return found, compression


def plain_name(path: Path) -> str:
    """Name of a file without the suffix of its compression."""
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _by_content(head: bytes, name: str) -> str | None:
    if head.startswith(b"SQLite format 3\0"):
        return "db"
    if head.startswith(b"- of UlmASE-Trajectory"):
        return "traj"
    lines = head.splitlines()
    return next((found for found, matches in _SNIFFERS if matches(head, lines, name)), None)


def _is_xyz(head: bytes, lines: list[bytes], name: str) -> bool:
    while lines and not lines[0].strip():
        lines = lines[1:]
    if not re.fullmatch(rb"\s*\d+\s*", lines[0]):
        return False
    if name.lower().endswith((".xyz", ".extxyz")) or (len(lines) > 1 and b"Properties=" in lines[1]):
        return True
    return len(lines) > 2 and _numbers_in(lines[2]) >= 3 and len(lines[2].split()) >= 4


def _is_cif(head: bytes, lines: list[bytes], name: str) -> bool:
    first = next((line for line in lines if line.strip() and not line.startswith(b"#")), b"")
    return first.lower().startswith(b"data_")


def _is_poscar(head: bytes, lines: list[bytes], name: str) -> bool:
    if len(lines) < 8:
        return False
    scale, vectors, symbols, counts = lines[1].split(), lines[2:5], lines[5].split(), lines[6].split()
    return (
        len(scale) == _numbers_in(lines[1]) == 1
        and all(len(line.split()) == _numbers_in(line) == 3 for line in vectors)
        and all(symbol.isalpha() for symbol in symbols)
        and all(count.isdigit() for count in counts)
        and len(symbols) == len(counts) > 0
    )


def _numbers_in(line: bytes) -> int:
    return sum(bool(re.fullmatch(_NUMBER, word)) for word in line.split())


def _is_ase_json(head: bytes, lines: list[bytes], name: str) -> bool:
    return head.lstrip().startswith(b"{") and b'"ctime"' in head  # every row has its time of creation


_SNIFFERS: tuple[tuple[str, Callable[[bytes, list[bytes], str], bool]], ...] = (
    ("extxyz", _is_xyz),
    ("sdf", lambda head, lines, name: len(lines) > 3 and bool(_MOL_COUNTS.match(lines[3]))),
    ("cif", _is_cif),
    ("proteindatabank", lambda head, lines, name: bool(_PDB_ATOM.search(head))),
    ("gen", lambda head, lines, name: bool(_GEN_HEADER.match(lines[0]))),
    ("vasp", _is_poscar),
    ("json", _is_ase_json),
)


def _by_name(head: bytes, path: Path, name: str) -> str:
    named = _Named(head, str(path.with_name(name)))
    try:
        found: str = filetype(named)
    except UnknownFileTypeError:
        found = ""
    begins = f"it begins with {head.splitlines()[0][:30].decode('utf-8', 'replace')!r}"
    if found in _REFUSED_FORMATS or found not in ioformats or not ioformats[found].can_read:
        raise NotAStructureFileError(f"not a structure file that ASE reads; {begins}")
    if found in _SURE_BY_CONTENT:
        raise NotAStructureFileError(f"named like {found}, but not one; {begins}")
    return found


class _Named(BytesIO):
    """The first bytes of a file under its own name, which is what ASE guesses a format from."""

    def __init__(self, head: bytes, name: str) -> None:
        super().__init__(head)
        self.name = name


def _has_systems(path: Path) -> bool:
    """Look without touching: ASE itself would create its tables in any SQLite file that lacks them."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'systems'").fetchone())
        finally:
            connection.close()
    except sqlite3.Error:
        return False
