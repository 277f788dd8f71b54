"""Where the structures of a dataset are kept: the interface, and shards as one keeping of it."""

import os
import resource
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.schema import ArraySpec
from mlipq.store.columns import conform, empty_table
from mlipq.store.shards.chunks import ChunkCache
from mlipq.store.shards.files import open_shard, whole
from mlipq.store.shards.shard import Shard, damage_named
from mlipq.store.table import Table, offsets_from


def _open_shards() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 128 if soft == resource.RLIM_INFINITY else max(1, min(128, soft // 8))


OPEN_SHARDS = _open_shards()
"""Files that a dataset keeps open at once: to open one costs milliseconds, but a process has other uses for those it may
open, further datasets among them."""


class Rows(ABC):
    """Structures by number, wherever they are kept: what :class:`~mlipq.store.reader.dataset.Dataset` reads from.

    Parameters
    ----------
    counts
        Structures in each shard, in order.
    specs
        Array name to specification.
    """

    def __init__(self, counts: list[int], specs: dict[str, ArraySpec]) -> None:
        self.counts = counts
        self.specs = specs
        self.starts = offsets_from(np.array(counts, dtype=np.int64))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def specs_of(self, names: list[str]) -> dict[str, ArraySpec]:
        """Return the specifications of ``atom_offsets`` and the named arrays."""
        return {name: self.specs[name] for name in ["atom_offsets", *names]}

    @property
    @abstractmethod
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``, read-only: where the atoms of each structure start among the atoms of all shards."""

    @abstractmethod
    def take(self, rows: NDArray[np.int64], names: list[str]) -> Table:
        """Return these structures, in this order, with the named arrays and ``atom_offsets``."""

    @abstractmethod
    def table(self, number: int, names: list[str]) -> Table:
        """Return the structures of one shard, with the named arrays and ``atom_offsets``."""


class ShardRows(Rows):
    """Structures in shard files, read as they are asked for.

    Parameters
    ----------
    files
        The shards: paths, or what else ``opener`` opens.
    opener
        Opens one of ``files``.
    """

    def __init__(
        self,
        files: Sequence[Hashable],
        counts: list[int],
        specs: dict[str, ArraySpec],
        opener: Callable[[Any], Shard] = open_shard,
    ) -> None:
        super().__init__(counts, specs)
        self._files = files
        self._opener = opener
        self._open = _OpenShards()

    def table(self, number: int, names: list[str]) -> Table:
        """Return the structures of one shard, read anew and checked."""
        specs = self.specs_of(names)
        with self._opener(self._files[number]) as shard, damage_named(shard.name, "the file"):
            self._check_count(number, shard)
            return conform(whole(shard, None if specs.keys() == self.specs.keys() else names), specs)

    def take(self, rows: NDArray[np.int64], names: list[str]) -> Table:
        """Return these structures, each shard's together, then put into order."""
        specs = self.specs_of(names)
        shard_of = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        numbers, firsts = np.unique(shard_of[order], return_index=True)
        parts_of_rows = np.split((rows - self.starts[shard_of])[order], firsts[1:])
        parts = []
        for number, local in zip(numbers, parts_of_rows, strict=False):  # no rows are one part of no shard
            with self._shard(int(number)) as shard, damage_named(shard.name, "the file"):
                parts.append(conform(shard.take(local, [name for name in specs if name in shard.specs]), specs))
        table = Table.concatenate(parts) if parts else empty_table(specs)
        return table if np.all(order[1:] > order[:-1]) else table.take(np.argsort(order))

    @cached_property
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``, read-only, from the offsets of every shard."""
        counts = [np.empty(0, dtype=np.int64)]
        for number in range(len(self._files)):
            with self._shard(number) as shard:
                counts.append(np.diff(shard.offsets))
        offsets = offsets_from(np.concatenate(counts))
        offsets.flags.writeable = False  # it is kept, and handed out
        return offsets

    @contextmanager
    def _shard(self, number: int) -> Iterator[Shard]:
        with self._open.shard(self._files[number], self._opener) as shard:
            self._check_count(number, shard)
            yield shard

    def _check_count(self, number: int, shard: Shard) -> None:
        expected = self.counts[number]
        if len(shard) != expected:
            raise CheckError(f"{shard.name} should hold {expected} structures, but holds {len(shard)}; restore it")


class _OpenShards:
    """The shards used last, open; one process and one thread at a time uses them."""

    def __init__(self) -> None:
        self._start_over()

    def __reduce__(self) -> tuple[type["_OpenShards"], tuple[()]]:
        return _OpenShards, ()  # another process opens its own

    def _start_over(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._shards: OrderedDict[Hashable, Shard] = OrderedDict()
        self._chunks = ChunkCache()

    @contextmanager
    def shard(self, file: Hashable, opener: Callable[[Any], Shard]) -> Iterator[Shard]:
        if self._process != os.getpid():  # after a fork, file positions would be shared with the parent
            self._start_over()
        with self._lock:
            shard = self._shards.pop(file) if file in self._shards else opener(file)
            shard.cache = self._chunks
            self._shards[file] = shard  # the last one is the most recently used
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)[1].close()
            yield shard
