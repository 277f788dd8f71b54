"""From one input file to its structures."""

import itertools
from collections.abc import Iterator
from io import BytesIO, StringIO
from typing import Any

import ase.db
import ase.io
from ase import Atoms
from ase.io.formats import ioformats

from mlipq.errors import InputError
from mlipq.structures.ase_db import row_atoms
from mlipq.structures.atoms import from_atoms
from mlipq.structures.compression import SUFFIXES, open_plain, reading
from mlipq.structures.inputs import InputFile
from mlipq.structures.options import ReadOptions, Rejected, RejectError
from mlipq.structures.pdb import read_pdb
from mlipq.structures.sdf import read_sdf
from mlipq.structures.structure import Structure
from mlipq.structures.xyz import read_xyz

BLOCK_STRUCTURES = 200
BLOCK_ATOMS = 20_000
"""Read and converted at a time."""


def read_structures(file: InputFile, options: ReadOptions) -> Iterator[Structure | Rejected]:
    """Read the structures of one file, in order, one at a time.

    Parameters
    ----------
    file
        As :func:`find_inputs` gives it, of any kind but ``dataset`` (those are read by :mod:`mlipq.store`).
    options
        How to read charge, spin, reference labels and cell.

    Yields
    ------
    Structure or Rejected
        One for each frame, ``source_index`` counting both from 0.

    Raises
    ------
    InputError
        If the file is damaged, unreadable or holds no structure. What is wrong with one structure alone gives a
        :class:`Rejected`.
    """
    if file.kind == "dataset":
        raise ValueError(f"{file.path} is a dataset, to be opened with mlipq.store")
    count = 0
    with reading(file.path):
        for block in _blocks(_images(file)):
            # all at once: in turns, reading, converting and what the caller does drive each other out of the caches
            yield from [_structure(image, options, file, count + row) for row, image in enumerate(block)]
            count += len(block)
    if not count:
        raise InputError(f"{file.path}: the file holds no structure")


def _blocks(images: Iterator[Atoms | RejectError]) -> Iterator[list[Atoms | RejectError]]:
    block: list[Atoms | RejectError] = []
    atoms = 0
    for image in images:
        block.append(image)
        atoms += len(image) if isinstance(image, Atoms) else 0
        if len(block) == BLOCK_STRUCTURES or atoms >= BLOCK_ATOMS:
            yield block
            block, atoms = [], 0
    if block:
        yield block


def _structure(image: Atoms | RejectError, options: ReadOptions, file: InputFile, index: int) -> Structure | Rejected:
    if isinstance(image, RejectError):
        return Rejected(file.source_file, index, "", image.error, image.message)
    return from_atoms(image, options, file.source_file, index)


def _images(file: InputFile) -> Iterator[Atoms | RejectError]:
    if file.kind == "extxyz":
        with open_plain(file.path, file.compression) as stream:
            yield from read_xyz(stream, str(file.path))
    elif file.kind in ("sdf", "mol"):
        yield from read_sdf(_text(_content(file), file), str(file.path))
    else:
        yield from _ase_images(file)


def _ase_images(file: InputFile) -> Iterator[Atoms]:
    source = _ase_source(file)
    if file.kind in ("db", "json"):
        images = _rows(source, file.kind)
    elif file.kind == "proteindatabank":
        images = read_pdb(_text(_content(file), file))
    else:
        images = _iread(source, file.kind)
    for index in itertools.count():
        try:
            yield next(images)
        except StopIteration:
            return
        except Exception as err:  # ASE's readers raise nearly anything on a file that is not as they expect
            raise InputError(
                f"{file.path} structure {index}: ASE cannot read it as {file.kind} ({type(err).__name__}: {err}); "
                "the file is damaged or of another format"
            ) from err


def _iread(source: Any, kind: str) -> Iterator[Atoms]:
    arguments = {"attach_calculator": True} if kind == "gaussian-in" else {}  # it holds charge and multiplicity
    images: Iterator[Atoms] = ase.io.iread(source, index=":", format=kind, do_not_split_by_at_sign=True, **arguments)
    return images


def _rows(source: Any, kind: str) -> Iterator[Atoms]:
    with ase.db.connect(source, type=kind, serial=True) as database:
        yield from map(row_atoms, database.select())


def _ase_source(file: InputFile) -> Any:
    """Return what ASE's reader takes: the path, or the unpacked content where ASE could not unpack it itself."""
    if not file.compression and file.path.suffix.lower() not in SUFFIXES:
        return str(file.path)
    content = _content(file)
    return BytesIO(content) if ioformats[file.kind].isbinary else StringIO(_text(content, file))


def _content(file: InputFile) -> bytes:
    with open_plain(file.path, file.compression) as stream:
        return stream.read()


def _text(content: bytes, file: InputFile) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as err:
        line = content[: err.start].count(b"\n") + 1
        raise InputError(f"{file.path} line {line}: not UTF-8 text; convert the file, for example with iconv") from None
