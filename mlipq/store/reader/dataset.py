"""Many shards read as one dataset, lazily: by row, slice, index list, mask or identity, in parts and in batches."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import ArraySpec
from mlipq.store.commit import sha256_file
from mlipq.store.elements import bits_of
from mlipq.store.manifest import MANIFEST, Manifest, ShardEntry
from mlipq.store.packing import atoms_at, structure_at
from mlipq.store.reader import shuffle
from mlipq.store.reader.cache import Progress, cache_key, entry_folder, materialised
from mlipq.store.reader.column import Column
from mlipq.store.reader.identities import IdentityIndex
from mlipq.store.reader.indexing import Index, one_row, picked_rows
from mlipq.store.reader.maps import MappedRows
from mlipq.store.reader.rows import Rows
from mlipq.store.reader.select import Criteria, SelectedRows, matching
from mlipq.store.reader.splits import NO_SPLITS, Splits
from mlipq.store.splits import Parts
from mlipq.store.table import Table
from mlipq.structures.structure import Structure


class Dataset:
    """Structures and labels of one or many shards, read from disk as they are asked for.

    ``ds[17]`` is an :class:`ase.Atoms`, ``for atoms in ds`` streams them, ``ds["gfn1/energy"]`` is a
    :class:`Column`, :meth:`batch` gives several arrays of the same structures, :meth:`batches` all structures, and
    :meth:`select` a part of them. Few files are open at once. Threads may share a dataset; another process, forked or sent
    it by pickle, opens the files anew.

    Attributes
    ----------
    path
        The folder or file that was opened.
    files
        The shards.
    specs
        Array name to specification, the same for every structure: where shards differ in the type of an ``info/``
        array, it is the type that holds them all (see :mod:`mlipq.store.columns`).
    manifest
        The manifest, or ``None`` for a single shard file. It lists the shards that were opened, no others; all else that it
        says is of the whole dataset.
    missing
        Other shards of the dataset, whose structures are not shown: they were not pulled, or not chosen when it was opened.
    """

    def __init__(
        self,
        rows: Rows,
        path: Path,
        files: list[Path],
        manifest: Manifest | None = None,
        missing: Sequence[ShardEntry] = (),
        splits: Splits = NO_SPLITS,
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        self.path = path
        self.files = files
        self.specs = rows.specs
        self.manifest = manifest
        self.missing = list(missing)
        self._rows = rows
        self._splits = splits
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        what = "structures" if self._numbers is None else "selected structures"
        of = f" of {len(self.files) + len(self.missing)}" if self.missing else ""
        return f"<Dataset: {len(self)} {what} in {len(self.files)}{of} shards, {len(self.specs)} arrays>"

    def __getitem__(self, key: "int | np.integer | str") -> "Atoms | Column":
        if isinstance(key, str):
            return Column(self._rows, self._spec(key))
        return atoms_at(self.take(one_row(key)), 0)

    def __iter__(self) -> Iterator[Atoms]:
        for table in self.tables():
            for row in range(len(table)):
                yield atoms_at(table, row)

    def structure(self, index: int) -> Structure:
        """Return one structure with all it carries (see :func:`~mlipq.store.packing.structure_at`)."""
        return structure_at(self.take(one_row(index)), 0)

    def tables(self, names: Sequence[str] | None = None) -> Iterator[Table]:
        """Yield the shards one after the other, each whole and checked: the fastest way through a dataset.

        Parameters
        ----------
        names
            Arrays to read, beside ``atom_offsets``; all by default.

        Raises
        ------
        InputError
            If there is no such array.
        CheckError
            If a shard is damaged, or not what the manifest says.
        """
        wanted = self._names(names)
        for number in range(len(self._rows.counts)):
            yield self._rows.table(number, wanted)

    def batch(self, index: Index, names: Sequence[str] | None = None) -> dict[str, NDArray]:
        """Return arrays of some structures.

        Parameters
        ----------
        index
            Rows in any order, repeats allowed; a slice; or a mask.
        names
            Arrays to return, all by default.

        Returns
        -------
        dict[str, NDArray]
            The arrays by name, and ``atom_offsets`` of these structures: the atoms of the i-th are rows
            ``atom_offsets[i]`` to ``atom_offsets[i + 1] - 1`` of the atom arrays.

        Raises
        ------
        IndexError
            If a row is out of range.
        InputError
            If there is no such array.
        """
        return self.take(index, names).arrays

    def take(self, index: Index, names: Sequence[str] | None = None) -> Table:
        """Return some structures as a table (see :meth:`batch`)."""
        return self._rows.take(picked_rows(index, len(self)), self._names(names))

    def batches(
        self,
        size: int,
        names: Sequence[str] | None = None,
        seed: int | None = None,
        block: int = shuffle.BLOCK,
        mixed: int = shuffle.MIXED,
    ) -> Iterator[dict[str, NDArray]]:
        """Yield all structures once, in batches: at about the cost of reading in order, in random order with a ``seed``.

        Blocks of consecutive structures are read in random order, ``mixed`` of them at a time, and the structures of these
        blocks come in random order (see :mod:`mlipq.store.reader.shuffle`). A dataset of up to ``block * mixed`` structures is
        shuffled throughout.

        Parameters
        ----------
        size
            Structures in a batch; in the last one those that are left.
        names
            Arrays to return, all by default.
        seed
            Another one for each epoch; the same one gives the same batches. Without it all are in order.
        block
            Structures in a block: more of them cost fewer bytes.
        mixed
            Blocks that are mixed, and in memory together: more of them come closer to an order that is random throughout.

        Raises
        ------
        InputError
            If there is no such array, or a number is too small.

        Examples
        --------
        >>> for epoch in range(100):  # doctest: +SKIP
        ...     for batch in ds.batches(256, ["atomic_numbers", "positions", "gfn1/energy"], seed=epoch):
        ...         step(batch)
        """
        wanted = self._names(names)
        tables = shuffle.batches(lambda rows: self._rows.take(rows, wanted), len(self), size, block, mixed, seed)
        return (table.arrays for table in tables)

    def select(
        self,
        *,
        contains: str | Sequence[str] | None = None,
        only: str | Sequence[str] | None = None,
        max_atoms: int | None = None,
        quality: int | None = None,
        split: str | None = None,
    ) -> "Dataset":
        """Return the structures that meet all conditions, as a dataset; nothing is copied.

        Only the arrays that decide are read, at most ``elements``, ``atom_offsets``, ``quality`` and ``identity``, and none
        of a shard that cannot have such structures by the elements that the manifest lists.

        Parameters
        ----------
        contains
            Symbols of elements that must all occur, or one.
        only
            Symbols of elements besides which none may occur.
        max_atoms
            Atoms at most.
        quality
            Bits of :class:`~mlipq.schema.Flag` that a structure may carry: any other flag leaves it out, and with 0 every
            flag does.
        split
            Part of a split, as ``"test"`` where the dataset has one split, else ``"name/test"``.

        Raises
        ------
        InputError
            If a symbol is no element, or there is no such split or part.
        CheckError
            If a shard is damaged, or the split is not what the manifest says.

        Examples
        --------
        >>> ds.select(contains=["Fe", "C"], max_atoms=50)  # doctest: +SKIP
        >>> ds.select(only=["H", "C", "O"], quality=0, split="train")  # doctest: +SKIP
        """
        criteria = Criteria(
            contains=None if contains is None else bits_of(_symbols(contains)),
            only=None if only is None else bits_of(_symbols(only)),
            max_atoms=max_atoms,
            quality=quality,
            split=None if split is None else self._splits.part(split),
        )
        elements = [entry.elements for entry in self.manifest.shards] if self.manifest else None
        chosen = matching(self._rows, criteria, elements)
        return self._of(SelectedRows(self._rows, chosen), self.rows[chosen])

    @property
    def rows(self) -> NDArray[np.int64]:
        """``(structures,)``: which rows these are of the dataset that was opened; a selection has some of them."""
        return np.arange(len(self)) if self._numbers is None else self._numbers

    def split(self, name: str) -> Parts:
        """Return a fixed split: which structures belong to which part (see :mod:`mlipq.store.splits`).

        Raises
        ------
        InputError
            If the dataset has no such split, or its file is missing.
        CheckError
            If the file is not the one that the manifest means.
        """
        return self._splits[name]

    def materialise(self, progress: Progress = lambda done, total: None) -> "Dataset":
        """Return the same dataset as memory-mapped arrays in the cache folder: rows at disk speed, larger than memory.

        The arrays are made once, shard by shard, each checked against its hash in the manifest; later calls, also from
        other processes, open them in milliseconds. They stay until ``mlipq cache clear`` removes them
        (see :mod:`mlipq.store.reader.cache`). Of a selection its own structures are written, no others.

        Parameters
        ----------
        progress
            Called after each shard with the number of structures written, and of all.

        Raises
        ------
        CheckError
            If a shard is not what the manifest says.
        IncompleteError
            If the disk is full; nothing is left on it.
        InputError
            If the cache folder cannot be written to.

        Examples
        --------
        >>> ds = open_dataset("out/").materialise()  # doctest: +SKIP
        >>> ds.batch([3, 99, 7], ["positions", "gfn1/forces"])  # doctest: +SKIP
        """
        if self._mapped:
            return self
        return self._of(materialised(self._rows, self.files, self.path, self.manifest, progress), self._numbers)

    @property
    def sha256(self) -> str:
        """Hash of the manifest, which has those of all shards; or of the one shard file that was opened."""
        return sha256_file(self.path / MANIFEST if self.manifest else self.files[0])

    @property
    def cache_key(self) -> str:
        """Name of the dataset's entry in the cache (see :meth:`materialise`)."""
        return self._mapped.folder.name if self._mapped else cache_key(self._rows, self.files, self.manifest)

    @property
    def cache_folder(self) -> Path:
        """Folder of the dataset's entry in the cache; what else is put there is listed and cleared with it."""
        return self._mapped.folder if self._mapped else entry_folder(self.cache_key)

    def find(self, identity: bytes | str) -> int | None:
        """Return the row of the structure with this identity (16 bytes, or 32 hex digits), or ``None``.

        Raises
        ------
        InputError
            If it is not an identity.
        """
        return self._index.row(identity)

    @property
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``, read-only: where the atoms of each structure start among the atoms of all shards."""
        return self._rows.atom_offsets

    @cached_property
    def _index(self) -> IdentityIndex:
        return IdentityIndex(self._rows.take(np.arange(len(self)), ["identity"]).arrays["identity"])

    @property
    def _mapped(self) -> MappedRows | None:
        """Where the arrays are memory-mapped, also for a selection from such a dataset."""
        rows = self._rows.parent if isinstance(self._rows, SelectedRows) else self._rows
        return rows if isinstance(rows, MappedRows) else None

    def _of(self, rows: Rows, numbers: NDArray[np.int64] | None) -> "Dataset":
        """Return the same dataset with its structures, or some of them, kept otherwise."""
        return type(self)(rows, self.path, self.files, self.manifest, self.missing, self._splits, numbers)

    def _names(self, names: Sequence[str] | None) -> list[str]:
        return list(self.specs) if names is None else [self._spec(name).name for name in names]

    def _spec(self, name: str) -> ArraySpec:
        if name not in self.specs:
            raise InputError(f"this dataset has no array {name!r}; it has {', '.join(self.specs)}")
        return self.specs[name]


def _symbols(elements: str | Sequence[str]) -> Sequence[str]:
    return [elements] if isinstance(elements, str) else elements
