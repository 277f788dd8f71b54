"""Real complexes among the bundled samples, small ones, as a dataset with a split."""

from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from mlipq import open_dataset, resources
from mlipq.bench.prepared.writing import write_once
from mlipq.hub.split import split_dataset
from mlipq.store import Dataset, Table

METALS = ("Cr", "Fe", "Mn", "Mo", "Co", "Ni", "Ru", "Cu", "Zn")
LIGANDS = ("H", "C", "N", "O", "P", "S", "Cl")
MOST_ATOMS = 45


def small_samples() -> Dataset:
    """Small molecules of the samples; 59 have one of nine metals."""
    samples = open_dataset(resources.samples().parent / "samples-gfn1" / "1.0.0")
    return samples.select(only=[*LIGANDS, *METALS], max_atoms=MOST_ATOMS)


def complexes() -> Table:
    """Those that have one."""
    samples, metals = small_samples(), [atomic_numbers[symbol] for symbol in METALS]
    numbers = np.split(samples["atomic_numbers"][:], samples.atom_offsets[1:-1])
    return samples.take([row for row, own in enumerate(numbers) if np.isin(own, metals).any()])


def complexes_at(folder: Path) -> Path:
    """Write them as a dataset whose split ``random`` has a pool and a test part."""
    write_once(folder / "complexes", {}, small_samples(), lambda: [complexes()], "complexes")
    split_dataset(folder / "complexes", "random", "test=0.4,pool=rest", seed=1)
    return folder / "complexes"
