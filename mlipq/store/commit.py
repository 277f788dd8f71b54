"""Files and folders that exist whole or not at all: write under another name, flush to disk, rename."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from mlipq.errors import CheckError, IncompleteError, InputError, MlipqError

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
"""What JSON can say."""

TEMPORARY_PREFIX = ".tmp-"
"""What a killed writer may leave behind starts with this; readers never look at it."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}


@contextmanager
def committing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under ``path``, whole and on disk, when the block ends without an error.

    The bytes go to a unique temporary name in the same folder, so two writers of one path never mix; the last
    rename wins. On an error the temporary file is removed and what stood under ``path`` before is untouched.

    Parameters
    ----------
    path
        Final name; its folder must exist.

    Raises
    ------
    IncompleteError
        If the disk, the quota or the file size limit is full.
    InputError
        If the folder is missing or cannot be written to.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        _remove(temporary)


@contextmanager
def committing_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that appears under ``path``, with all its files, when the block ends without an error.

    Files must be flushed to disk by whoever writes them; the folders are flushed here. The temporary name ends in that of
    ``path``, and on an error it is removed.

    Parameters
    ----------
    path
        Final name: nothing, or an empty folder; its parent must exist.

    Raises
    ------
    IncompleteError
        If the disk, the quota or the file size limit is full.
    InputError
        If the parent is missing or cannot be written to, or something is there already.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{path.name}"
    try:
        temporary.mkdir()
        yield temporary
        for folder in (*(inner for inner in temporary.rglob("*") if inner.is_dir()), temporary):
            sync_folder(folder)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_taken(folder: Path) -> None:
    """Refuse to begin a long work whose folder could not be committed in the end.

    Raises
    ------
    InputError
        If there is anything but an empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; name a folder that does not exist yet")


def commit_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically and durably (see :func:`committing`)."""
    with committing(path) as file:
        file.write(data)


def commit_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON with sorted keys, atomically: equal values give equal bytes.

    Raises
    ------
    ValueError
        If a number is not finite: JSON has no such numbers.
    """
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    commit_bytes(path, text.encode("utf-8") + b"\n")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the file system knows how to."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file that another library wrote to disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, again: str = "label its partition again") -> None:
    """Compare a file with the hash that it should have.

    Parameters
    ----------
    again
        How to make the file again, for the message.

    Raises
    ------
    CheckError
        If it has another one.
    InputError
        If it cannot be read.
    """
    try:
        found = sha256_file(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from error
    if found != expected:
        raise CheckError(
            f"{path}: expected sha256 {expected[:16]}…, found {found[:16]}…; the file was changed or damaged: restore it, "
            f"or {again}"
        )


def unwritable(path: Path, error: OSError) -> MlipqError:
    """Return what to raise where ``path`` could not be written: the cause, and what to do."""
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return IncompleteError(f"{path} was not written: {reason}. Free some space and run the same command again.")
    return InputError(f"{path} cannot be written: {reason}. Choose a folder that exists and can be written to.")


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # a folder that vanished or turned read-only has been reported already
        temporary.unlink(missing_ok=True)
