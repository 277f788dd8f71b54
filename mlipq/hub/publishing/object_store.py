"""Publishing to an object store: S3 and what else fsspec can write to."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlipq.errors import IncompleteError, InputError, MlipqError
from mlipq.hub.publishing.targets import BLOCK, StoreTarget, versions_among
from mlipq.hub.refs import DatasetRef, Version
from mlipq.hub.transfer.locations import shown
from mlipq.hub.transfer.stores import CREDENTIALS, needs_credentials, store_at
from mlipq.store.manifest import MANIFEST


class ObjectStoreTarget(StoreTarget):
    """A version in a store that fsspec knows; credentials are those of the environment.

    Parameters
    ----------
    base
        URL of the folder of all datasets, as ``s3://bucket/datasets``.
    ref
        Name and version.

    Raises
    ------
    InputError
        If fsspec does not know such a store, or what it needs is not installed.
    """

    def __init__(self, base: str, ref: DatasetRef) -> None:
        base = base.rstrip("/")
        super().__init__(f"{shown(base)}/{ref.name}/{ref.version}")
        self._dataset_url = f"{base}/{ref.name}"
        self._store, path = store_at(base)
        self._dataset = f"{path.rstrip('/')}/{ref.name}"
        self._folder = f"{self._dataset}/{ref.version}"

    def manifest(self) -> bytes | None:
        """Return the version's manifest, ``None`` where it is not published."""
        with self._told():
            self._store.invalidate_cache()
            try:
                data: bytes = self._store.cat_file(f"{self._folder}/{MANIFEST}")
            except FileNotFoundError:
                return None
            return data

    def versions(self) -> list[Version]:
        """Return all versions of the dataset that are published here."""
        with self._told():
            paths = self._store.glob(f"{self._dataset}/*/{MANIFEST}")
        return versions_among(path.split("/")[-2] for path in paths)

    def manifest_of(self, version: Version) -> str:
        """Return the URL of another version's manifest."""
        return f"{self._dataset_url}/{version}/{MANIFEST}"

    def _sha256(self, file: str) -> str | None:
        with self._told():
            self._store.invalidate_cache()
            try:
                with self._store.open(f"{self._folder}/{file}", "rb", block_size=BLOCK) as opened:
                    return hashlib.file_digest(opened, "sha256").hexdigest()
            except FileNotFoundError:
                return None

    def _send(self, file: str, source: Path) -> None:
        with self._told():
            self._store.put_file(str(source), f"{self._folder}/{file}")

    def _create(self, file: str, data: bytes) -> None:
        path = f"{self._folder}/{file}"
        with self._told():
            try:
                self._store.pipe_file(path, data, mode="create")
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                if self._store.exists(path):  # some S3-compatible stores cannot look and write in one step
                    raise FileExistsError from None
                self._store.pipe_file(path, data)

    def _files(self) -> list[str]:
        with self._told():
            self._store.invalidate_cache()
            return [path.removeprefix(f"{self._folder}/") for path in self._store.find(self._folder)]

    def _remove(self, file: str) -> None:
        with self._told():
            self._store.rm_file(f"{self._folder}/{file}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the place in what goes wrong there."""
        try:
            yield
        except (MlipqError, FileExistsError):
            raise
        except Exception as error:  # each store has errors of its own
            reason = f"{self.where}: {type(error).__name__}: {error}"
            if needs_credentials(error):
                raise InputError(f"{reason}. To be let in and write there, {CREDENTIALS}") from None
            if isinstance(error, FileNotFoundError):
                raise InputError(f"{reason}. Is there such a bucket? mlipq makes none") from None
            raise IncompleteError(f"{reason}. Run the same command again to go on") from None
