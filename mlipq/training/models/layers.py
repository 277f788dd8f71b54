"""What the models are built from: edges as numbers, sums over neighbours, the charge and spin of a molecule."""

import functools
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mlipq.training.models.batch import Batch

N_ELEMENTS = 119
"""Rows of a table by atomic number."""


class Features(NamedTuple):
    """What a backbone knows of each atom. Components come first, so that one of them is one block of memory."""

    scalars: Tensor  # (N, C)
    of_layers: Tensor  # (N, L·C) scalars after each layer, side by side; those of the last one are ``scalars``
    vectors: Tensor | None = None  # (3, N, C) x, y, z: e3nn's 1o; None from an invariant model
    tensors: Tensor | None = None  # (5, N, C) in e3nn's order of 2e; None from an invariant model


class Backbone(Protocol):
    """Turns a batch into features of its atoms; edges longer than ``cutoff`` must not be there."""

    channels: int
    cutoff: float

    def __call__(self, batch: Batch) -> Features: ...


class Radial(nn.Module):
    """Distances as smooth functions: Bessel functions times an envelope, and the envelope itself.

    Gasteiger, Groß, Günnemann, *Directional message passing* (ICLR 2020), eqs. 7 and 8, p = 6; the envelope and its first two
    derivatives are zero at the cutoff. The envelope alone lets a linear filter have a constant.

    Parameters
    ----------
    size
        Number of functions, K.
    cutoff
        In Å.
    """

    frequencies: Tensor

    def __init__(self, size: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("frequencies", math.pi * torch.arange(1, size), persistent=False)

    def forward(self, distances: Tensor) -> Tensor:  # (E, 1) -> (E, K)
        x = distances / self.cutoff
        envelope = torch.where(x < 1, 1 - 28 * x**6 + 48 * x**7 - 21 * x**8, 0.0)
        bessel = math.sqrt(2.0) * torch.sin(self.frequencies * x) / x
        return torch.cat([envelope, envelope * bessel], dim=1)


def lengths(vectors: Tensor) -> Tensor:  # (E, 3) -> (E, 1)
    """Return lengths of vectors, none of which is zero."""
    return vectors.square().sum(dim=1, keepdim=True).sqrt()


def directions(vectors: Tensor, distances: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the spherical harmonics l = 1 and l = 2 of each edge, 3 and 5 components of shape (E, 1).

    Order and sign are those of e3nn, and Σ_m Y_m² = 1 for each l.
    """
    # not chunk(3): torch 2.13 compiles that to wrong numbers
    x, y, z = (vectors / distances).split(1, dim=1)  # type: ignore[no-untyped-call]
    root3 = math.sqrt(3.0)
    tensors = (root3 * x * z, root3 * x * y, 1.5 * y * y - 0.5, root3 * y * z, 0.5 * root3 * (z * z - x * x))
    return (x, y, z), tensors


def sum_to(values: Tensor, index: Tensor, size: int) -> Tensor:  # (E, ...), (E,) -> (size, ...)
    """Add up the rows that have the same index."""
    return values.new_zeros(size, *values.shape[1:]).index_add(0, index, values)


def sum_neighbours(messages: Tensor, batch: Batch) -> Tensor:  # (E, C) -> (N, C)
    """Add up what comes to each atom; a quarter of it, so that the sum over some sixteen neighbours is of order one."""
    return 0.25 * sum_to(messages, batch.receivers, batch.n_atoms)


def total(terms: Iterable[Tensor]) -> Tensor:
    """Add up tensors of one shape, at least one of them."""
    return functools.reduce(torch.add, terms)


class ChargeAndSpin(nn.Module):
    """The charge and the unpaired electrons of a molecule, shared out to its atoms.

    As the electronic embedding of Unke et al., *SpookyNet* (Nat. Commun. 12, 7273 (2021)), eq. 10: each atom has a share, by
    attention, of the total, and the shares add up to it. To a neutral molecule without unpaired electrons it adds exactly zero.

    Parameters
    ----------
    channels
        Features of an atom, C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, 3)
        self.value = nn.Parameter(torch.randn(3, channels) / math.sqrt(channels))
        self.mix = nn.Sequential(
            nn.Linear(channels, channels, bias=False), nn.SiLU(), nn.Linear(channels, channels, bias=False)
        )

    def forward(self, scalars: Tensor, batch: Batch) -> Tensor:  # (N, C) -> (N, C)
        charge, unpaired = batch.charge, batch.multiplicity - 1
        totals = torch.stack([charge.clamp(min=0), charge.clamp(max=0), unpaired], dim=1)  # (S, 3)
        weights = nn.functional.softplus(self.query(scalars))  # (N, 3)
        sums = sum_to(weights, batch.structures, batch.n_structures)  # (S, 3)
        shares = weights * (totals / sums).index_select(0, batch.structures)  # (N, 3)
        added: Tensor = self.mix(shares @ self.value)
        return added


def mlp(*sizes: int) -> nn.Sequential:
    """Return linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
