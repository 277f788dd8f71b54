"""mlipq: PaiNN with l ≤ 2, as users get it."""

import numpy as np
from torch import Tensor

from benchmarks.training.peers.molecules import CUTOFF, N_BATCH, Molecules
from mlipq.schema import KNOWN_ARRAYS
from mlipq.store.table import Table
from mlipq.training import PRESETS, Batch, Potential, collate, find_neighbours
from mlipq.training.models.machine import compiled as compile_potential

PACKAGES = ("mlipq", "torch", "vesin")
SIZES = {"small": {"cutoff": CUTOFF}}


class Contestant:
    """See the package's docstring."""

    def __init__(self, molecules: Molecules, size: str, forces: bool, compiled: bool) -> None:
        self.module = Potential(PRESETS[size].model_copy(update=SIZES[size]))
        arrays = {
            "atom_offsets": molecules.offsets,
            "atomic_numbers": molecules.atomic_numbers,
            "positions": molecules.positions,
            "charge": np.zeros(len(molecules), dtype=np.int32),
            "multiplicity": np.ones(len(molecules), dtype=np.int32),
        }
        self.table = Table(arrays, {name: KNOWN_ARRAYS[name] for name in arrays})
        self.neighbours = find_neighbours(arrays, CUTOFF)
        self.forces_of = ["energy"] if forces else []
        some = self.batch(np.arange(N_BATCH))
        self.forward = compile_potential(self.module, some, self.forces_of) if compiled else self.module

    def batch(self, rows: np.ndarray) -> Batch:
        return collate(self.table.take(rows).arrays, self.neighbours.take(rows))

    def predict(self, batch: Batch) -> tuple[Tensor, ...]:
        out = self.forward(batch.differentiable() if self.forces_of else batch, self.forces_of)
        return tuple(out[name] for name in ("energy", "forces") if name in out)
