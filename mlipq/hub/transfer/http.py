"""Files on web servers: ranges, redirects that stay on the web, a token for one host alone."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from mlipq import __version__
from mlipq.hub.transfer.locations import scheme, shown
from mlipq.hub.transfer.remote import BLOCK, RemoteFile, Reply, TransferError, timeout_seconds

TOKEN_SETTING = "MLIPQ_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable: a bearer token for the server that the user, or the catalogue, names."""
HF_TOKEN_SETTING = "HF_TOKEN"  # noqa: S105
"""Hugging Face's own variable, which counts where its hub is the server named."""

MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_TRY_AGAIN = {408, 425, 429}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Http:
    """Connections to web servers, kept for the next request.

    Neither cookies nor passwords of a ``.netrc`` are sent. Proxies are those of the environment (``https_proxy``, ``no_proxy``).

    Parameters
    ----------
    named
        The location that the user or the catalogue named; only its host gets the token.
    connections
        How many are kept to a host.
    """

    def __init__(self, named: str, connections: int) -> None:
        self._connections = connections
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._trusted = _origin(named) if scheme(named) in ("http", "https") else None

    def get(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Return the answer to a GET, redirects followed.

        Raises
        ------
        TransferError
            If there is no answer, or redirects lead in a circle or away from the web.
        """
        name = shown(url)
        for _ in range(MOST_REDIRECTS + 1):
            with answering(name):
                response = self._pool(url).request(
                    "GET",
                    url,
                    headers={**headers, **self._identification(url)},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return response
            response.close()
            url = _followed(name, url, target)
        raise TransferError(
            f"{name}: redirected more than {MOST_REDIRECTS} times; it was not followed further", lasting=True
        )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        host = urlsplit(url).hostname or ""
        proxy = "" if proxy_bypass(host) else getproxies().get(scheme(url), "")
        if proxy not in self._pools:
            self._pools[proxy] = self._made(proxy)
        return self._pools[proxy]

    def _made(self, proxy: str) -> urllib3.PoolManager:
        seconds = timeout_seconds()
        timeout = urllib3.Timeout(connect=min(seconds, 10.0), read=seconds)
        if not proxy:
            return urllib3.PoolManager(maxsize=self._connections, timeout=timeout)
        address = proxy if "://" in proxy else f"http://{proxy}"
        user = urllib3.util.parse_url(address).auth
        headers = urllib3.util.make_headers(proxy_basic_auth=unquote(user)) if user else None
        return urllib3.ProxyManager(address, maxsize=self._connections, timeout=timeout, proxy_headers=headers)

    def _identification(self, url: str) -> dict[str, str]:
        headers = {"User-Agent": f"mlipq/{__version__}", "Accept-Encoding": "identity"}
        token = os.environ.get(TOKEN_SETTING) or (_is_hugging_face(url) and os.environ.get(HF_TOKEN_SETTING))
        if token and _origin(url) == self._trusted and _is_private(url):
            headers["Authorization"] = f"Bearer {token}"
        return headers


class HttpFile(RemoteFile):
    """A file on a web server."""

    def __init__(self, http: Http, url: str) -> None:
        self.name = shown(url)
        self._http = http
        self._url = url
        self._validator = ""  # what the server calls this state of the file: ranges of two states are never mixed

    @contextmanager
    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[Reply]:
        """Ask for bytes ``start`` to ``stop``; where the rest of a file cannot be had, it comes from the start."""
        response = self._request(start, stop)
        if start and stop is None and not _has_range(response, start):
            response.close()
            response = self._request(0, None)
        try:
            first, size = self._accepted(response, start)
            yield Reply(first, size, self._blocks(response))
        finally:
            if response.length_remaining == 0:
                response.drain_conn()  # the connection can be used again
            else:
                response.close()  # the rest is not wanted
            response.release_conn()

    def _request(self, start: int, stop: int | None) -> urllib3.BaseHTTPResponse:
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if self._validator:
                headers["If-Range"] = self._validator
        return self._http.get(self._url, headers)

    def _accepted(self, response: urllib3.BaseHTTPResponse, start: int) -> tuple[int, int | None]:
        """Return which byte the answer starts with, and the size of the file."""
        if response.status not in (200, 206):
            raise self._refusal(response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise TransferError(
                f"{self.name}: expected the file's own bytes, got them compressed on the way", lasting=True
            )
        tag = response.headers.get("ETag", "")
        self._validator = "" if tag.startswith("W/") else tag
        if response.status == 200:
            length = response.headers.get("Content-Length", "")
            return 0, int(length) if length.isdecimal() else None
        first, size = _content_range(response)
        if first != start:
            got = response.headers.get("Content-Range", "no range")
            raise TransferError(f"{self.name}: expected the range from byte {start}, got {got!r}", lasting=True)
        return start, size

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> TransferError:
        status = response.status
        answered = f"{self.name}: answered {status} {response.reason or ''}".rstrip()
        if status in (401, 403):
            answered += f"; if it asks for a token, set {TOKEN_SETTING}, which goes to the host that you name and no other, by https"
        return TransferError(answered, lasting=status < 500 and status not in _TRY_AGAIN)

    def _blocks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        with answering(self.name):
            while block := response.read1(BLOCK):
                yield block


def _content_range(response: urllib3.BaseHTTPResponse) -> tuple[int | None, int | None]:
    """Return the first byte of a range, and the size of the whole."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _has_range(response: urllib3.BaseHTTPResponse, start: int) -> bool:
    """False where a server refuses the range that was asked for, or sends another."""
    return response.status != 416 and (response.status != 206 or _content_range(response)[0] == start)


@contextmanager
def answering(name: str) -> Iterator[None]:
    """Name the server in what goes wrong on the way."""
    try:
        yield
    except urllib3.exceptions.NewConnectionError as error:
        raise TransferError(f"{name}: no connection: {_cause(error)}") from error
    except urllib3.exceptions.TimeoutError as error:
        raise TransferError(f"{name}: nothing came for {timeout_seconds():g} s") from error
    except urllib3.exceptions.SSLError as error:
        raise TransferError(f"{name}: its certificate was not accepted: {_cause(error)}", lasting=True) from error
    except urllib3.exceptions.ProxyError as error:
        raise TransferError(
            f"{name}: no connection to the proxy that the environment names: {_cause(error)}"
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise TransferError(f"{name}: cut off: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """Say what happened, without the address, in which there may be a secret."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, urllib3.exceptions.IncompleteRead):
        return f"{cause.expected:,} bytes too early"
    return getattr(cause, "strerror", None) or type(cause).__name__


def _followed(name: str, url: str, target: str) -> str:
    """Return where a redirect leads, if that is allowed."""
    new = urljoin(url, target)
    allowed = ("https",) if scheme(url) == "https" else ("http", "https")
    if scheme(new) not in allowed or "@" in urlsplit(new).netloc:
        raise TransferError(
            f"{name}: expected the file or a redirect to {' or '.join(allowed)}, got a redirect to {shown(new)!r}; "
            "it was not followed",
            lasting=True,
        )
    return new


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _is_private(url: str) -> bool:
    """True where nobody on the way can read along."""
    return scheme(url) == "https" or urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _is_hugging_face(url: str) -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return _origin(url) == _origin(endpoint)
