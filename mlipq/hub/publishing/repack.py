"""Shards of a size that suits downloading, made of a dataset's own."""

from collections.abc import Iterator

import numpy as np

from mlipq.store import Dataset, Table
from mlipq.store.commit import check_sha256

SHARD_BYTES = 32_000_000
"""Of a published shard, about: few enough files for any number of structures, and a part of a dataset is still a small one."""


def repacked(dataset: Dataset, shard_bytes: int = SHARD_BYTES) -> Iterator[Table]:
    """Yield a dataset's structures, in their order, in tables that make shards of about ``shard_bytes``.

    What a table will take on disk is told from the shards it comes from: where these are equal, so are the tables. Small
    shards are joined, larger ones cut into equal parts.

    Parameters
    ----------
    dataset
        A folder with a manifest.
    shard_bytes
        Size of a shard, about.

    Raises
    ------
    CheckError
        If a shard is not the one that the manifest describes.
    """
    pending: list[Table] = []
    size = 0
    for piece, piece_bytes in _pieces(dataset, shard_bytes):
        if pending and size + piece_bytes > shard_bytes:
            yield Table.concatenate(pending)
            pending, size = [], 0
        pending.append(piece)
        size += piece_bytes
    if pending:
        yield Table.concatenate(pending)


def _pieces(dataset: Dataset, shard_bytes: int) -> Iterator[tuple[Table, int]]:
    """Yield the shards, checked against their hashes, cut where they are too large; with the bytes of each piece, about."""
    assert dataset.manifest is not None
    tables = dataset.tables()
    for entry, file in zip(dataset.manifest.shards, dataset.files, strict=True):
        check_sha256(file, entry.sha256, "make its dataset again")
        table = next(tables)
        n_pieces = max(1, min(len(table), -(-entry.bytes // shard_bytes)))
        for rows in np.array_split(np.arange(len(table)), n_pieces):
            if len(rows):
                yield (table if n_pieces == 1 else table.take(rows)), entry.bytes // n_pieces
