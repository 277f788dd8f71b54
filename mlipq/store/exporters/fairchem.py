"""fairchem's LMDB of ASE rows: a folder of ``part-*.aselmdb`` with ``metadata.npz``, as ``AseDBDataset`` reads it.

Energy and forces are the results of each row; charge, spin (2S+1) and all other arrays stand in its data, under their
names with ``/`` as ``_``. A structure that lacks the energy is left out. Rows carry the hour of writing, as this format
wants it, and nothing else of where they were written.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.db.row import AtomsRow

from mlipq.errors import IncompleteError, InputError
from mlipq.store.commit import sync_file
from mlipq.store.exporters.exporter import PROGRESS_EVERY, Exporter, Progress
from mlipq.store.exporters.labels import Labels
from mlipq.store.packing import atoms_at
from mlipq.store.reader.dataset import Dataset
from mlipq.store.table import Table
from mlipq.structures.structure import identity_hex


def write(dataset: Dataset, folder: Path, labels: Labels, progress: Progress) -> int:
    """Write one file a shard, and the sizes of all structures, by which fairchem makes its batches."""
    if labels.energy is None:
        raise InputError("this dataset has no energy that fairchem could be trained on; label it, or export to extxyz")
    sizes: list[int] = []
    done = 0
    for number, table in enumerate(filter(len, dataset.tables())):
        rows = [_row(table, row, labels) for row in range(len(table))]
        labelled = [(row, data) for row, data in rows if row is not None]
        if labelled:
            for written in _write_rows(folder / f"part-{number:05d}.aselmdb", labelled):
                progress(done + written, len(dataset))
        sizes += [row.natoms for row, _ in labelled]
        labels.count_gaps(table)
        done += len(table)
        progress(done, len(dataset))
    np.savez(folder / "metadata.npz", natoms=np.array(sizes, dtype=np.int64))
    sync_file(folder / "metadata.npz")
    return len(sizes)


def _row(table: Table, row: int, labels: Labels) -> tuple[AtomsRow | None, dict[str, Any]]:
    """Return a row and its data, no row where the structure has no energy."""
    energy, forces = labels.of(table, row)
    if energy is None:
        return None, {}
    atoms = atoms_at(table, row)
    said = {
        "unique_id": identity_hex(table.arrays["identity"][row]),
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
        "calculator": "unknown",
        "calculator_parameters": {},
        "energy": energy,
        "ctime": 0.0,
        "user": "",
    }
    if forces is not None:
        said["forces"] = np.asarray(forces, dtype=np.float64)
    arrays = {name: values for name, values in atoms.arrays.items() if name not in ("numbers", "positions")}
    return AtomsRow(said), {**atoms.info, "spin": atoms.info["spin_multiplicity"], **arrays}


def _write_rows(path: Path, rows: list[tuple[AtomsRow, dict[str, Any]]]) -> Iterator[int]:
    """Write a file, and now and then say how many rows are written."""
    try:
        import lmdb
        from ase_db_backends.aselmdb import LMDBDatabase
    except ImportError:
        raise InputError("fairchem's format needs the package ase-db-backends: pip install 'mlipq[export]'") from None
    try:
        with LMDBDatabase(path) as database:
            for number, (row, data) in enumerate(rows):
                database.write(row, data=data)
                if number % PROGRESS_EVERY == 0:
                    yield number
    except lmdb.Error as error:  # a full disk, or no address space for the map
        raise IncompleteError(f"{path} was not written: {error}. Mend that, and run the same command again.") from error
    path.with_name(f"{path.name}-lock").unlink()
    sync_file(path)


EXPORTER = Exporter("fairchem's ASE LMDB", write, suffix="", energy="one")
