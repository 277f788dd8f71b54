"""Plain and extended XYZ as a stream.

ASE scans a file for frames and seeks back, which takes minutes on a compressed one and memory on a large one. So the
text is cut into frames here. A frame of the common form is parsed by :mod:`mlipq.structures.extxyz`, any other by ASE;
where that fails too, its lines tell whether the file is damaged or the structure wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import BinaryIO

import ase.io
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, parse_properties

from mlipq.errors import InputError
from mlipq.structures.extxyz import PLAIN, parse_frame
from mlipq.structures.options import RejectError

_COUNT = re.compile(rb"\s*[0-9]{1,9}\s*")
_PROPERTIES = re.compile(rb"""\bProperties["']?\s*=""")
_PAIR = re.compile(r"""(?<!\S)[A-Za-z_][\w.-]*\s*=\s*(?:"[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|[^\s"'{\[]\S*)""")
_TEXT_FIELDS = ("name", "group")


@dataclass(slots=True)
class Frame:
    """One frame as text.

    Parameters
    ----------
    index
        Frame in the file, from 0.
    line
        Line of the file, from 1, that holds its number of atoms.
    lines
        Number of atoms, comment, atoms.
    """

    index: int
    line: int
    lines: list[bytes]


def read_xyz(stream: BinaryIO, where: str) -> Iterator[Atoms | RejectError]:
    """Read every frame of an XYZ text.

    A comment of ``key=value`` pairs is read as extended XYZ; of a comment without ``Properties=``, words that belong to
    no pair are free text and become ``info["name"]``. Blank lines between frames are passed over.

    Parameters
    ----------
    stream
        The uncompressed bytes, UTF-8.
    where
        Name of the file, for messages.

    Yields
    ------
    Atoms or RejectError
        One a frame, in order; the error where that frame cannot be used.

    Raises
    ------
    InputError
        If the file is damaged: a line that should hold a number of atoms or a coordinate does not, or the last frame
        is incomplete. The message names frame and line.
    """
    for frame in _frames(stream, where):
        free = "" if _PROPERTIES.search(frame.lines[1]) else _split_comment(frame)
        atoms = _parse(frame, where)
        if isinstance(atoms, Atoms):
            _set_text_fields(atoms, frame, free)
        yield atoms


def _frames(stream: BinaryIO, where: str) -> Iterator[Frame]:
    index, number, previous = 0, 1, ""
    line = stream.readline()
    while line:
        if not line.strip():
            number, line = number + 1, stream.readline()
            continue
        if not _COUNT.fullmatch(line):
            raise InputError(
                f"{where} frame {index} line {number}: expected a number of atoms, got {_shown(line)}{previous}; "
                "the file is damaged"
            )
        atoms = int(line)
        lines = [line, *islice(stream, atoms + 1)]
        if len(lines) < atoms + 2:
            raise InputError(
                f"{where} frame {index} line {number}: {atoms} atoms announced, but the file ends after "
                f"{max(len(lines) - 2, 0)}; it is truncated"
            )
        frame = Frame(index, number, lines)
        line = stream.readline()
        vectors = []
        while line.lstrip().startswith(b"VEC"):
            vectors.append(line)
            line = stream.readline()
        if vectors:
            lines[1] = _lattice(lines[1], vectors, f"{where} frame {index} line {number + atoms + 2}")
        yield frame
        previous = f" (frame {index} announces {atoms} atoms on line {number})"
        index, number = index + 1, number + atoms + 2 + len(vectors)


def _lattice(comment: bytes, vectors: list[bytes], where: str) -> bytes:
    """Write cell vectors that follow the atoms (``VEC1 x y z``, as AMS does) as extended XYZ has them."""
    rows = [line.split()[1:4] for line in vectors]
    if len(rows) > 3 or any(len(row) != 3 for row in rows):
        got = _shown(b" ".join(vectors))
        raise InputError(f"{where}: expected up to three cell vectors of three numbers, got {got}")
    padded = rows + [[b"0"] * 3] * (3 - len(rows))
    periodic = b" ".join([b"T"] * len(rows) + [b"F"] * (3 - len(rows)))
    return b'%s Lattice="%s" pbc="%s"\n' % (comment.strip(), b" ".join(map(b" ".join, padded)), periodic)


def _parse(frame: Frame, where: str) -> Atoms | RejectError:
    text = _decoded(frame, where)
    try:
        return parse_frame(text.split("\n")[: len(frame.lines)])
    except Exception:  # not of the common form, or wrong: ASE shall say
        pass
    try:
        atoms = ase.io.read(StringIO(text), index=0, format="extxyz")
    except Exception as err:  # ASE's parser raises nearly anything
        return _diagnose(frame, where, err)
    assert isinstance(atoms, Atoms)
    return atoms


def _decoded(frame: Frame, where: str) -> str:
    data = b"".join(frame.lines)
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        line = frame.line + data.count(b"\n", 0, err.start)
        raise InputError(
            f"{where} frame {frame.index} line {line}: not UTF-8 text ({err.reason}); "
            "convert the file, for example with iconv -f latin1 -t utf-8"
        ) from None


def _diagnose(frame: Frame, where: str, error: Exception) -> RejectError:
    """Say why ASE could not read a frame: raise where its atoms are garbled, return where they are only unusable."""
    comment = frame.lines[1].decode().strip()
    try:
        properties = key_val_str_to_dict(comment).get("Properties", PLAIN) if comment else PLAIN
        _, _, dtype, converters = parse_properties(properties)
    except Exception as err:
        return RejectError("unreadable", f"the comment, line {frame.line + 1}, cannot be read: {err}")
    types = list(dtype.names)
    species = types.index("species") if "species" in types else None
    for offset, line in enumerate(frame.lines[2:]):
        at = f"{where} frame {frame.index} line {frame.line + 2 + offset}"
        words = line.decode().split()
        if len(words) < len(converters):
            raise InputError(
                f"{at}: expected {len(converters)} columns ({properties}), got {len(words)}: {_shown(line)}; "
                f"the file is damaged, or line {frame.line} announces the wrong number of atoms"
            )
        for converter, word, name in zip(converters, words, types, strict=False):
            try:
                converter(word)
            except ValueError:
                raise InputError(f"{at}: expected a number for {name}, got {word!r}; the file is damaged") from None
        if species is not None and words[species].capitalize() not in atomic_numbers:
            message = f"line {frame.line + 2 + offset}: no element has the symbol {words[species]!r}"
            return RejectError("unknown_element", message)
    return RejectError("unreadable", f"ASE cannot read the frame at line {frame.line}: {type(error).__name__}: {error}")


def _split_comment(frame: Frame) -> str:
    """Leave only ``key=value`` pairs in a comment; return its other words."""
    try:
        comment = frame.lines[1].decode()
    except UnicodeDecodeError:  # told when the frame is parsed
        return ""
    free = " ".join(_PAIR.sub(" ", comment).split())
    if free:
        frame.lines[1] = " ".join(_PAIR.findall(comment)).encode() + b"\n"
    return free


def _set_text_fields(atoms: Atoms, frame: Frame, free: str) -> None:
    """Set the name, and undo what ASE makes of a name like ``007``, ``1e5`` or ``T``."""
    info = atoms.info
    for key in _TEXT_FIELDS:
        if key in info and not isinstance(info[key], str):
            match = re.search(rf"(?<!\S){key}\s*=\s*(?:\"([^\"]*)\"|(\S+))", frame.lines[1].decode())
            if match:
                info[key] = match[1] or match[2]
    if free:
        info.setdefault("name", free)


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 40 else text[:40] + "…")
