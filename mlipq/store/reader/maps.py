"""Arrays as ``.npy`` files: written piece by piece, read as memory maps.

A text array is two files: the UTF-8 bytes of all its values, and where each value starts among them.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import CheckError
from mlipq.schema import ArraySpec
from mlipq.store.reader.rows import Rows
from mlipq.store.table import Table, gather, offsets_from


class MappedRows(Rows):
    """Structures in memory-mapped arrays, as :func:`write_arrays` left them in a folder.

    Each file is mapped, read-only, when its array is first asked for.

    Parameters
    ----------
    folder
        Where the files are.
    counts, specs
        As of the tables that were written.
    """

    def __init__(self, folder: Path, counts: list[int], specs: dict[str, ArraySpec]) -> None:
        super().__init__(counts, specs)
        self.folder = folder
        self._files = _array_files(folder, specs)
        self._maps: dict[Path, NDArray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}  # another process maps its own

    @property
    def atom_offsets(self) -> NDArray[np.int64]:
        """``(structures + 1,)``, mapped."""
        return self._map(self._files["atom_offsets"])

    def take(self, rows: NDArray[np.int64], names: list[str]) -> Table:
        """Return these structures, copied out of the maps."""
        return gather(rows, self.atom_offsets, [self.specs[name] for name in names], self._read_rows)

    def table(self, number: int, names: list[str]) -> Table:
        """Return the structures of what was one shard, copied out of the maps."""
        structures = slice(*self.starts[number : number + 2].tolist())
        offsets = self.atom_offsets[structures.start : structures.stop + 1]
        atoms = slice(int(offsets[0]), int(offsets[-1]))
        specs = self.specs_of(names)
        arrays = {"atom_offsets": offsets - offsets[0]}
        for name, spec in specs.items():
            if spec.level != "offsets":
                arrays[name] = self._read_rows(name, atoms if spec.level == "atom" else structures)
        return Table(arrays, specs)

    def _read_rows(self, name: str, rows: NDArray[np.int64] | slice) -> NDArray:
        values = self._map(self._files[name])
        if self.specs[name].dtype == "str":
            return self._texts(name, values, rows)
        return values[rows].copy() if isinstance(rows, slice) else values.take(rows, axis=0)

    def _texts(self, name: str, utf8: NDArray[np.uint8], rows: NDArray[np.int64] | slice) -> NDArray:
        offsets = self._map(_offsets_file(self._files[name]))
        n_rows = self.atom_offsets[-1] if self.specs[name].level == "atom" else len(self)
        starts, ends = (part.reshape(n_rows, *self.specs[name].shape)[rows] for part in (offsets[:-1], offsets[1:]))
        texts = np.empty(starts.size, dtype=object)
        texts[:] = [utf8[start:end].tobytes().decode() for start, end in zip(starts.flat, ends.flat, strict=True)]
        return texts.reshape(starts.shape)

    def _map(self, file: Path) -> NDArray:
        if file not in self._maps:
            try:
                self._maps[file] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise CheckError(f"{file}: removed or changed since materialise(); call it again ({error})") from error
        return self._maps[file]


def write_arrays(folder: Path, specs: Mapping[str, ArraySpec], tables: Iterable[Table]) -> None:
    """Write tables, one after the other, as the arrays of one folder; files are flushed to disk.

    Parameters
    ----------
    folder
        Empty.
    specs
        Array name to specification, the same for every table.

    Raises
    ------
    OSError
        If the disk is full, or the folder cannot be written to.
    """
    with ExitStack() as files:
        writers = {
            name: files.enter_context(_writer(file, specs[name])) for name, file in _array_files(folder, specs).items()
        }
        for table in tables:
            for name, writer in writers.items():
                writer.append(table.arrays[name])


def _array_files(folder: Path, specs: Iterable[str]) -> dict[str, Path]:
    """Number the files: a name may be too long, or differ from another only in case."""
    return {name: folder / f"{number:04d}.npy" for number, name in enumerate(specs)}


def _offsets_file(text_file: Path) -> Path:
    return text_file.with_suffix(".offsets.npy")


def _writer(path: Path, spec: ArraySpec) -> "_Writer":
    if spec.dtype == "str":
        return _TextWriter(path)
    return _OffsetsWriter(path) if spec.level == "offsets" else _Writer(path, spec.dtype, spec.shape)


class _Writer:
    """An ``.npy`` file that grows row by row, flushed to disk at the end."""

    def __init__(self, path: Path, dtype: str, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._row_shape = row_shape
        self._n_rows = 0
        self._file = path.open("xb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()
            self._file.flush()
            os.fsync(self._file.fileno())

    def append(self, values: NDArray) -> None:
        """Write more rows."""
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self._n_rows += len(values)

    def _write_header(self) -> None:
        # NumPy pads it, so that it has the same length whatever the number of rows
        shape = (self._n_rows, *self._row_shape)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class _OffsetsWriter(_Writer):
    """Offsets of parts, written as offsets of the whole."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "i8")
        self._last = 0
        super().append(np.zeros(1, dtype="i8"))

    def append(self, values: NDArray) -> None:
        """Write the offsets of one more part."""
        shifted = values[1:] - values[0] + self._last
        super().append(shifted)
        self._last = int(shifted[-1]) if len(shifted) else self._last


class _TextWriter(_Writer):
    """The bytes of texts, and in a second file their offsets."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "u1")
        self._offsets = _OffsetsWriter(_offsets_file(path))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._offsets:
            super().__exit__(kind, error, trace)

    def append(self, values: NDArray) -> None:
        """Write more texts."""
        encoded = [text.encode() for text in values.flat]
        super().append(np.frombuffer(b"".join(encoded), dtype="u1"))
        self._offsets.append(offsets_from(np.array([len(text) for text in encoded], dtype="i8")))
