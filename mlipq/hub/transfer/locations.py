"""Locations of files: paths, http(s), s3, gs, hf and whatever else fsspec knows; and what may be shown and followed of them."""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from mlipq.errors import CheckError, InputError

PUBLIC_SCHEMES = {"http", "https", "s3", "gs", "gcs", "hf"}
"""What a manifest from afar may point to; other schemes of fsspec read this computer's own files, or run programs."""

_HALF_A_SCHEME = re.compile(r"(file|https?|s3|gs|gcs|hf):/")
_HF = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<path>.+)")


def scheme(location: str) -> str:
    """Return the scheme of a URL, or ``""`` for a path."""
    return location.partition("://")[0].lower() if "://" in location else ""


def canonical(location: str) -> str:
    """Return a location as it is asked for: an absolute path, or a URL that has no credentials and no ``hf:``.

    Raises
    ------
    InputError
        If a URL has a user or a password in it, or is none that can be opened.
    """
    kind = scheme(location)
    if kind == "":
        if _HALF_A_SCHEME.match(location):
            raise InputError(
                f"{location!r} is neither a path nor a URL; a URL has two slashes: {location.replace(':', ':/', 1)}"
            )
        return str(Path(location).expanduser().absolute())
    try:
        parts = urlsplit(location)
        odd = kind in ("http", "https") and not (parts.hostname and parts.port != 0)
    except ValueError:  # brackets that do not match, a port that is no number
        odd = True
    if odd:
        raise InputError(f"{location.partition('?')[0].rpartition('@')[2]!r} is no URL: expected https://host/path")
    if "@" in parts.netloc and kind != "hf":
        raise InputError(
            f"{shown(location)} was given with a user or a password in it; take them out, and set MLIPQ_TOKEN (for http) or "
            "the storage's own environment variables"
        )
    if kind == "file":
        return unquote(parts.path)
    if kind == "hf":
        return _hugging_face(location)
    return location


def _hugging_face(location: str) -> str:
    found = _HF.fullmatch(location)
    if found is None:
        raise InputError(f"{location}: expected hf://datasets/<organisation>/<name>[@<revision>]/<path>")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    revision = quote(found["revision"] or "main", safe="")
    return f"{endpoint}/datasets/{found['repository']}/resolve/{revision}/{found['path']}"


def shown(location: str) -> str:
    """Return a location as messages and files may show it: without user, password, query and fragment."""
    if scheme(location) == "":
        return location
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def beside(manifest: str, file: str) -> str:
    """Return where a file of the dataset is that lies beside its manifest."""
    if scheme(manifest) == "":
        return str(Path(manifest).parent / file)
    folder = manifest.partition("?")[0].rpartition("/")[0]
    return f"{folder}/{quote(file) if scheme(manifest) in ('http', 'https') else file}"


def pointed_to(manifest: str, url: str) -> str:
    """Return what a URL in a manifest means; one without a scheme starts from the manifest's folder.

    Raises
    ------
    CheckError
        If a manifest from afar points to this computer's own files, or a relative URL leaves the manifest's folder.
    """
    kind = scheme(url)
    if kind == "":
        if url.startswith("/") or ".." in url.split("/") or "\\" in url:
            raise CheckError(
                f"{shown(manifest)}: expected URLs, or paths inside the dataset's folder, got {url!r}; it was not followed. "
                "Tell whoever publishes it."
            )
        return beside(manifest, unquote(url))
    if kind not in PUBLIC_SCHEMES and not (kind == "file" and scheme(manifest) == ""):
        raise CheckError(
            f"{shown(manifest)}: expected URLs of {', '.join(sorted(PUBLIC_SCHEMES))}, got {shown(url)!r}; it was not "
            "followed. Tell whoever publishes it."
        )
    try:
        return canonical(url)
    except InputError as error:
        raise CheckError(f"{shown(manifest)}: {error}; it was not followed. Tell whoever publishes it.") from None
