"""Parquet: a folder of ``part-*.parquet``, one row a structure, as Hugging Face's ``datasets`` and viewer read them.

Every array is a column under its name with ``/`` as ``_``; those of the atoms are lists with one entry an atom. Unit and
meaning stand in the metadata of the columns. Identities are 32 hex digits. Where an energy is named, it and the forces
of its source are also in columns ``energy`` and ``forces``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import ArraySpec
from mlipq.store.commit import committing
from mlipq.store.exporters.exporter import Exporter, Progress
from mlipq.store.exporters.labels import Labels
from mlipq.store.reader.dataset import Dataset
from mlipq.store.table import Table
from mlipq.structures.structure import identity_hex

if TYPE_CHECKING:
    import pyarrow

_LEFT_OUT = {"atom_offsets", "elements"}
"""The lists say what these do."""


def write(dataset: Dataset, folder: Path, labels: Labels, progress: Progress) -> int:
    """Write one file a shard."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs the package pyarrow: pip install 'mlipq[export]'") from None
    done = 0
    for number, table in enumerate(filter(len, dataset.tables())):
        with committing(folder / f"part-{number:05d}.parquet") as file:
            pyarrow.parquet.write_table(_columns(table, labels), file, compression="zstd")
        labels.count_gaps(table)
        done += len(table)
        progress(done, len(dataset))
    return done


def _columns(table: Table, labels: Labels) -> "pyarrow.Table":
    import pyarrow

    arrays, fields = [], []
    named = {name.replace("/", "_"): name for name in table.arrays if name not in _LEFT_OUT}
    named |= {column: name for column, name in (("energy", labels.energy), ("forces", labels.forces)) if name}
    for column, name in named.items():
        spec = table.specs[name]
        arrays.append(_column(table, spec))
        said = {key: value for key, value in {"array": name, **spec.attributes()}.items() if value}
        fields.append(pyarrow.field(column, arrays[-1].type, metadata=said))
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))


def _column(table: Table, spec: ArraySpec) -> "pyarrow.Array":
    import pyarrow

    values = table.arrays[spec.name]
    if spec.name == "identity":
        return pyarrow.array([identity_hex(words) for words in values])
    column = _nested(values)
    if spec.level != "atom":
        return column
    offsets = table.arrays["atom_offsets"]
    return (
        pyarrow.LargeListArray.from_arrays(offsets, column)
        if offsets[-1] >= 2**31
        else pyarrow.ListArray.from_arrays(offsets.astype(np.int32), column)
    )


def _nested(values: NDArray) -> "pyarrow.Array":
    """Return rows of any shape as lists of fixed lengths."""
    import pyarrow

    column = pyarrow.array(values.ravel(), pyarrow.string() if values.dtype == object else None)
    for length in reversed(values.shape[1:]):
        column = pyarrow.FixedSizeListArray.from_arrays(column, length)
    return column


EXPORTER = Exporter("Parquet for Hugging Face", write, suffix="", energy="named")
