"""Many shards read as one dataset, lazily: by row, slice, index list, mask or identity."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import STRUCTURE_ARRAYS, ArraySpec
from mlipq.store.cache import Progress, cache_key, materialised
from mlipq.store.files import open_shard
from mlipq.store.manifest import MANIFEST, Manifest
from mlipq.store.maps import MappedRows
from mlipq.store.packing import atoms_at, structure_at
from mlipq.store.rows import ShardRows
from mlipq.store.table import Table
from mlipq.structures.structure import Structure, identity_words

Index = int | np.integer | slice | Sequence[int] | NDArray
"""What picks structures: a row (negative from the end), a slice, a list of rows in any order, or a mask."""


def open_dataset(path: str | Path) -> "Dataset":
    """Open a dataset: a folder with ``manifest.json``, or one shard file.

    Parameters
    ----------
    path
        The folder or the file (``.zarr.zip``, ``.h5``).

    Raises
    ------
    InputError
        If there is nothing there, or a folder without a manifest.
    CheckError
        If the manifest or the shard is not valid.

    Examples
    --------
    >>> ds = open_dataset("out/")  # doctest: +SKIP
    >>> ds[17].info["gfn1_energy"], ds["gfn1/energy"][:100].mean()  # doctest: +SKIP
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} cannot be opened: no such file or folder")
    if not path.is_dir():
        with open_shard(path) as shard:
            return Dataset(ShardRows([path], [len(shard)], shard.specs), path, [path])
    manifest = Manifest.read(path / MANIFEST)
    files = [path / entry.file for entry in manifest.shards]
    listed = {spec.name: spec for spec in manifest.arrays}
    always = {spec.name: spec for spec in STRUCTURE_ARRAYS if not spec.optional and spec.name not in listed}
    specs = {**listed, **always}  # where every structure was refused, the manifest may list no arrays
    rows = ShardRows(files, [entry.n_structures for entry in manifest.shards], specs)
    return Dataset(rows, path, files, manifest)


class Dataset:
    """Structures and labels of one or many shards, read from disk as they are asked for.

    ``ds[17]`` is an :class:`ase.Atoms`, ``for atoms in ds`` streams them, ``ds["gfn1/energy"]`` is a
    :class:`Column`, and :meth:`batch` gives several arrays of the same structures. Few files are open at once. Threads
    may share a dataset; another process, forked or sent it by pickle, opens the files anew.

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
        The manifest, or ``None`` for a single shard file.
    """

    def __init__(
        self, rows: ShardRows | MappedRows, path: Path, files: list[Path], manifest: Manifest | None = None
    ) -> None:
        self.path = path
        self.files = files
        self.specs = rows.specs
        self.manifest = manifest
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Dataset: {len(self)} structures in {len(self.files)} shards, {len(self.specs)} arrays>"

    def __getitem__(self, key: "int | np.integer | str") -> "Atoms | Column":
        if isinstance(key, str):
            return Column(self, self._spec(key))
        return atoms_at(self.take(_row(key)), 0)

    def __iter__(self) -> Iterator[Atoms]:
        for table in self.tables():
            for row in range(len(table)):
                yield atoms_at(table, row)

    def structure(self, index: int) -> Structure:
        """Return one structure with all it carries (see :func:`~mlipq.store.packing.structure_at`)."""
        return structure_at(self.take(_row(index)), 0)

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
        for number in range(len(self.files)):
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
        return self._rows.take(_rows(index, len(self)), self._names(names))

    def materialise(self, progress: Progress = lambda done, total: None) -> "Dataset":
        """Return the same dataset as memory-mapped arrays in the cache folder: rows at disk speed, larger than memory.

        The arrays are made once, shard by shard, each checked against its hash in the manifest; later calls, also from
        other processes, open them in milliseconds. They stay until ``mlipq cache clear`` removes them
        (see :mod:`mlipq.store.cache`).

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
        if isinstance(self._rows, MappedRows):
            return self
        rows = materialised(self._rows, self.path, self.manifest, progress)
        return Dataset(rows, self.path, self.files, self.manifest)

    @property
    def cache_key(self) -> str:
        """Name of the dataset's entry in the cache (see :meth:`materialise`)."""
        return self._rows.folder.name if isinstance(self._rows, MappedRows) else cache_key(self._rows, self.manifest)

    def find(self, identity: bytes | str) -> int | None:
        """Return the row of the structure with this identity (16 bytes, or 32 hex digits), or ``None``.

        Raises
        ------
        InputError
            If it is not an identity.
        """
        try:
            digest = bytes.fromhex(identity) if isinstance(identity, str) else bytes(identity)
        except ValueError:
            digest = b""
        if len(digest) != 16:
            raise InputError(f"an identity is 16 bytes or 32 hex digits, not {identity!r}")
        words = identity_words(digest)
        identities, order = self._identities
        first = np.searchsorted(identities[:, 0], words[0], side="left", sorter=order)
        last = np.searchsorted(identities[:, 0], words[0], side="right", sorter=order)
        matches = [int(row) for row in order[first:last] if identities[row, 1] == words[1]]
        return min(matches, default=None)

    @property
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``, read-only: where the atoms of each structure start among the atoms of all shards."""
        return self._rows.atom_offsets

    @cached_property
    def _identities(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        identities = self["identity"][:]
        return identities, np.argsort(identities[:, 0], kind="stable")

    def _names(self, names: Sequence[str] | None) -> list[str]:
        return list(self.specs) if names is None else [self._spec(name).name for name in names]

    def _spec(self, name: str) -> ArraySpec:
        if name not in self.specs:
            raise InputError(f"this dataset has no array {name!r}; it has {', '.join(self.specs)}")
        return self.specs[name]


class Column:
    """One array of a dataset, indexed by structure.

    Of an array with one row a structure, ``column[i]`` is the value of structure ``i``, and a slice, list or mask gives
    ``(structures, …)``. Of an array with one row an atom, ``column[i]`` is ``(atoms of i, …)``, and a slice, list or
    mask gives the rows of these structures one after the other; :meth:`Dataset.batch` tells them apart.
    ``ds["atom_offsets"]`` is indexed as the array it is, of one row more than there are structures.
    """

    def __init__(self, dataset: Dataset, spec: ArraySpec) -> None:
        self.spec = spec
        self._dataset = dataset

    def __repr__(self) -> str:
        return f"<Column {self.spec.name}: {self.spec.level} {self.spec.dtype} {self.spec.shape} {self.spec.unit}>"

    def __len__(self) -> int:
        return len(self._dataset) + (self.spec.level == "offsets")

    def __getitem__(self, index: Index) -> NDArray:
        if self.spec.level == "offsets":
            return cast(NDArray, self._dataset.atom_offsets[index].copy())
        values = self._dataset.take(index, [self.spec.name]).arrays[self.spec.name]
        one = isinstance(index, int | np.integer)
        return cast(NDArray, values[0]) if one and self.spec.level == "structure" else values


def _row(index: object) -> list[int]:
    if isinstance(index, bool | np.bool_) or not isinstance(index, int | np.integer):
        raise TypeError(f"a structure is picked by a whole number, not {index!r}; for several use batch, or a column")
    return [int(index)]


def _rows(index: Index, n: int) -> NDArray[np.int64]:
    """Return the rows that an index picks among ``n``, none negative."""
    if isinstance(index, slice):
        return np.arange(n)[index]
    if isinstance(index, bool | np.bool_):
        raise IndexError(f"a row, slice, list of rows or mask was expected, not {index!r}")
    picked = np.atleast_1d(np.asarray(index))
    if picked.dtype == bool and picked.shape == (n,):
        return np.flatnonzero(picked)
    if picked.size == 0:
        return np.empty(0, dtype=np.int64)
    if picked.ndim != 1 or picked.dtype.kind not in "iu":
        got = f"{picked.dtype} {picked.shape}"
        raise IndexError(f"rows should be whole numbers in one list, or a mask of {n}; not {got}")
    out = (picked < -n) | (picked >= n)
    if out.any():
        raise IndexError(f"row {picked[out][0]} is out of range: there are {n} structures")
    return np.where(picked < 0, picked + n, picked).astype(np.int64)
