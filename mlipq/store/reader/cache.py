"""Datasets as memory-mapped arrays in the cache folder: made once, found again, listed and removed.

``<cache>/datasets/<key>/`` holds one dataset, or a selection from one. The key follows from the SHA-256 of its shards, from
its arrays, from the rows selected and from the layout of the files: a changed dataset is another entry, a moved one the same. An entry appears whole, by a rename, and a
lock lets one process make it while others wait. Its ``entry.json`` says how large each file is, so that one cut off or
missing is noticed when the entry is opened, and the entry made anew; bytes that change on the disk are not noticed.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from mlipq import resources
from mlipq.errors import IncompleteError, InputError
from mlipq.schema import ArraySpec
from mlipq.store.commit import (
    TEMPORARY_PREFIX,
    check_sha256,
    commit_json,
    committing_folder,
    sha256_file,
    unwritable,
)
from mlipq.store.manifest import Manifest
from mlipq.store.reader.maps import MappedRows, write_arrays
from mlipq.store.reader.rows import Rows
from mlipq.store.reader.select import SelectedRows
from mlipq.store.table import Table

Progress = Callable[[int, int], None]
"""Called with the number of structures done, and of all."""

LAYOUT = 1
"""Number of the arrangement of files in an entry."""

_RECORD = "entry.json"
_KEY = re.compile("[0-9a-f]{32}")


class _Record(BaseModel):
    """What an entry says of itself; written last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    made_from: str
    counts: list[NonNegativeInt]
    arrays: list[ArraySpec]
    files: dict[str, NonNegativeInt]


@dataclass(frozen=True)
class CachedDataset:
    """One entry of the cache.

    Parameters
    ----------
    key
        Name of its folder.
    folder
        Where it is.
    name
        ``name@version`` of the dataset where it is published, else empty.
    made_from
        Folder or file that the dataset was read from when the entry was made.
    structures
        How many it holds.
    bytes
        What its files take on the disk.
    last_used
        Seconds since 1970.
    whole
        False where files are missing or cut off: it will be made anew.
    """

    key: str
    folder: Path
    name: str
    made_from: str
    structures: int
    bytes: int
    last_used: float
    whole: bool


def cached_datasets() -> list[CachedDataset]:
    """Return the entries of the cache, the one used last first."""
    folders = [folder for folder in _root().glob("*/") if _KEY.fullmatch(folder.name)]
    return sorted(filter(None, map(_described, folders)), key=lambda entry: -entry.last_used)


def remove_cached(keys: Iterable[str]) -> None:
    """Remove entries, and what killed processes left; a process that reads one keeps the arrays that it has mapped.

    Raises
    ------
    InputError
        If a key is none, or the cache folder cannot be written to.
    """
    keys = list(keys)
    for key in keys:
        if not _KEY.fullmatch(key):  # nor may it be a path to somewhere else
            raise InputError(f"the key of a dataset in the cache is 32 hex digits, not {key!r}")
    with _writing(_root()):
        _sweep()
        for key in keys:
            with _lock(key):
                _remove(_root() / key)


def cache_key(rows: Rows, files: list[Path], manifest: Manifest | None) -> str:
    """Return the key of a dataset's entry, 32 hex digits: the manifest knows the shards' hashes, a single shard is hashed."""
    return _key(rows, _hashes(files, manifest))


def entry_folder(key: str) -> Path:
    """Return where the entry with this key is, or will be."""
    return _root() / key


def materialised(
    rows: Rows, files: list[Path], path: Path, manifest: Manifest | None, progress: Progress
) -> MappedRows:
    """Return the rows of a dataset, or those selected, from the cache, where they are put first if need be.

    For what it raises see :meth:`mlipq.store.reader.dataset.Dataset.materialise`.
    """
    hashes = _hashes(files, manifest)
    key = _key(rows, hashes)
    folder = _root() / key
    found = _open(folder)
    if found is None:
        with _writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep()
            with _lock(key):
                found = _open(folder)  # made by another process in the meantime?
                if found is None:
                    _remove(folder)
                    name = f"{manifest.name}@{manifest.version}" if manifest and manifest.name else ""
                    _make(folder, rows, _checked_tables(rows, files, hashes, progress), name, path)
                    found = _open(folder)
    if found is None:
        raise IncompleteError(f"{folder} was removed as soon as it was made; run the same command again")
    return found


def _hashes(files: list[Path], manifest: Manifest | None) -> list[str]:
    return [entry.sha256 for entry in manifest.shards] if manifest else [_sha256(file) for file in files]


def _key(rows: Rows, hashes: list[str]) -> str:
    arrays = [asdict(spec) for spec in rows.specs.values()]
    content: dict[str, object] = {"layout": LAYOUT, "shards": hashes, "arrays": arrays}
    if isinstance(rows, SelectedRows):
        content["rows"] = hashlib.sha256(rows.chosen.astype("<i8").tobytes()).hexdigest()
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _root() -> Path:
    return resources.cache() / "datasets"


def _lock(key: str) -> FileLock:
    return FileLock(_root() / f"{key}.lock")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = unwritable(folder, error)
        raise type(said)(f"{said} Or let {resources.CACHE_SETTING} name another cache folder.") from error


def _sha256(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        raise InputError(f"{file} cannot be opened: {error.strerror}") from error


def _read(folder: Path) -> _Record | None:
    """Return what an entry says of itself if it is whole."""
    try:
        record = _Record.model_validate_json((folder / _RECORD).read_bytes(), strict=True)
        sizes = {file: (folder / file).stat().st_size for file in record.files}
    except (OSError, ValidationError):
        return None
    return record if sizes == record.files else None


def _described(folder: Path) -> CachedDataset | None:
    """Describe an entry; ``None`` where another process has just removed it."""
    record = _read(folder)
    try:
        stats = [file.lstat() for top in folder.iterdir() for file in (top, *top.rglob("*"))]
    except FileNotFoundError:
        return None
    return CachedDataset(
        key=folder.name,
        folder=folder,
        name=record.name if record else "",
        made_from=record.made_from if record else "",
        structures=sum(record.counts) if record else 0,
        bytes=sum(stat.st_size for stat in stats),
        last_used=max((stat.st_mtime for stat in stats), default=0.0),
        whole=record is not None,
    )


def _open(folder: Path) -> MappedRows | None:
    record = _read(folder)
    if record is None:
        return None
    with suppress(OSError):  # a cache that others made may be read-only
        os.utime(folder / _RECORD)
    return MappedRows(folder, record.counts, {spec.name: spec for spec in record.arrays})


def _make(folder: Path, rows: Rows, tables: Iterable[Table], name: str, path: Path) -> None:
    with committing_folder(folder) as temporary, _writing(folder):
        write_arrays(temporary, rows.specs, tables)
        record = _Record(
            name=name,
            made_from=str(path.absolute()),
            counts=rows.counts,
            arrays=list(rows.specs.values()),
            files={file.name: file.stat().st_size for file in sorted(temporary.iterdir())},
        )
        commit_json(temporary / _RECORD, record.model_dump(mode="json"))


def _checked_tables(rows: Rows, files: list[Path], hashes: list[str], progress: Progress) -> Iterator[Table]:
    """Read the shards one after the other; none is opened before its hash is found to be the one that it should be."""
    for number, (file, expected) in enumerate(zip(files, hashes, strict=True)):
        if rows.counts[number]:
            check_sha256(file, expected)
            yield rows.table(number, list(rows.specs))
        progress(int(rows.starts[number + 1]), len(rows))


def _remove(folder: Path) -> None:
    """Remove an entry; half removed, it no longer has its name."""
    if folder.exists():
        doomed = folder.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{folder.name}")
        folder.rename(doomed)
        shutil.rmtree(doomed)


def _sweep() -> None:
    """Remove what killed processes left; what another process is making is locked."""
    for left in _root().glob(f"{TEMPORARY_PREFIX}*"):
        key = left.name.rpartition("-")[2]
        with suppress(Timeout), _lock(key).acquire(blocking=False):
            shutil.rmtree(left, ignore_errors=True)
