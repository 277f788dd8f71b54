"""Compressed input, known by its first bytes rather than its suffix."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mlipq.errors import InputError

_MAGIC = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_OPEN: dict[str, Callable[..., Any]] = {"": open, "gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}

SUFFIXES = {".gz", ".bz2", ".xz"}
"""Suffixes that say nothing about what is inside."""


def compression_of(head: bytes) -> str:
    """Return ``gz``, ``bz2``, ``xz`` or the empty string, by the first bytes of a file."""
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


def open_plain(path: Path, compression: str) -> BinaryIO:
    """Open a file for reading its uncompressed bytes, buffered so that reading by lines is fast."""
    return cast(BinaryIO, io.BufferedReader(_OPEN[compression](path, "rb"), 1 << 18))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged or unreadable file raises into an :class:`InputError` that names it."""
    try:
        yield
    except EOFError:
        raise InputError(f"{path}: the compressed file is truncated; copy or download it again") from None
    except (zlib.error, lzma.LZMAError, gzip.BadGzipFile) as err:
        raise InputError(f"{path}: the compressed file is damaged ({err}); copy or download it again") from None
    except OSError as err:
        raise InputError(f"{path}: cannot be read ({err.strerror or err})") from None
