"""SchNetPack: PaiNN, which has l ≤ 1, as its configurations ``qm9_atomwise`` and ``md17`` with ``painn`` build it."""

import numpy as np
import torch
from schnetpack import atomistic, nn, properties, transform
from schnetpack.data import AtomsLoader
from schnetpack.model import NeuralNetworkPotential
from schnetpack.representation import PaiNN
from torch import Tensor

from benchmarks.training.peers.molecules import CUTOFF, Molecules

PACKAGES = ("schnetpack", "torch", "matscipy")
SIZES = {"64": {"n_atom_basis": 64}, "128": {"n_atom_basis": 128}}  # 128: its configurations' own


class Contestant:
    """See the package's docstring."""

    def __init__(self, molecules: Molecules, size: str, forces: bool, compiled: bool) -> None:
        representation = PaiNN(
            n_interactions=3, radial_basis=nn.GaussianRBF(20, CUTOFF), cutoff_fn=nn.CosineCutoff(CUTOFF), **SIZES[size]
        )
        outputs = [atomistic.Atomwise(representation.n_atom_basis, output_key="energy")]
        outputs += [atomistic.Forces()] if forces else []
        self.names = ["energy", "forces"] if forces else ["energy"]
        self.module = NeuralNetworkPotential(
            representation, [atomistic.PairwiseDistances()], outputs, do_postprocessing=False
        )
        self.graphs = [_graph(*molecules.atoms(row)) for row in range(len(molecules))]
        self.collate = AtomsLoader(self.graphs).collate_fn
        self.forward = torch.compile(self.module, dynamic=True) if compiled else self.module

    def batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        return self.collate([self.graphs[row] for row in rows])

    def predict(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        out = self.forward(dict(batch))  # it adds to what it is given
        return tuple(out[name] for name in self.names)


def _graph(numbers: np.ndarray, positions: np.ndarray) -> dict[str, Tensor]:
    """Return one molecule as SchNetPack's dataset gives it, with its neighbours."""
    graph = {
        properties.n_atoms: torch.tensor([len(numbers)]),
        properties.Z: torch.from_numpy(numbers),
        properties.R: torch.from_numpy(positions),
        properties.cell: torch.zeros(1, 3, 3, dtype=torch.float64),
        properties.pbc: torch.zeros(3, dtype=torch.bool),
    }
    return transform.CastTo32()(transform.MatScipyNeighborList(cutoff=CUTOFF)(graph))
