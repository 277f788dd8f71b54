"""TensorNet: a 3 × 3 matrix for each atom and channel, and products of matrices."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mlipq.training.models.batch import Batch
from mlipq.training.models.layers import (
    N_ELEMENTS,
    ChargeAndSpin,
    Features,
    Radial,
    directions,
    lengths,
    mlp,
    sum_neighbours,
    total,
)

Parts = tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]
"""A matrix as its irreps: the trace (1), the antisymmetric part as a vector (3), the symmetric traceless part (5)."""
Matrix = list[list[Tensor]]
"""3 × 3 entries of shape (N, C)."""


class TensorNet(nn.Module):
    """Cartesian tensors of rank 2.

    Simeon, De Fabritiis, *TensorNet: Cartesian tensor representations for efficient learning of molecular potentials* (NeurIPS
    2023), the section on its architecture; Bessel functions in place of exponential ones. Matrices are kept as their irreps,
    which the linear layers and the messages act on; only the products need the entries.

    Parameters
    ----------
    channels
        Features of an atom, C.
    layers
        Interactions.
    cutoff
        In Å.
    radial
        Functions of the distance, K.
    """

    def __init__(self, channels: int, layers: int, cutoff: float, radial: int) -> None:
        super().__init__()
        self.channels, self.cutoff = channels, cutoff
        self.radial = Radial(radial, cutoff)
        self.embedding = Embedding(channels, radial)
        self.interactions = nn.ModuleList(Interaction(channels, radial) for _ in range(layers))
        self.norm = nn.LayerNorm(3 * channels)
        self.out = nn.Linear(3 * channels, channels)

    def forward(self, batch: Batch) -> Features:
        distances = lengths(batch.vectors)
        radial = self.radial(distances)  # (E, K)
        x = self.embedding(radial, directions(batch.vectors, distances), batch)
        of_layers = []
        for interaction in self.interactions:
            x = interaction(x, radial, batch)
            of_layers.append(nn.functional.silu(self.out(self.norm(torch.cat(squares(x), dim=1)))))  # (N, C)
        return Features(of_layers[-1], torch.cat(of_layers, dim=1), torch.stack(x[1]), torch.stack(x[2]))


class Embedding(nn.Module):
    """The paper's embedding: X_i = Σ_j Z_ij (f_I 1 + f_A A_ij + f_S S_ij), scaled by what its norm says."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(N_ELEMENTS, channels)
        self.charge_and_spin = ChargeAndSpin(channels)
        self.sender, self.receiver = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)
        self.filter = nn.Linear(radial, 3 * channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.mix = IrrepsLinear(channels)
        self.scale = nn.Sequential(mlp(channels, 2 * channels, 3 * channels), nn.SiLU())

    def forward(self, radial: Tensor, harmonics: tuple[tuple[Tensor, ...], tuple[Tensor, ...]], batch: Batch) -> Parts:
        z = self.elements(batch.atomic_numbers)  # (N, C)
        z = z + self.charge_and_spin(z, batch)
        pairs = self.sender(z).index_select(0, batch.senders) + self.receiver(z).index_select(0, batch.receivers)
        filters = self.filter(radial).chunk(3, dim=1)  # (E, C) each

        def gathered(l: int, y: Tensor) -> Tensor:  # (N, C)
            return sum_neighbours(pairs * filters[l] * y, batch)

        ones = torch.ones_like(harmonics[0][0])
        parts = ((ones,), *harmonics)
        i, a, s = (tuple(gathered(l, y) for y in part) for l, part in enumerate(parts))
        scales = self.scale(self.norm(total(squares((i, a, s))))).chunk(3, dim=1)
        return scaled(self.mix((i, a, s)), scales)


class Interaction(nn.Module):
    """The paper's interaction: X += ΔX + ΔX², ΔX from YM + MY, where M_i = Σ_j f_ij Y_j."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        self.filter = nn.Sequential(mlp(radial, channels, 3 * channels), nn.SiLU())
        self.before, self.after = IrrepsLinear(channels), IrrepsLinear(channels)

    def forward(self, x: Parts, radial: Tensor, batch: Batch) -> Parts:
        x = normalised(x)
        y = self.before(x)
        filters = (self.filter(radial) * radial[:, :1]).chunk(3, dim=1)  # (E, C) each; the envelope comes first

        def gathered(l: int, component: Tensor) -> Tensor:  # (N, C)
            return sum_neighbours(filters[l] * component.index_select(0, batch.senders), batch)

        i, a, s = (tuple(gathered(l, component) for component in parts) for l, parts in enumerate(y))
        own, received = entries(y), entries((i, a, s))
        delta = self.after(normalised(irreps(plus(product(own, received), product(received, own)))))
        square = entries(delta)
        step = irreps(plus(square, product(square, square)))
        return tuple(tuple(p + q for p, q in zip(*parts)) for parts in zip(x, step))  # type: ignore[return-value]


class IrrepsLinear(nn.Module):
    """Mixes channels, each irrep with weights of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weights = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(3))

    def forward(self, x: Parts) -> Parts:
        return tuple(tuple(map(weight, parts)) for weight, parts in zip(self.weights, x))  # type: ignore[return-value]


def squares(x: Parts) -> tuple[Tensor, Tensor, Tensor]:
    """Return the squared Frobenius norm of each part, (N, C)."""
    factors = (3.0, 2.0, 2.0 / 3.0)
    return tuple(f * total(p * p for p in parts) for f, parts in zip(factors, x))  # type: ignore[return-value]


def scaled(x: Parts, scales: Iterable[Tensor]) -> Parts:
    """Multiply each part by (N, C)."""
    return tuple(tuple(p * scale for p in parts) for parts, scale in zip(x, scales))  # type: ignore[return-value]


def normalised(x: Parts) -> Parts:
    """Divide by the squared norm plus one, as the published code does."""
    scale = 1 / (total(squares(x)) + 1)
    return scaled(x, (scale, scale, scale))


def entries(x: Parts) -> Matrix:
    """Return the 3 × 3 entries of irreps; those of one direction r̂ give 1, [r̂]× and r̂r̂ᵀ - 1/3."""
    (t,), (ax, ay, az), (xz, xy, yy, yz, zx) = x
    third = math.sqrt(1 / 3)
    xz, xy, yz, zx = third * xz, third * xy, third * yz, third * zx
    yy = yy / 3
    return [
        [t - yy - zx, xy - az, xz + ay],
        [xy + az, t + 2 * yy, yz - ax],
        [xz - ay, yz + ax, t - yy + zx],
    ]


def irreps(m: Matrix) -> Parts:
    """Return the irreps of a matrix: the inverse of :func:`entries`."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = m
    trace = (xx + yy + zz) / 3
    half, root3 = 0.5, math.sqrt(3)
    antisymmetric = (half * (zy - yz), half * (xz - zx), half * (yx - xy))
    symmetric = (
        half * root3 * (xz + zx),
        half * root3 * (xy + yx),
        1.5 * (yy - trace),
        half * root3 * (yz + zy),
        half * root3 * (zz - xx),
    )
    return (trace,), antisymmetric, symmetric


def product(a: Matrix, b: Matrix) -> Matrix:
    """Multiply 3 × 3 matrices entry by entry: (N, C) of them at once."""
    return [[total(a[i][k] * b[k][j] for k in range(3)) for j in range(3)] for i in range(3)]


def plus(a: Matrix, b: Matrix) -> Matrix:
    """Add matrices."""
    return [[p + q for p, q in zip(*rows)] for rows in zip(a, b)]
