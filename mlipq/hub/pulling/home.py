"""Pulled versions on this computer: ``<home>/<name>/<version>/``, whole or in part.

A file under its own name is complete, its hash was checked when it came. What is still coming lies in ``.partial/``. ``pulled.json`` says where the version was pulled from and which manifest it has.
"""

import hashlib
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from mlipq import resources
from mlipq.errors import CheckError, InputError
from mlipq.hub.refs import DatasetRef, Version
from mlipq.store import Manifest, commit_bytes, commit_json, sha256_file, unwritable
from mlipq.store.manifest import MANIFEST, PULLED, FileEntry, Sha256

PARTIAL = ".partial"
"""Folder, inside that of a version, of what is still coming."""


class PulledFrom(BaseModel):
    """Where a folder was pulled from: a path, or a URL without credentials; and its manifest's hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    location: str
    manifest_sha256: Sha256


def folder_of(ref: DatasetRef) -> Path:
    """Return the folder of a version."""
    return resources.data_home() / ref.name / str(ref.version)


def pulled_refs() -> Iterator[DatasetRef]:
    """Yield the versions that were pulled, whole or in part; by name, the latest of each first."""
    names = sorted(path.parent.parent.name for path in resources.data_home().glob(f"*/*/{PULLED}"))
    for name in dict.fromkeys(names):
        yield from (DatasetRef(name, version) for version in sorted(_versions(name), reverse=True))


def latest_pulled(ref: DatasetRef) -> DatasetRef | None:
    """Return the reference with its version, where it was pulled; the latest one, where ``ref`` says none."""
    versions = [version for version in _versions(ref.name) if ref.version in (None, version)]
    return DatasetRef(ref.name, max(versions)) if versions else None


def pulled_from(location: str) -> DatasetRef | None:
    """Return the version that was pulled from a manifest at this location (as messages show it), if any was."""
    return next(
        (ref for ref in pulled_refs() if (found := record_of(folder_of(ref))) and found.location == location), None
    )


def record_of(folder: Path) -> PulledFrom | None:
    """Return what a pulled folder says of itself; ``None`` where it is none, or was left half made."""
    try:
        return PulledFrom.model_validate_json((folder / PULLED).read_bytes(), strict=True)
    except (OSError, ValidationError):
        return None


def manifest_of(folder: Path) -> Manifest | None:
    """Return the manifest of a pulled folder; ``None`` where it is none, or the manifest is not the one that was pulled."""
    record, path = record_of(folder), folder / MANIFEST
    if record is None or not path.is_file() or sha256_file(path) != record.manifest_sha256:
        return None
    return Manifest.read(path)


def shards_here(folder: Path, manifest: Manifest) -> int:
    """Return how many shards of a pulled version are there."""
    return len(manifest.shards) - len(missing(folder, manifest.shards, hashed=False))


@contextmanager
def held(ref: DatasetRef) -> Iterator[Path]:
    """Hold a version's folder, made if need be: one process at a time fills it, others wait.

    Raises
    ------
    InputError
        If it cannot be written to.
    """
    folder = folder_of(ref)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, ref)
        (folder / PARTIAL).mkdir(parents=True, exist_ok=True)  # now: who held it before has tidied up
    except OSError as error:
        hint = f"Or let {resources.DATA_HOME_SETTING} name another folder for pulled datasets."
        said = unwritable(folder, error)
        raise type(said)(f"{said} {hint}") from error
    try:
        yield folder
    finally:
        lock.release()


def _acquire(lock: FileLock, ref: DatasetRef) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        warnings.warn(f"another process is pulling {ref}; waiting for it", stacklevel=2)
        lock.acquire()


def settle(ref: DatasetRef, folder: Path, location: str, data: bytes) -> None:
    """Write the manifest of a version, and where it came from, if they are not there.

    Raises
    ------
    CheckError
        If the folder has another manifest of the same version.
    """
    manifest_sha256 = hashlib.sha256(data).hexdigest()
    record = PulledFrom(location=location, manifest_sha256=manifest_sha256)
    there = record_of(folder)
    if there is not None and there.manifest_sha256 != manifest_sha256:
        raise CheckError(
            f"{folder}: expected {ref} with the manifest of sha256 {manifest_sha256[:16]}…, as {location} has it, but what is "
            f"there was pulled from {there.location} and has {there.manifest_sha256[:16]}…. A version never changes, so one of "
            "them is not what it says; if it is the one in the folder, remove the folder and pull again"
        )
    if there is None:
        commit_json(
            folder / PULLED, record.model_dump(mode="json")
        )  # first: a folder killed now is known as a partial one
    if not (folder / MANIFEST).is_file() or sha256_file(folder / MANIFEST) != manifest_sha256:
        commit_bytes(folder / MANIFEST, data)


def check_names(manifest: Manifest, name: str) -> None:
    """Refuse files of a version that would take the place of its own bookkeeping.

    Raises
    ------
    CheckError
        If there is such a file.
    """
    for entry in all_entries(manifest):
        if entry.file in (MANIFEST, PULLED) or entry.file.startswith("."):
            raise CheckError(f"{name}: a file of a dataset may not be called {entry.file!r}; nothing was pulled")


def all_entries(manifest: Manifest) -> list[FileEntry]:
    """Return all files that a manifest lists: shards, then splits and documents."""
    return [*manifest.shards, *manifest.splits.values(), *manifest.documents]


def missing(folder: Path, entries: Iterable[FileEntry], *, hashed: bool) -> list[FileEntry]:
    """Return the files that are not there, have another size, or, where asked, another hash."""
    return [entry for entry in entries if not _is_there(folder / entry.file, entry, hashed)]


def partial_of(folder: Path, entry: FileEntry) -> Path:
    """Return where the bytes of a file are gathered: each has a place of its own, also where two have the same content."""
    return folder / PARTIAL / quote(entry.file, safe="")


def tidy(folder: Path) -> None:
    """Remove the folder of what is still coming, if nothing is."""
    with suppress(OSError):
        (folder / PARTIAL).rmdir()


def size_of(path: Path) -> int:
    """Return the bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def free_bytes(folder: Path) -> int:
    """Return how much room there is on the folder's disk."""
    return shutil.disk_usage(folder).free


def _is_there(path: Path, entry: FileEntry, hashed: bool) -> bool:
    if not path.is_file() or path.stat().st_size != entry.bytes:
        return False
    return not hashed or sha256_file(path) == entry.sha256


def _versions(name: str) -> list[Version]:
    versions = []
    for path in (resources.data_home() / name).glob(f"*/{PULLED}"):
        try:
            versions.append(Version.parse(path.parent.name))
        except InputError:  # something else that the user keeps there
            continue
    return versions
