"""Files on this computer, and in stores that fsspec knows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from mlipq.errors import InputError
from mlipq.hub.transfer.locations import scheme, shown
from mlipq.hub.transfer.remote import BLOCK, RemoteFile, Reply, TransferError
from mlipq.hub.transfer.stores import CREDENTIALS, needs_credentials, store_at

STORE_BLOCK = 8 << 20
"""Bytes asked for at once from an object store: each block is a request."""


class LocalFile(RemoteFile):
    """A file on this computer."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    @contextmanager
    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[Reply]:
        """Read it."""
        if not self._path.is_file():  # a pipe or a device would be read for ever
            raise TransferError(f"{self.name}: there is no such file", lasting=True)
        with _reading(self.name):
            file = open(self._path, "rb")  # noqa: SIM115 - closed below
        with file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)
            yield Reply(start, size, self._blocks(file, start, size if stop is None else stop))

    def _blocks(self, file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, BLOCK):
            with _reading(self.name):
                block = file.read(min(BLOCK, stop - at))
            yield block


class StoredFile(RemoteFile):
    """A file in a store that fsspec knows, such as S3; credentials are those of the environment."""

    def __init__(self, location: str) -> None:
        self.name = shown(location)
        self._location = location

    @contextmanager
    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[Reply]:
        """Ask for it block by block."""
        store, path = self._opened
        size = None
        if stop is None:  # for a range, one request is enough
            with _reading(self.name):
                stop = size = int(store.info(path)["size"])
        yield Reply(start, size, self._blocks(start, stop))

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The store and the path in it; opened when it is needed, as another mirror may do."""
        try:
            return store_at(self._location)
        except InputError as error:
            raise TransferError(str(error), lasting=True) from None

    def _blocks(self, start: int, stop: int) -> Iterator[bytes]:
        store, path = self._opened
        for at in range(start, stop, STORE_BLOCK):
            with _reading(self.name):
                block: bytes = store.cat_file(path, start=at, end=min(at + STORE_BLOCK, stop))
            yield block


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Name the place in what goes wrong there."""
    try:
        yield
    except (TransferError, InputError):
        raise
    except FileNotFoundError:
        raise TransferError(f"{name}: there is no such file", lasting=True) from None
    except Exception as error:  # each store has errors of its own
        if needs_credentials(error):
            hint = CREDENTIALS if scheme(name) else "change its permissions"
            raise TransferError(f"{name} may not be read: {_reason(error)}; {hint}", lasting=True) from None
        raise TransferError(f"{name} could not be read: {type(error).__name__}: {error}") from error


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
