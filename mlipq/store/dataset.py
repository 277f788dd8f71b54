"""Many shards read as one dataset, lazily: by row, slice, index list, mask or identity."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import CheckError, InputError
from mlipq.schema import STRUCTURE_ARRAYS, ArraySpec
from mlipq.store.columns import conform, empty_table
from mlipq.store.files import open_shard, read_shard
from mlipq.store.manifest import MANIFEST, Manifest
from mlipq.store.packing import atoms_at, structure_at
from mlipq.store.shard import Shard, damage_named
from mlipq.store.table import Table, offsets_from
from mlipq.structures.structure import Structure, identity_words

Index = int | np.integer | slice | Sequence[int] | NDArray
"""What picks structures: a row (negative from the end), a slice, a list of rows in any order, or a mask."""

OPEN_SHARDS = 8
"""Files that a dataset keeps open at once."""


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
            return Dataset([path], [len(shard)], shard.specs)
    manifest = Manifest.read(path / MANIFEST)
    files = [path / entry.file for entry in manifest.shards]
    listed = {spec.name: spec for spec in manifest.arrays}
    always = {spec.name: spec for spec in STRUCTURE_ARRAYS if not spec.optional and spec.name not in listed}
    specs = {**listed, **always}  # where every structure was refused, the manifest may list no arrays
    return Dataset(files, [entry.n_structures for entry in manifest.shards], specs, manifest)


class Dataset:
    """Structures and labels of one or many shards, read from disk as they are asked for.

    ``ds[17]`` is an :class:`ase.Atoms`, ``for atoms in ds`` streams them, ``ds["gfn1/energy"]`` is a
    :class:`Column`, and :meth:`batch` gives several arrays of the same structures. At most :data:`OPEN_SHARDS` files
    are open at once. Threads may share a dataset; another process, forked or sent it by pickle, opens the files anew.

    Attributes
    ----------
    files
        The shards.
    specs
        Array name to specification, the same for every structure: where shards differ in the type of an ``info/``
        array, it is the type that holds them all (see :mod:`mlipq.store.columns`).
    manifest
        The manifest, or ``None`` for a single shard file.
    """

    def __init__(
        self, files: list[Path], counts: list[int], specs: dict[str, ArraySpec], manifest: Manifest | None = None
    ) -> None:
        self.files = files
        self.specs = specs
        self.manifest = manifest
        self._starts = offsets_from(np.array(counts, dtype=np.int64))
        self._open = _OpenShards()

    def __len__(self) -> int:
        return int(self._starts[-1])

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

    def tables(self) -> Iterator[Table]:
        """Yield the shards one after the other, each whole, checked, and with the arrays of :attr:`specs`."""
        for number, file in enumerate(self.files):
            table = read_shard(file)
            self._check_count(number, len(table))
            with damage_named(file, "the file"):
                table = conform(table, self.specs)
            yield table

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
        wanted = ["atom_offsets", *(self.specs if names is None else names)]
        specs = {name: self._spec(name) for name in wanted}
        rows = _rows(index, len(self))
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        numbers, firsts = np.unique(shard_of[order], return_index=True)
        parts_of_rows = np.split((rows - self._starts[shard_of])[order], firsts[1:])
        parts = []
        for number, local in zip(numbers, parts_of_rows, strict=False):  # no rows are one part of no shard
            with self._shard(int(number)) as shard, damage_named(shard.path, "the file"):
                parts.append(conform(shard.take(local, [name for name in specs if name in shard.specs]), specs))
        table = Table.concatenate(parts) if parts else empty_table(specs)
        return table if np.all(order[1:] > order[:-1]) else table.take(np.argsort(order))

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

    @cached_property
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``: where the atoms of each structure start among the atoms of all shards."""
        counts = [np.empty(0, dtype=np.int64)]
        for number in range(len(self.files)):
            with self._shard(number) as shard:
                counts.append(np.diff(shard.offsets))
        return offsets_from(np.concatenate(counts))

    @cached_property
    def _identities(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        identities = self["identity"][:]
        return identities, np.argsort(identities[:, 0], kind="stable")

    def _spec(self, name: str) -> ArraySpec:
        if name not in self.specs:
            raise InputError(f"this dataset has no array {name!r}; it has {', '.join(self.specs)}")
        return self.specs[name]

    @contextmanager
    def _shard(self, number: int) -> Iterator[Shard]:
        with self._open.shard(self.files[number]) as shard:
            self._check_count(number, len(shard))
            yield shard

    def _check_count(self, number: int, n_structures: int) -> None:
        expected = self._starts[number + 1] - self._starts[number]
        if n_structures != expected:
            file = self.files[number]
            raise CheckError(f"{file} should hold {expected} structures, but holds {n_structures}; restore it")


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
            return cast(NDArray, self._dataset.atom_offsets[index])
        values = self._dataset.take(index, [self.spec.name]).arrays[self.spec.name]
        one = isinstance(index, int | np.integer)
        return cast(NDArray, values[0]) if one and self.spec.level == "structure" else values


class _OpenShards:
    """The shards used last, open; one process and one thread at a time uses them."""

    def __init__(self) -> None:
        self._start_over()

    def __reduce__(self) -> tuple[type["_OpenShards"], tuple[()]]:
        return _OpenShards, ()  # another process opens its own

    def _start_over(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._shards: OrderedDict[Path, Shard] = OrderedDict()

    @contextmanager
    def shard(self, path: Path) -> Iterator[Shard]:
        if self._process != os.getpid():  # after a fork, file positions would be shared with the parent
            self._start_over()
        with self._lock:
            shard = self._shards.pop(path) if path in self._shards else open_shard(path)
            self._shards[path] = shard  # the last one is the most recently used
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)[1].close()
            yield shard


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
