"""Stores that fsspec knows, such as S3: opened by URL, and what they refuse said in words."""

import logging
from typing import Any

from mlipq.errors import InputError
from mlipq.hub.transfer.locations import shown

CREDENTIALS = (
    "set the storage's credentials in the environment (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public "
    "bucket: FSSPEC_S3_ANON=true)"
)
"""What to do where a store does not let us in."""

logging.getLogger("gcsfs").addHandler(
    logging.NullHandler()
)  # its errors come to us; it prints their tracebacks besides


def store_at(location: str) -> tuple[Any, str]:
    """Return the store that a URL is in, as fsspec's file system, and the path in it.

    Raises
    ------
    InputError
        If fsspec does not know such a store, what it needs is not installed, or it cannot be opened.
    """
    import fsspec

    name = shown(location)
    try:
        store, path = fsspec.core.url_to_fs(location)
    except ImportError as error:
        raise InputError(
            f"{name}: {error}. Install what reads and writes there:  pip install 'mlipq[remote]'"
        ) from None
    except ValueError as error:
        raise InputError(f"{name}: expected a path, or a URL of http(s), s3, gs, hf …; {error}") from None
    except Exception as error:  # some connect at once, and each has errors of its own
        raise InputError(f"{name} cannot be opened: {type(error).__name__}: {error}") from None
    return store, path


def needs_credentials(error: Exception) -> bool:
    """True where a store has refused for want of credentials, or of the right to do that."""
    return isinstance(error, PermissionError) or "Credentials" in type(error).__name__
