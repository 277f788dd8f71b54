"""Hugging Face's datasets on ``--to parquet``, h5py on ``--to h5``, zarr-python on ``--to zarr``: ``read_files.py FOLDER``."""

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import zarr
from expected import Expected

from datasets import load_dataset

NAMES = {
    "atomic_numbers": "atomic_numbers",
    "positions": "positions",
    "charge": "charge",
    "multiplicity": "multiplicity",
    "gfn1/energy": "energy",
    "gfn1/forces": "forces",
    "gfn1/orbital_charges": "orbital_charges",
}


def structures(array: Callable[[str], np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Cut the arrays of one shard into structures, as the schema says."""
    offsets = array("atom_offsets")
    arrays = {ours: array(name) for name, ours in NAMES.items()}
    return [
        {
            name: values[offsets[row] : offsets[row + 1]] if len(values) == offsets[-1] else values[row]
            for name, values in arrays.items()
        }
        for row in range(len(offsets) - 1)
    ]


folder = Path(sys.argv[1])
expected = Expected(folder)
rows = load_dataset(str(folder / "parquet"), split="train", cache_dir=str(folder / "cache")).with_format("numpy")
expected.compare(
    "Hugging Face datasets", [{ours: row[name.replace("/", "_")] for name, ours in NAMES.items()} for row in rows]
)
found = []
for path in sorted((folder / "h5/shards").glob("*.h5")):
    with h5py.File(path) as file:
        found += structures(lambda name: file[name][()])
expected.compare("h5py", found)
found = []
for path in sorted((folder / "zarr/shards").glob("*.zarr.zip")):
    group = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    found += structures(lambda name: group[name][...])  # noqa: B023
expected.compare("zarr-python", found)
