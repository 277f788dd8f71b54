"""A dataset read where it is: only the chunks that are asked for come, all that one call needs at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.store.manifest import Manifest, ShardEntry
from mlipq.store.reader.dataset import Dataset
from mlipq.store.reader.opening import specs_of
from mlipq.store.reader.rows import ShardRows
from mlipq.store.reader.splits import Splits
from mlipq.store.shards.shard import damage_named
from mlipq.store.shards.source import ByteSource
from mlipq.store.shards.zarr_shard import ZarrShard
from mlipq.store.shards.zip_entries import Entry
from mlipq.store.table import Table, ragged_rows

Opener = Callable[[], ByteSource]
"""Opens the source of one shard; hashable, and to be sent to other processes if the dataset is."""


def streamed_dataset(
    manifest: Manifest,
    name: str,
    sources: Sequence[Opener],
    read_file: Callable[[str], bytes],
    missing: Sequence[ShardEntry] = (),
) -> "StreamedDataset":
    """Open a dataset whose shards are read as they are asked for, from anywhere.

    Parameters
    ----------
    manifest
        Of the dataset; it lists the shards to open.
    name
        What messages call the dataset: its URL.
    sources
        Openers of the shards, as the manifest lists them; called when a shard is read first.
    read_file
        Returns another file of the dataset, such as a split.
    missing
        Other shards of the dataset.

    Raises
    ------
    InputError
        If a shard is HDF5, whose library can hang on altered files and reads them in many small pieces.
    """
    for entry in manifest.shards:
        if entry.file.endswith(".h5"):
            raise InputError(
                f"{name}: {entry.file} is HDF5, which is never streamed; pull the dataset, and open it then"
            )
    counts = [entry.n_structures for entry in manifest.shards]
    rows = ShardRows(sources, counts, specs_of(manifest), _open_streamed)
    files = [Path(entry.file) for entry in manifest.shards]
    return StreamedDataset(rows, Path(name), files, manifest, missing, Splits(manifest.splits, read_file))


class StreamedDataset(Dataset):
    """A :class:`~mlipq.store.reader.dataset.Dataset` that is not on this machine; it is read in the same ways."""

    def materialise(self, progress: object = None) -> "Dataset":
        """Refuse: what is kept on the disk comes from shards whose hashes were checked, so they are pulled first.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a streamed dataset cannot be materialised: pull it (mlipq data pull …), and open what was pulled"
        )


class StreamedShard(ZarrShard):
    """A Zarr shard far away: :meth:`take` asks for the chunks of all arrays together, not for one after the other."""

    def __init__(self, source: ByteSource) -> None:
        self._ahead: dict[Entry, bytes] = {}
        super().__init__(source)

    def take(self, rows: NDArray[np.int64], names: list[str]) -> Table:
        """Return these structures, in this order, with the named arrays and ``atom_offsets``."""
        with damage_named(self.name, "the file"):
            missing = self._missing(rows, names)
            self._ahead = dict(zip(missing, super()._read_entries(missing), strict=True))
        try:
            return super().take(rows, names)
        finally:
            self._ahead = {}

    def _missing(self, rows: NDArray[np.int64], names: list[str]) -> list[Entry]:
        """Return the chunks of these structures that are not here."""
        starts = self.offsets[rows]
        rows_of = {"structure": rows, "atom": ragged_rows(starts, self.offsets[rows + 1] - starts)}
        missing = []
        for name in (name for name in names if self.specs[name].level in rows_of):
            numbers = np.unique(rows_of[self.specs[name].level] // self.chunk_rows[name]).tolist()
            missing += [self._entry(name, n) for n in numbers if self._chunk_key(name, n) not in self.cache]
        return missing

    def _read_entries(self, entries: Sequence[Entry]) -> list[bytes]:
        if all(entry in self._ahead for entry in entries):
            return [self._ahead[entry] for entry in entries]
        return super()._read_entries(entries)


def _open_streamed(opener: Opener) -> StreamedShard:
    source = opener()
    with damage_named(source.name, "the file"):
        return StreamedShard(source)
