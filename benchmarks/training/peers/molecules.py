"""The same molecules for every contestant: one ``.npz`` file, read with NumPy alone in every peer's environment.

    python -m benchmarks.training.peers.molecules FILE

PBE0 atomisation energies of qm7-gfn1 to learn, and GFN1's energies and forces, whose forces are their gradient: to time what
forces cost. All molecules are of the part ``pool`` of the split ``random``; the part ``test`` is never read.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DATASET, TARGET = "qm7-gfn1@1.0.0", "reference/pbe0_energy"
N_TRAIN, N_VALIDATION, N_BATCH = 900, 100, 25
CUTOFF = 5.0
"""Largest distance between neighbours, in Å; the same for every contestant."""


@dataclass(frozen=True)
class Molecules:
    """Molecules of training, and after them those of validation.

    Attributes
    ----------
    offsets
        ``(molecules + 1,)``: where the atoms of each start.
    atomic_numbers, positions, forces
        Of all atoms: ``(N,)``, ``(N, 3)`` in Å and ``(N, 3)`` in eV/Å (GFN1).
    energies, gfn1_energies
        ``(molecules,)``, in eV.
    """

    offsets: np.ndarray
    atomic_numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    gfn1_energies: np.ndarray
    forces: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def atoms(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return atomic numbers and positions of one molecule."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        return self.atomic_numbers[part], self.positions[part]

    def elements(self) -> list[int]:
        """Return the elements there are, ascending."""
        return [int(number) for number in np.unique(self.atomic_numbers)]

    def residuals(self, energies: np.ndarray) -> tuple[np.ndarray, float]:
        """Take reference energies of the elements, fitted to the molecules of training, off these energies.

        Returns
        -------
        tuple[numpy.ndarray, float]
            What is left, in eV: for a network to learn; and its typical size for an atom.
        """
        counts = np.zeros((len(self), 119))
        np.add.at(counts, (np.repeat(np.arange(len(self)), np.diff(self.offsets)), self.atomic_numbers), 1)
        references, *_ = np.linalg.lstsq(counts[:N_TRAIN], energies[:N_TRAIN], rcond=None)
        left = energies - counts @ references
        return left, float(np.std(left[:N_TRAIN]) / np.sqrt(counts[:N_TRAIN].sum(axis=1).mean()))

    def neighbours_per_atom(self) -> float:
        """Return how many neighbours an atom of the molecules of training has within the cutoff, on average."""
        found = 0
        for row in range(N_TRAIN):
            _, points = self.atoms(row)
            distances = np.linalg.norm(points[:, None] - points, axis=-1)
            found += np.count_nonzero((distances <= CUTOFF) & (distances > 0))
        return found / int(self.offsets[N_TRAIN])


def load(path: Path) -> Molecules:
    """Read the file."""
    with np.load(path, allow_pickle=False) as arrays:
        return Molecules(**arrays)


def export(path: Path) -> None:
    """Write the file; needs mlipq."""
    import mlipq

    dataset = mlipq.open_dataset(DATASET)
    with (dataset.path / dataset.manifest.splits["random"].file).open(newline="") as file:
        pool = sorted(line["identity"] for line in csv.DictReader(file) if line["part"] == "pool")
    picked = np.random.default_rng(0).permutation(pool)[: N_TRAIN + N_VALIDATION]
    arrays = dataset.take(
        [dataset.find(str(name)) for name in picked],
        ["atomic_numbers", "positions", TARGET, "gfn1/energy", "gfn1/forces"],
    ).arrays
    np.savez(
        path,
        offsets=arrays["atom_offsets"].astype(np.int64),
        atomic_numbers=arrays["atomic_numbers"].astype(np.int64),
        positions=arrays["positions"].astype(np.float64),
        energies=arrays[TARGET],
        gfn1_energies=arrays["gfn1/energy"],
        forces=arrays["gfn1/forces"],
    )


if __name__ == "__main__":
    export(Path(sys.argv[1]))
