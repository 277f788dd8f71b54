"""Shard files of either format, by the suffix of their name: open, read, write."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlipq.errors import CheckError, InputError, MlipqError
from mlipq.store.commit import Json, commit_bytes
from mlipq.store.shards.shard import Shard, check_size, damage_named, listed
from mlipq.store.shards.source import LocalFile
from mlipq.store.shards.validation import table_problems
from mlipq.store.table import Table


def open_shard(path: Path) -> Shard:
    """Open a shard of either format for reading.

    Raises
    ------
    InputError
        If there is no such file, or its name ends neither in ``.zarr.zip`` nor in ``.h5``.
    CheckError
        If the file is damaged, cut off, or not a shard.
    """
    suffix = shard_suffix(path)
    if not path.is_file() and path.exists():
        raise InputError(f"{path} is no file")  # to open a pipe may take for ever
    try:
        file = LocalFile(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from error
    with damage_named(path, "the file"):
        # each library is loaded only for its own format
        if suffix == ".h5":
            from mlipq.store.shards.hdf5_shard import Hdf5Shard

            file.close()
            return Hdf5Shard(path)
        from mlipq.store.shards.zarr_shard import ZarrShard

        return ZarrShard(file)


def write_shard(path: Path, table: Table, attributes: Mapping[str, Json]) -> tuple[int, str]:
    """Write a table as one file, atomically; equal tables and attributes give equal bytes.

    Parameters
    ----------
    path
        Ends in ``.zarr.zip`` or ``.h5``, which chooses the format.
    attributes
        Said of the whole shard, beside ``format`` and ``format_version``.

    Returns
    -------
    tuple[int, str]
        Bytes and SHA-256 of what was written, whatever another writer puts under the same name next.

    Raises
    ------
    CheckError
        If the table does not obey the schema, or a row of it is too large for a chunk; nothing is written.
    IncompleteError, InputError
        If the file cannot be written; nothing is left behind.
    """
    suffix = shard_suffix(path)
    problems = table_problems(table)
    if problems:
        raise CheckError(f"{path} was not written: {listed(problems)}")
    if suffix == ".h5":
        from mlipq.store.shards.hdf5_shard import encode
    else:
        from mlipq.store.shards.zarr_shard import encode
    try:
        check_size(table)
        data = encode(table, attributes)
    except CheckError as error:
        raise CheckError(f"{path} was not written: {error}") from error
    commit_bytes(path, data)
    return len(data), hashlib.sha256(data).hexdigest()


def read_shard(path: Path, names: Sequence[str] | None = None) -> Table:
    """Read a whole shard into memory.

    Parameters
    ----------
    names
        Arrays to read, beside ``atom_offsets``; all by default, and those that the shard lacks are left out.

    Raises
    ------
    InputError
        If there is no such file.
    CheckError
        If it is damaged, cut off or does not obey the schema; the message names file and array.
    """
    with open_shard(path) as shard:
        return whole(shard, names)


def whole(shard: Shard, names: Sequence[str] | None = None) -> Table:
    """Read all of an open shard, or some arrays of it, and check it (see :func:`read_shard`)."""
    table, problems = shard.load(names and [name for name in names if name in shard.specs])
    if problems:
        raise CheckError(f"{shard.name}: {listed(problems)}. Restore the file, or label its partition again.")
    return table


def shard_problems(path: Path) -> list[str]:
    """Return everything that is wrong with a shard, one sentence an item; empty where it is sound."""
    try:
        with open_shard(path) as shard:
            return shard.load()[1]
    except MlipqError as error:
        return [str(error)]


def shard_suffix(path: Path) -> str:
    """Return ``.zarr.zip`` or ``.h5``, or raise an :class:`~mlipq.errors.InputError`."""
    for suffix in (".zarr.zip", ".h5"):
        if path.name.endswith(suffix):
            return suffix
    raise InputError(
        f"{path}: not a dataset: a shard's name ends in .zarr.zip or .h5, and a folder of shards holds a manifest.json"
    )
