"""Label real charged and open-shell molecules, export them to every format, and note the numbers: ``make.py FOLDER``.

``expected.npz`` comes from the labelled dataset itself, not from an export.
"""

import sys
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

import mlipq
from mlipq.formats import EXPORTERS
from mlipq.store import export, open_dataset

SAMPLE = Path(__file__).parents[3] / "datasets/samples/gscdb138.extxyz.gz"
ENERGY, FORCES = "gfn1/energy", "gfn1/forces"

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    mlipq.label([SAMPLE], folder / "labelled")
    dataset = open_dataset(folder / "labelled")
    for name in EXPORTERS:
        shards = name in ("h5", "zarr", "parquet")
        suffix = {"extxyz": ".extxyz", "mace": ".xyz"}.get(name, "")
        export(dataset, folder / f"{name}{suffix}", name, energy=None if shards else ENERGY)
    isolated = dataset.manifest.reference_energies[ENERGY].isolated
    assert isolated, "the sample has neutral atoms, so their energies must be in the manifest"
    export(dataset.select(only=list(isolated)), folder / "mace-e0s.xyz", "mace", energy=ENERGY)
    np.savez(
        folder / "expected.npz",
        **dataset.batch(slice(None), ["atomic_numbers", "positions", "charge", "multiplicity"]),
        energy=dataset[ENERGY][:],
        forces=dataset[FORCES][:],
        orbital_charges=dataset["gfn1/orbital_charges"][:],
        isolated_numbers=[atomic_numbers[symbol] for symbol in isolated],
        isolated_energies=list(isolated.values()),
    )
    print(f"{len(dataset)} molecules labelled and exported to {', '.join(EXPORTERS)}")
