"""Batches of real structures, turned and shifted at will, and potentials whose outputs all say something."""

from dataclasses import replace

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray

from mlipq.store.packing import pack
from mlipq.structures import Structure
from mlipq.training.architecture import PotentialConfig
from mlipq.training.models.batch import Batch, collate, find_neighbours
from mlipq.training.models.potential import Potential, precision

BACKBONES = ("schnet", "painn", "tensornet")
EQUIVARIANT = ("painn", "tensornet")
ALL_HEADS = (
    "energy",
    "gfn1_energy",
    "orbital_charges",
    "orbital_moments",
    "atomic_charges",
    "dipole",
    "dipole_magnitude",
)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def batch_of(*structures: Structure, cutoff: float = 5.0, dtype: torch.dtype = torch.float64) -> Batch:
    arrays = pack(structures, {}).arrays
    return collate(arrays, find_neighbours(arrays, cutoff), dtype)


def potential_of(dtype: torch.dtype = torch.float64, **config) -> Potential:
    """A small potential with weights, scales and means by chance; as trained, features are of order one."""
    torch.manual_seed(6)
    with precision(dtype):
        potential = Potential(PotentialConfig(**{"channels": 16, "layers": 2, "radial": 8, **config}))
    with torch.no_grad():
        for head in potential.heads.values():
            if hasattr(head, "normal"):
                columns = head.normal.shift.shape[1]
                spherical = torch.arange(columns) < 3  # the others must not have a mean, nor one scale each
                head.normal.set(torch.randn(119, columns) * spherical, 1 + torch.rand(119, 1))
            if hasattr(head, "references"):
                head.references.normal_()
                head.scale.uniform_(0.5, 2)
    return potential.eval()


def moved(structure: Structure, rotation: NDArray | None = None, shift: NDArray | float = 0.0) -> Structure:
    """The structure, and its cell, rotated and shifted."""
    rotation = np.eye(3) if rotation is None else rotation
    cell = None if structure.cell is None else structure.cell @ rotation.T
    return replace(structure, positions=structure.positions @ rotation.T + shift, cell=cell)


def rotation_of(seed: int, improper: bool) -> NDArray:
    """A rotation by chance, or one with a reflection."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q) * (-1 if improper else 1)


def wigner(irreps: str, rotation: NDArray, dtype: torch.dtype) -> torch.Tensor:
    """How irreps turn; e3nn finds its angles in the default precision, whatever the matrix has."""
    with precision(torch.float64):
        return o3.Irreps(irreps).D_from_matrix(torch.from_numpy(rotation)).to(dtype)


def assert_close(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    """Within 1e-5 in float32 and 1e-10 in float64, of what is larger: one, or the largest value expected."""
    assert found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    largest = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    error = float((found - expected).abs().max()) / largest
    assert error < TOLERANCE[dtype], (error, largest)
