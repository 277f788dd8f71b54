"""Density: each atom expands what its neighbours say in radial functions and spherical harmonics."""

import torch
from torch import Tensor, nn

from mlipq.training.models.batch import Batch
from mlipq.training.models.layers import N_ELEMENTS, ChargeAndSpin, Features, Radial, directions, lengths, mlp

DEGREES = (1, 1, 1, 2, 2, 2, 2, 2)
"""l of the eight components of a vector and a tensor, side by side."""

Around = tuple[Tensor, Tensor]
"""R_k and R_k Y_lm of the neighbours of each atom, zero where it has fewer than D: (N, D, K) and (N, D, 8K)."""


class Density(nn.Module):
    """Equivariant messages, l ≤ 2, as products of matrices: little is done for each edge and channel, so they are cheap.

    Message passing over the neighbour density: Nigam, Pozdnyakov, Fraux, Ceriotti, *Unified theory of atom-centered
    representations and message-passing machine-learning schemes* (J. Chem. Phys. 156, 204115 (2022)). Its coefficients are
    the A-features of Batatia et al., *MACE* (NeurIPS 2022), eq. 8, with a linear layer over all radial functions and all that
    the neighbours say in place of one radial function a channel. Each atom then changes by itself as in
    :class:`~mlipq.training.models.painn.PaiNN`.

    Parameters
    ----------
    channels
        Features of an atom, C.
    layers
        Messages and updates.
    cutoff
        In Å.
    radial
        Functions of the distance, K.
    """

    def __init__(self, channels: int = 64, layers: int = 3, cutoff: float = 5.0, radial: int = 8) -> None:
        super().__init__()
        self.channels, self.cutoff = channels, cutoff
        self.embedding = nn.Embedding(N_ELEMENTS, channels)
        self.charge_and_spin = ChargeAndSpin(channels)
        self.radial = Radial(radial, cutoff)
        self.messages = nn.ModuleList(Message(channels, radial, first=layer == 0) for layer in range(layers))
        self.updates = nn.ModuleList(Update(channels) for _ in range(layers))

    def forward(self, batch: Batch) -> Features:
        distances = lengths(batch.vectors)
        radial = 0.5 * self.radial(distances)  # (E, K); half: a sum over some sixteen neighbours is of order one
        vectors, tensors = directions(batch.vectors, distances)
        harmonics = torch.cat([*vectors, *tensors], dim=1)  # (E, 8)
        around = by_receiver(radial, batch), by_receiver((harmonics[:, :, None] * radial[:, None]).flatten(1), batch)
        s = self.embedding(batch.atomic_numbers)  # (N, C)
        s = s + self.charge_and_spin(s, batch)
        x = s.new_zeros(batch.n_atoms, len(DEGREES), self.channels)  # vectors and tensors
        for message, update in zip(self.messages, self.updates):
            s, x = message(s, x, around, batch)
            s, x = update(s, x)
        vectors_and_tensors = x.transpose(0, 1)
        return Features(s, vectors_and_tensors[:3], vectors_and_tensors[3:])


class Message(nn.Module):
    """Δs and Δx from the coefficients of the density.

    Neighbour j says P = C/8 scalars h_j and, once there are any, Q = C/16 vectors and tensors y_j. The coefficients are
    Σ_j R_k h_j and Σ_j R_k ⟨Y(r_ij), y_j⟩ for l = 0, Σ_j R_k Y_lm(r_ij) h_j and Σ_j R_k y_jlm for l = 1 and 2.
    """

    def __init__(self, channels: int, radial: int, first: bool) -> None:
        super().__init__()
        self.first, self.p, self.q = first, max(1, channels // 8), 0 if first else max(1, channels // 16)
        self.say_s = nn.Linear(channels, self.p)
        if not first:  # of the first message all x are zero
            self.say_x = IrrepsLinear(channels, self.q)
        coefficients = radial * (self.p + self.q)
        self.hear_s = nn.Linear(coefficients, channels, bias=False)
        self.hear_x = IrrepsLinear(coefficients, channels)

    def forward(self, s: Tensor, x: Tensor, around: Around, batch: Batch) -> tuple[Tensor, Tensor]:
        radial, harmonic = around
        n, width, k = radial.shape
        said = self.say_s(s)  # (N, P)
        if not self.first:
            said = torch.cat([said, self.say_x(x).flatten(1)], dim=1)  # (N, P + 8Q)
        heard = neighbours_of(said, batch)  # (N, D, P + 8Q)
        h, y = torch.split(heard, [self.p, 8 * self.q], dim=2)
        same, own = torch.split(torch.bmm(radial.mT, heard), [self.p, 8 * self.q], dim=2)  # (N, K, P), (N, K, 8Q)
        other = torch.bmm(harmonic.mT, h).view(n, 8, k * self.p)
        if self.first:
            return s + self.hear_s(same.flatten(1)), self.hear_x(other)
        dots = torch.bmm(harmonic.reshape(n, width * 8, k).mT, y.reshape(n, width * 8, self.q))  # (N, K, Q)
        own = own.reshape(n, k, 8, self.q).transpose(1, 2).flatten(2)  # (N, 8, KQ)
        s = s + self.hear_s(torch.cat([same, dots], dim=2).flatten(1))
        return s, x + self.hear_x(torch.cat([other, own], dim=2))


class Update(nn.Module):
    """Equations 9 and 10 of PaiNN: Δs = a_ss + Σ_l a_sv ⟨Ux, Vx⟩, Δx = a_vv Ux, where a = a(s, ‖Vx‖)."""

    degrees: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.uv = IrrepsLinear(channels, 2 * channels)
        self.a = mlp(3 * channels, channels, 5 * channels)
        self.register_buffer("degrees", torch.tensor(DEGREES) - 1, persistent=False)

    def forward(self, s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        u, v = self.uv(x).chunk(2, dim=2)  # (N, 8, C) each
        norms = [(square + 1e-3).sqrt() for square in inner(v, v)]  # (N, C)
        a = self.a(torch.cat([s, *norms], dim=1)).unflatten(1, (5, -1))  # (N, 5, C)
        a_ss, a_sv, a_vv = torch.split(a, [1, 2, 2], dim=1)
        s = s + a_ss.squeeze(1) + (a_sv * torch.stack(inner(u, v), dim=1)).sum(dim=1)
        return s, x + a_vv.index_select(1, self.degrees) * u


class IrrepsLinear(nn.Module):
    """Mixes channels, (N, 8, I) to (N, 8, O), vectors and tensors with weights of their own."""

    degrees: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.vectors, self.tensors = (nn.Linear(inputs, outputs, bias=False) for _ in (1, 2))
        self.register_buffer("degrees", torch.tensor(DEGREES) - 1, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.stack([self.vectors.weight.mT, self.tensors.weight.mT]).index_select(
            0, self.degrees
        )  # (8, I, O)
        return torch.bmm(x.transpose(0, 1), weights).transpose(0, 1)


def inner(a: Tensor, b: Tensor) -> list[Tensor]:  # (N, 8, C) twice -> (N, C) for l = 1, (N, C) for l = 2
    """Return the inner products of vectors, and those of tensors."""
    return [part.sum(dim=1) for part in torch.split(a * b, [DEGREES.count(1), DEGREES.count(2)], dim=1)]


def _places(batch: Batch) -> Tensor:  # (E,)
    """Return the row of each edge where every atom has D rows, for its neighbours one after the other."""
    atoms = torch.arange(batch.n_atoms, device=batch.receivers.device)
    first = torch.searchsorted(batch.receivers, atoms)  # edge of each atom
    edges = torch.arange(batch.receivers.shape[0], device=atoms.device)
    return batch.receivers * batch.slots.shape[0] + edges - first.index_select(0, batch.receivers)


def by_receiver(values: Tensor, batch: Batch) -> Tensor:  # (E, F) -> (N, D, F)
    """Line up what belongs to the edges of each atom; zero where it has fewer than D."""
    rows = values.new_zeros(batch.n_atoms * batch.slots.shape[0], values.shape[1])
    return rows.index_copy(0, _places(batch), values).view(batch.n_atoms, batch.slots.shape[0], -1)


def neighbours_of(values: Tensor, batch: Batch) -> Tensor:  # (N, F) -> (N, D, F)
    """Line up what the neighbours of each atom have; where it has fewer than D, whatever atom 0 has."""
    rows = batch.senders.new_zeros(batch.n_atoms * batch.slots.shape[0])
    senders = rows.index_copy(0, _places(batch), batch.senders)
    return values.index_select(0, senders).view(batch.n_atoms, batch.slots.shape[0], -1)
