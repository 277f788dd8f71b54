"""A potential as one graph for other programs: ``torch.export``, on tensors alone, for structures of any size."""

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mlipq.training.models.batch import Batch, collate, find_neighbours
from mlipq.training.models.potential import Potential

INPUTS = tuple(field.name for field in fields(Batch))
"""What the graph takes, in this order (:class:`~mlipq.training.models.batch.Batch` has shapes and units)."""


def exported(potential: Potential) -> ExportedProgram:
    """Return the graph of a potential: :data:`INPUTS` in, the outputs of its heads by name out.

    Forces are had from it as minus the gradient of the energy by the vectors, summed over the edges of each atom.

    Examples
    --------
    >>> torch.export.save(exported(potential), "model.pt2")  # doctest: +SKIP
    """
    parameter = next(potential.parameters())
    example = _example(potential.config.cutoff, parameter.dtype).to(parameter.device)
    tensors = tuple(getattr(example, name) for name in INPUTS)
    sizes = tuple({0: Dim.AUTO} for _ in INPUTS)
    program = torch.export.export(_Flat(potential).eval(), tensors, dynamic_shapes=(sizes,))
    program.example_inputs = None  # torch would pickle them
    return program


class _Flat(nn.Module):
    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = self.potential(Batch(*tensors))
        return out


def _example(cutoff: float, dtype: torch.dtype) -> Batch:
    """Two molecules of different sizes, so that no dimension is taken for a constant."""
    arrays = {
        "atom_offsets": np.array([0, 3, 7]),
        "atomic_numbers": np.array([8, 1, 1, 7, 1, 1, 1]),
        "positions": np.concatenate([np.eye(3), np.vstack([np.zeros(3), np.eye(3)])]),
        "charge": np.zeros(2),
        "multiplicity": np.ones(2),
    }
    return collate(arrays, find_neighbours(arrays, cutoff), dtype)
