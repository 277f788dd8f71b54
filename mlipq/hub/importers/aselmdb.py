"""fairchem's LMDB of ASE rows, ``*.aselmdb``: OMol25 and its kin. Charge and spin (2S+1) stand in the data of each row.

The files do not say how their labels were computed: OMol25's are ωB97M-V/def2-TZVPD.
"""

from collections.abc import Iterator
from pathlib import Path

from mlipq.errors import InputError
from mlipq.hub.importers.asedb import RESULTS
from mlipq.hub.importers.importer import Image, Importer
from mlipq.structures.ase_db import row_atoms


def read(path: Path) -> Iterator[Image]:
    """Read all rows of one file, which is opened for reading alone."""
    try:
        import lmdb
        from ase_db_backends.aselmdb import LMDBDatabase
    except ImportError:
        raise InputError("aselmdb needs the package ase-db-backends: pip install 'mlipq[export]'") from None
    lmdb.open(
        str(path), subdir=False, readonly=True, lock=False
    ).close()  # LMDBDatabase cannot be closed where this fails
    with LMDBDatabase(path, readonly=True) as database:
        count = len(database.ids)
        for number in range(count):
            yield Image(row_atoms(database._get_row_by_index(number)), (number + 1) / count)


IMPORTER = Importer("fairchem's ASE LMDB, .aselmdb", ("*.aselmdb",), read, RESULTS)
