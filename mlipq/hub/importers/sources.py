"""The files of an import: which they are, and what fingerprint they have."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlipq.errors import InputError
from mlipq.hub.importers.importer import Importer
from mlipq.store import sha256_file


class SourceFile(NamedTuple):
    """A file to read, and the name under which its structures say where they come from."""

    path: Path
    name: str
    bytes: int


def find_files(paths: Sequence[Path], importer: Importer) -> list[SourceFile]:
    """Find the files of a format: those named, and in folders, however deep, those whose names fit its patterns.

    Raises
    ------
    InputError
        If a path does not exist, a folder holds no such file, a file is an archive to be unpacked, or two files would have
        one name.
    """
    found: dict[str, SourceFile] = {}
    for path in paths:
        files = sorted(_inside(path, importer)) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no file of {importer.title} in it ({' or '.join(importer.patterns)})")
        for file in files:
            if _is_archive(file) and not any(map(file.match, importer.patterns)):
                raise InputError(
                    f"{file}: unpack it first; files of {importer.title} are {' or '.join(importer.patterns)}"
                )
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in found and found[name].path.samefile(file):
                continue
            if name in found:
                raise InputError(f"{file} and {found[name].path} have the same name; import them one after the other")
            found[name] = SourceFile(file, name, _size(file))
    return list(found.values())


def _inside(folder: Path, importer: Importer) -> list[Path]:
    return [path for path in folder.rglob("*") if any(map(path.match, importer.patterns)) and path.is_file()]


def _is_archive(path: Path) -> bool:
    return path.suffix in (".zip", ".tar", ".tgz", ".7z") or ".tar." in path.name


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def fingerprint(files: Sequence[SourceFile]) -> str:
    """Return the SHA-256 of one file; of several, that of the list of theirs that ``sha256sum`` prints."""
    if len(files) == 1:
        return sha256_file(files[0].path)
    lines = "".join(f"{sha256_file(file.path)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
