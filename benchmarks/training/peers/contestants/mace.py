"""MACE: as ``mace_run_train --model MACE`` builds it; all but the size are its defaults."""

import numpy as np
import torch
from e3nn import o3
from mace.data import AtomicData, Configuration
from mace.modules import ScaleShiftMACE, interaction_classes
from mace.tools import AtomicNumberTable
from mace.tools.compile import prepare
from mace.tools.torch_geometric import Batch
from torch import Tensor

from benchmarks.training.peers.molecules import CUTOFF, Molecules

PACKAGES = ("mace-torch", "e3nn", "torch", "matscipy")
SIZES = {"64x0e": {}, "64x0e+64x1o": {}, "128x0e": {}, "128x0e+128x1o": {}}  # the last: its README's own


class Contestant:
    """See the package's docstring."""

    def __init__(self, molecules: Molecules, size: str, forces: bool, compiled: bool) -> None:
        self.forces = forces
        elements = molecules.elements()
        # `prepare` leaves out e3nn's own compiler, TorchScript, which torch.compile cannot go through
        self.module = (prepare(ScaleShiftMACE) if compiled else ScaleShiftMACE)(
            hidden_irreps=o3.Irreps(size),
            num_interactions=2,
            correlation=3,
            max_ell=3,
            r_max=CUTOFF,
            num_bessel=8,
            num_polynomial_cutoff=5,
            MLP_irreps=o3.Irreps("16x0e"),
            gate=torch.nn.functional.silu,
            interaction_cls=interaction_classes["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=interaction_classes["RealAgnosticInteractionBlock"],
            use_reduced_cg=False,
            avg_num_neighbors=molecules.neighbours_per_atom(),
            atomic_numbers=elements,
            num_elements=len(elements),
            atomic_energies=np.zeros(len(elements)),
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        )
        self.forward = torch.compile(self.module, dynamic=True) if compiled else self.module
        table = AtomicNumberTable(elements)
        self.graphs = [
            AtomicData.from_config(Configuration(*molecules.atoms(row), {}, {}), table, CUTOFF)
            for row in range(len(molecules))
        ]

    def batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        return Batch.from_data_list([self.graphs[row] for row in rows]).to_dict()

    def predict(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        batch["positions"].requires_grad_(self.forces)  # it does so itself, but not where it is compiled
        out = self.forward(batch, training=self.module.training, compute_force=self.forces)
        return (out["energy"], out["forces"]) if self.forces else (out["energy"],)
