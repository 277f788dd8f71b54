"""From what the user typed (files, folders, globs) to the list of files to read."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import InputError
from mlipq.structures.compression import reading
from mlipq.structures.formats import FOLDER_FORMATS, STRUCTURE_SUFFIXES, NotAStructureFileError, detect, plain_name

DATASET_SUFFIXES = {".zarr.zip": b"PK\x03\x04", ".h5": b"\x89HDF"}
"""Suffix of a shard, and the first bytes that it must have."""

MANIFEST = "manifest.json"
"""A folder that holds one is a dataset."""

PLAN = "plan.json"
"""A folder that holds one is the output of a job: not searched when it lies inside an input folder."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of structures, or one dataset.

    Parameters
    ----------
    path
        Where it is.
    source_file
        How shards and ledgers name it, with ``/``: relative to the job's folder, or to the common folder of the inputs.
    kind
        A name of :data:`ase.io.formats.ioformats`, or ``dataset`` for a shard or a folder of shards with a manifest.
    compression
        ``gz``, ``bz2``, ``xz`` or empty.
    """

    path: Path
    source_file: str
    kind: str
    compression: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    anchor: Path | None
    """Folder of an input that was given as an absolute path; ``None`` where it was given relative to the base."""
    kind: str
    compression: str


def find_inputs(inputs: Sequence[str | Path], base: Path) -> list[InputFile]:
    """Find every file that a list of inputs means.

    A folder is searched with all its subfolders for files that hold structures (hidden ones and outputs of other jobs
    are skipped); a glob may hold ``**``. The result is sorted by ``source_file`` and names no file twice.

    Parameters
    ----------
    inputs
        Files, folders, datasets and globs; relative ones count from ``base``.
    base
        Folder of the job file, or the working directory.

    Returns
    -------
    list[InputFile]
        At least one.

    Raises
    ------
    InputError
        If any input does not exist, is empty, cannot be read or holds no structures. All of them are listed.
    """
    found: list[_Found] = []
    problems: list[str] = []
    for item in inputs:
        for path in _matches(str(item), base, problems):
            anchor = (path if path.is_dir() else path.parent) if Path(item).is_absolute() else None
            found.extend(_expand(path, anchor, problems))
    if not inputs:
        problems.append("no input given; name files, folders or globs")
    if problems:
        unique = list(dict.fromkeys(problems))
        raise InputError("\n".join([f"{len(unique)} of the inputs cannot be used; nothing was done:", *unique]))
    return _named(found, base)


def _matches(item: str, base: Path, problems: list[str]) -> list[Path]:
    path = base / item
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(item):
        problems.append(f"{path}: no such file or folder")
        return []
    matches = sorted(glob.glob(item, root_dir=base, recursive=True))  # noqa: PTH207 - Path.glob takes hidden files too
    if not matches:
        problems.append(f"{path}: no file matches this pattern")
    return [base / match for match in matches]


def _expand(path: Path, anchor: Path | None, problems: list[str]) -> Iterator[_Found]:
    try:
        if path.is_dir() and not (path / MANIFEST).is_file():
            yield from _search(path, anchor, problems)
        else:
            yield _identify(path, anchor)
    except (NotAStructureFileError, InputError) as err:
        problems.append(_problem(path, err))


def _identify(path: Path, anchor: Path | None) -> _Found:
    if path.is_dir():
        return _Found(path, anchor, "dataset", "")
    for suffix, magic in DATASET_SUFFIXES.items():
        if path.name.endswith(suffix):
            with reading(path), path.open("rb") as stream:
                if not stream.read(len(magic)).startswith(magic):
                    raise NotAStructureFileError(f"named like a shard (*{suffix}), but damaged or not one")
            return _Found(path, anchor, "dataset", "")
    if not path.is_file():
        raise NotAStructureFileError("no such file" if path.is_symlink() else "not a regular file")
    kind, compression = detect(path)
    return _Found(path, anchor, kind, compression)


def _search(folder: Path, anchor: Path | None, problems: list[str]) -> Iterator[_Found]:
    before = len(problems)
    count = 0
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        here = Path(parent)
        if here != folder and MANIFEST in files and PLAN not in files:
            folders.clear()
            count += 1
            yield _Found(here, anchor, "dataset", "")
            continue
        if here != folder and PLAN in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                found = _candidate(here / name, anchor, problems)
                count += found is not None
                if found is not None:
                    yield found
    problems.extend(f"{err.filename}: the folder cannot be read ({err.strerror})" for err in unreadable)
    if not count and len(problems) == before:
        problems.append(f"{folder}: the folder holds no file with structures")


def _candidate(path: Path, anchor: Path | None, problems: list[str]) -> _Found | None:
    """Identify a file met in a search: other files are passed over, damaged structure files are not."""
    try:
        found = _identify(path, anchor)
    except (NotAStructureFileError, InputError) as err:
        suffix = Path(plain_name(path)).suffix.lower()
        if suffix in STRUCTURE_SUFFIXES or path.name.endswith(tuple(DATASET_SUFFIXES)):
            problems.append(_problem(path, err))
        return None
    return found if found.kind in FOLDER_FORMATS or found.kind == "dataset" else None


def _problem(path: Path, err: Exception) -> str:
    return str(err) if isinstance(err, InputError) else f"{path}: {err}"


def _named(found: list[_Found], base: Path) -> list[InputFile]:
    anchors = {f.anchor for f in found if f.anchor is not None and not f.path.is_relative_to(base)}
    common = Path(os.path.commonpath(anchors)) if anchors else base
    files: dict[Path, InputFile] = {}
    for f in found:
        outside = f.anchor is not None and not f.path.is_relative_to(base)
        name = Path(os.path.relpath(f.path, common if outside else base)).as_posix()
        files.setdefault(f.path.resolve(), InputFile(f.path, name, f.kind, f.compression))
    return sorted(_distinct(list(files.values())), key=lambda file: file.source_file)


def _distinct(files: list[InputFile]) -> list[InputFile]:
    """Give files of the same relative name (one below the base, one elsewhere) their full path as name."""
    uses = Counter(file.source_file for file in files)
    return [
        file if uses[file.source_file] == 1
        else InputFile(file.path, file.path.resolve().as_posix(), file.kind, file.compression)
        for file in files
    ]  # fmt: skip
