"""Ways to keep labelled structures for training, each as its own documentation and its users advise.

All take the same tables, and return the same arrays: those of one batch of structures, one after the other, with
``atom_offsets``. Libraries are imported where a contestant needs them, because the time to the first batch is measured.
"""

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import KNOWN_ARRAYS

if TYPE_CHECKING:
    from ase import Atoms
    from ase.db.row import AtomsRow

    from mlipq.store import Table

TRAINING = (
    "atomic_numbers",
    "positions",
    "charge",
    "multiplicity",
    "gfn1/energy",
    "gfn1/forces",
    "gfn1/atomic_charges",
    "gfn1/orbital_charges",
    "gfn1/orbital_moments",
    "gfn1/dipole",
)
"""What every contestant stores and returns, beside ``atom_offsets``."""

PER_ATOM = {name for name in TRAINING if KNOWN_ARRAYS[name].level == "atom"}

CACHE_BYTES = 64 << 20
"""What each contestant may keep in memory of what it has read."""

ORDERED_BATCH = 1024
"""Structures that those who hold structures one by one join at once in an ordered epoch."""

Arrays = dict[str, NDArray]
Molecule = dict[str, Any]
"""The arrays of one structure."""


class Contestant(Protocol):
    """One way to keep structures.

    ``convert`` writes tables under a path, ``open`` makes the path ready for ``batch`` and ``epoch``.
    """

    name: str

    def convert(self, tables: Iterable["Table"], path: Path) -> None: ...

    def open(self, path: Path) -> None: ...

    def batch(self, rows: NDArray[np.int64]) -> Arrays: ...

    def epoch(self) -> Iterator[Arrays]: ...


class Mlipq:
    """mlipq's shards, read lazily: at most 64 MB of decoded chunks are kept."""

    def __init__(self, name: str, suffix: str) -> None:
        self.name = name
        self._suffix = suffix

    def convert(self, tables: Iterable["Table"], path: Path) -> None:
        from benchmarks.storage.structures import write_dataset

        write_dataset(tables, path, self._suffix)

    def open(self, path: Path) -> None:
        from mlipq import open_dataset

        self._dataset = open_dataset(path)

    def batch(self, rows: NDArray[np.int64]) -> Arrays:
        return self._dataset.batch(rows, TRAINING)

    def epoch(self) -> Iterator[Arrays]:
        for table in self._dataset.tables(TRAINING):
            yield table.arrays


class Materialised(Mlipq):
    """mlipq's memory-mapped arrays, of shards that are there; ``MLIPQ_CACHE`` says where."""

    def convert(self, tables: Iterable["Table"], path: Path) -> None:
        from mlipq import open_dataset

        open_dataset(path).materialise()

    def open(self, path: Path) -> None:
        super().open(path)
        self._dataset = self._dataset.materialise()


class OneByOne:
    """What is the same for all that hold structures one by one."""

    def batch(self, rows: NDArray[np.int64]) -> Arrays:
        return joined([self.molecule(row) for row in rows.tolist()])

    def epoch(self) -> Iterator[Arrays]:
        molecules = self.molecules()
        while some := list(islice(molecules, ORDERED_BATCH)):
            yield joined(some)

    def molecule(self, row: int) -> Molecule:
        raise NotImplementedError

    def molecules(self) -> Iterator[Molecule]:
        raise NotImplementedError


class ExtXyz(OneByOne):
    """One uncompressed extended XYZ file, read with ASE; for random access an index of where frames start.

    Floats are written with all the digits that they have, so that the values are the same; ``ase.io.write`` would
    write 8 decimals.
    """

    name = "extxyz (ASE)"

    def convert(self, tables: Iterable["Table"], path: Path) -> None:
        from ase import Atoms

        from mlipq.store.exporters.frames import frame_text

        starts = [0]
        with path.open("wb") as file:
            for molecule in molecules_of(tables):
                atoms = Atoms(molecule.pop("atomic_numbers"), molecule.pop("positions"))
                for name, values in molecule.items():
                    (atoms.arrays if name in PER_ATOM else atoms.info)[_key(name)] = values
                starts.append(starts[-1] + file.write(frame_text(atoms, None, None).encode()))
        np.save(path.with_suffix(".index.npy"), starts)

    def open(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._starts = np.load(path.with_suffix(".index.npy"))

    def molecule(self, row: int) -> Molecule:
        from ase.io.extxyz import read_xyz

        self._file.seek(self._starts[row])
        text = self._file.read(self._starts[row + 1] - self._starts[row]).decode()
        return self._of_atoms(next(read_xyz(StringIO(text), slice(0, 1))))

    def molecules(self) -> Iterator[Molecule]:
        from ase.io import iread

        return map(self._of_atoms, iread(self._path, index=":", format="extxyz"))

    def _of_atoms(self, atoms: "Atoms") -> Molecule:
        own = {"atomic_numbers": atoms.numbers, "positions": atoms.positions}
        carried = {name: (atoms.arrays if name in PER_ATOM else atoms.info)[_key(name)] for name in TRAINING[2:]}
        return own | carried


class AseDatabase(OneByOne):
    """A database of ASE, written in one transaction, and read row by row without making ``Atoms``.

    As in SchNetPack, numbers and positions stand in columns of their own, the rest in ``data``, where float32 stays float32.
    """

    _writing: dict[str, Any] = {"use_lock_file": False}
    _reading: dict[str, Any] = {"use_lock_file": False}

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind

    def convert(self, tables: Iterable["Table"], path: Path) -> None:
        from ase import Atoms
        from ase.db import connect

        with connect(path, type=self._kind, **self._writing) as database:
            for molecule in molecules_of(tables):
                atoms = Atoms(molecule.pop("atomic_numbers"), molecule.pop("positions"))
                database.write(atoms, data={_key(name): value for name, value in molecule.items()})

    def open(self, path: Path) -> None:
        from ase.db import connect

        self._database = connect(path, type=self._kind, **self._reading)
        self._database.__enter__()  # one connection for all that follows

    def molecule(self, row: int) -> Molecule:
        return self._of_row(
            self._database._get_row(row + 1)
        )  # what .get(id=…) comes to, once it has parsed its arguments

    def molecules(self) -> Iterator[Molecule]:
        return map(self._of_row, self._database.select())

    def _of_row(self, row: "AtomsRow") -> Molecule:
        own = {"atomic_numbers": row.numbers, "positions": row.positions}
        return own | {name: row.data[_key(name)] for name in TRAINING if name not in own}


class AseSqlite(AseDatabase):
    """SQLite, with a page cache of 64 MB."""

    def open(self, path: Path) -> None:
        super().open(path)
        self._database.connection.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")


class AseLmdb(AseDatabase):
    """LMDB by ase-db-backends, opened read-only and without read-ahead, as for training; it keeps nothing that it has decoded."""

    _reading = {"use_lock_file": False, "readonly": True, "readahead": False}


class Hdf5Groups(OneByOne):
    """One HDF5 group a molecule: arrays as datasets, small values as attributes, the newest file format."""

    name = "HDF5, one group a molecule"

    def convert(self, tables: Iterable["Table"], path: Path) -> None:
        import h5py

        with h5py.File(path, "w", libver="latest") as file:
            for number, molecule in enumerate(molecules_of(tables)):
                group = file.create_group(f"{number:08d}")
                for name, values in molecule.items():
                    if name in PER_ATOM:
                        group[_key(name)] = values
                    else:
                        group.attrs[_key(name)] = values
                file.attrs["structures"] = number + 1

    def open(self, path: Path) -> None:
        import h5py

        self._file = h5py.File(path, "r", libver="latest", rdcc_nbytes=CACHE_BYTES)

    def molecule(self, row: int) -> Molecule:
        group = self._file[f"{row:08d}"]
        return {name: group[_key(name)][()] if name in PER_ATOM else group.attrs[_key(name)] for name in TRAINING}

    def molecules(self) -> Iterator[Molecule]:
        return map(self.molecule, range(self._file.attrs["structures"]))


CONTESTANTS: dict[str, Contestant] = {
    "zarr": Mlipq("mlipq zarr", ".zarr.zip"),
    "zarr-maps": Materialised("mlipq zarr, materialised", ".zarr.zip"),
    "h5": Mlipq("mlipq h5", ".h5"),
    "h5-maps": Materialised("mlipq h5, materialised", ".h5"),
    "extxyz": ExtXyz(),
    "sqlite": AseSqlite("ASE sqlite db", "db"),
    "aselmdb": AseLmdb("ASE aselmdb", "aselmdb"),
    "groups": Hdf5Groups(),
}


def molecules_of(tables: Iterable["Table"]) -> Iterator[Molecule]:
    """Take tables apart into structures; single numbers become Python's own."""
    for table in tables:
        for row in range(len(table)):
            atoms = table.atoms_of(row)
            molecule = {name: table.arrays[name][atoms if name in PER_ATOM else row] for name in TRAINING}
            yield {name: value.item() if value.ndim == 0 else value for name, value in molecule.items()}


def joined(molecules: Sequence[Molecule]) -> Arrays:
    """Join structures to the arrays of a batch, in the schema's dtypes."""
    counts = [len(molecule["atomic_numbers"]) for molecule in molecules]
    arrays = {"atom_offsets": np.concatenate([[0], np.cumsum(counts)])}
    for name in TRAINING:
        values = [molecule[name] for molecule in molecules]
        whole = np.concatenate(values) if name in PER_ATOM else np.array(values)
        arrays[name] = whole.astype(KNOWN_ARRAYS[name].dtype, copy=False)
    return arrays


def _key(name: str) -> str:
    return name.replace("/", "_")
