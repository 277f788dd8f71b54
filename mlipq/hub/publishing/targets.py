"""Where versions are published: what every place has in common, and folders of this computer.

A version is visible once its ``manifest.json`` is there, which is written last and never replaced.
"""

import hashlib
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from mlipq.errors import CheckError, InputError
from mlipq.hub.refs import DatasetRef, Version
from mlipq.store import commit_bytes, committing, unwritable
from mlipq.store.holding import holding
from mlipq.store.manifest import MANIFEST, FileEntry

BLOCK = 1 << 23
"""Bytes read at once."""

OURS = re.compile(
    r"shards/part-\d{5}\.zarr\.zip|splits/[^/]+\.csv|README\.md|croissant\.json|CITATION\.cff|failures\.csv"
    r"|([^/]+/)?\.tmp-[0-9a-f]{16}"
)
"""What an interrupted publisher may leave; nothing else is ever removed."""


class Target(ABC):
    """The place of one version of a dataset.

    Attributes
    ----------
    where
        What messages call it; without credentials.
    """

    where: str

    def held(self) -> AbstractContextManager[None]:
        """Hold the place for one publisher at a time, where that can be done."""
        return nullcontext()

    @abstractmethod
    def manifest(self) -> bytes | None:
        """Return the version's manifest, ``None`` where it is not published."""

    @abstractmethod
    def versions(self) -> list[Version]:
        """Return all versions of the dataset that are published here."""

    @abstractmethod
    def manifest_of(self, version: Version) -> str:
        """Return where the manifest of another version is: a path or a URL."""

    @abstractmethod
    def put(self, entry: FileEntry, source: Path) -> bool:
        """Bring a file there and read it back; return ``False`` where it was there already.

        Raises
        ------
        CheckError
            If what is read back is something else.
        IncompleteError
            If the place cannot be reached, or is full.
        InputError
            If it may not be written to.
        """

    @abstractmethod
    def finish(self, manifest: bytes, files: set[str]) -> None:
        """Make the version visible, once all of its files are there.

        Parameters
        ----------
        manifest
            The manifest's bytes.
        files
            Names of all other files of the version; what else an interrupted publisher left is removed.

        Raises
        ------
        InputError
            If another publisher was faster.
        """


class StoreTarget(Target):
    """A version among others, as ``<base>/<name>/<version>/``; subclasses say how files are kept.

    Parameters
    ----------
    where
        What messages call the version's folder.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def _sha256(self, file: str) -> str | None:
        """Read a file and return its hash; ``None`` where there is none."""

    @abstractmethod
    def _send(self, file: str, source: Path) -> None:
        """Write a file, in the place of one that may be there."""

    @abstractmethod
    def _create(self, file: str, data: bytes) -> None:
        """Write a file; raise :class:`FileExistsError` where it is there."""

    @abstractmethod
    def _files(self) -> list[str]:
        """Return all files of the version."""

    @abstractmethod
    def _remove(self, file: str) -> None:
        """Remove a file."""

    def put(self, entry: FileEntry, source: Path) -> bool:
        """Bring a file there and read it back, unless it is there (see :meth:`Target.put`)."""
        if self._sha256(entry.file) == entry.sha256:
            return False
        self._send(entry.file, source)
        self._check(entry.file, entry.sha256)
        return True

    def finish(self, manifest: bytes, files: set[str]) -> None:
        """Remove what is left of other attempts, and write the manifest (see :meth:`Target.finish`)."""
        for file in self._files():
            if file not in files and OURS.fullmatch(file):
                self._remove(file)
        try:
            self._create(MANIFEST, manifest)
        except FileExistsError:
            raise InputError(
                f"{self.where}: another publisher wrote this version meanwhile; compare it with yours, or choose the next "
                "version"
            ) from None
        self._check(MANIFEST, hashlib.sha256(manifest).hexdigest())

    def _check(self, file: str, expected: str) -> None:
        found = self._sha256(file)
        if found != expected:
            raise CheckError(
                f"{self.where}/{file} was written and read back: expected sha256 {expected[:16]}…, found "
                f"{found[:16] + '…' if found else 'no such file'}. Run the same command again; if it happens twice, the storage "
                "is not to be trusted, or something else writes there"
            )


class FolderTarget(StoreTarget):
    """A version in a folder of this computer, which a web server may serve.

    Parameters
    ----------
    base
        Folder of all datasets; made if it is not there.
    ref
        Name and version.
    """

    def __init__(self, base: Path, ref: DatasetRef) -> None:
        self._dataset = base / ref.name
        self._folder = self._dataset / str(ref.version)
        super().__init__(str(self._folder))

    def held(self) -> AbstractContextManager[None]:
        """Hold the version's folder, made if it is not there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        return holding(self._folder)

    def manifest(self) -> bytes | None:
        """Return the version's manifest, ``None`` where it is not published."""
        path = self._folder / MANIFEST
        return path.read_bytes() if path.is_file() else None

    def versions(self) -> list[Version]:
        """Return all versions of the dataset that are published here."""
        return versions_among(path.parent.name for path in self._dataset.glob(f"*/{MANIFEST}"))

    def manifest_of(self, version: Version) -> str:
        """Return the path of another version's manifest."""
        return str(self._dataset / str(version) / MANIFEST)

    def _sha256(self, file: str) -> str | None:
        try:
            with open(self._folder / file, "rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def _send(self, file: str, source: Path) -> None:
        path = self._folder / file
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        with committing(path) as there, open(source, "rb") as here:
            shutil.copyfileobj(here, there, BLOCK)

    def _create(self, file: str, data: bytes) -> None:
        if (self._folder / file).exists():
            raise FileExistsError
        commit_bytes(self._folder / file, data)

    def _files(self) -> list[str]:
        return [path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file()]

    def _remove(self, file: str) -> None:
        (self._folder / file).unlink(missing_ok=True)


def versions_among(names: Iterable[str]) -> list[Version]:
    """Return the names that are versions, in their order."""
    versions = []
    for name in names:
        with suppress(InputError):  # something else that lies there
            versions.append(Version.parse(name))
    return sorted(versions)
