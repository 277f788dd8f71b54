"""NequIP: its own presets S and M, and S with fewer features."""

import numpy as np
import torch
from ase.data import chemical_symbols
from nequip.data import AtomicDataDict, from_dict
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.model import PresetNequIPGNNModel
from nequip.utils.global_state import set_global_state
from torch import Tensor

from benchmarks.training.peers.molecules import CUTOFF, Molecules

PACKAGES = ("nequip", "e3nn", "torch")
SIZES = {
    "S": {"preset": "S"},
    "S-80": {"preset": "S", "num_features": [80, 40]},
    "M": {"preset": "M"},
}


class Contestant:
    """See the package's docstring."""

    def __init__(self, molecules: Molecules, size: str, forces: bool, compiled: bool) -> None:
        set_global_state()
        symbols = [chemical_symbols[number] for number in molecules.elements()]
        self.module = PresetNequIPGNNModel(
            **SIZES[size],
            r_max=CUTOFF,
            type_names=symbols,
            avg_num_neighbors=molecules.neighbours_per_atom(),
            per_type_energy_scales=1.0,
            per_type_energy_shifts=0.0,
            do_derivatives=forces,
            compile_mode="compile" if compiled else "eager",
            model_dtype="float32",
            seed=torch.initial_seed(),
        )
        self.forces = forces
        species, neighbours = ChemicalSpeciesToAtomTypeMapper(symbols), NeighborListTransform(r_max=CUTOFF)
        self.graphs = []
        for row in range(len(molecules)):
            numbers, positions = molecules.atoms(row)
            arrays = {AtomicDataDict.ATOMIC_NUMBERS_KEY: numbers, AtomicDataDict.POSITIONS_KEY: positions}
            self.graphs.append(neighbours(species(from_dict(arrays))))

    def batch(self, rows: np.ndarray) -> AtomicDataDict.Type:
        return AtomicDataDict.batched_from_list([self.graphs[row] for row in rows])

    def predict(self, batch: AtomicDataDict.Type) -> tuple[Tensor, ...]:
        out = self.module(batch)
        energies = out[AtomicDataDict.TOTAL_ENERGY_KEY].squeeze(-1)
        return (energies, out[AtomicDataDict.FORCE_KEY]) if self.forces else (energies,)
