"""Opening files wherever they are: here, on a web server, or in a store that fsspec knows."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlipq.hub.transfer.files import LocalFile, StoredFile
from mlipq.hub.transfer.locations import canonical, scheme
from mlipq.hub.transfer.remote import RemoteFile

if TYPE_CHECKING:
    from mlipq.hub.transfer.http import Http


class Transport:
    """Opens files; use as a context manager, which keeps connections for the next file until it ends.

    Parameters
    ----------
    named
        The location that the user named, or the catalogue: the token in ``MLIPQ_TOKEN`` goes to its host and to no other.
    connections
        How many are kept.
    """

    def __init__(self, named: str, connections: int = 8) -> None:
        self._named = named
        self._connections = connections
        self._opened: Http | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            self._opened.close()

    def open(self, location: str) -> RemoteFile:
        """Return the file at a location; nothing is read yet.

        Raises
        ------
        InputError
            If mlipq cannot read from there.
        """
        location = canonical(location)
        kind = scheme(location)
        if kind == "":
            return LocalFile(Path(location))
        if kind in ("http", "https"):
            from mlipq.hub.transfer.http import HttpFile

            return HttpFile(self._http(), location)
        return StoredFile(location)

    def _http(self) -> "Http":
        if self._opened is None:
            from mlipq.hub.transfer.http import Http

            self._opened = Http(self._named, self._connections)
        return self._opened
