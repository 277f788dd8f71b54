"""PaiNN with features of l = 0, 1 and 2."""

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

Components = tuple[Tensor, ...]


class PaiNN(nn.Module):
    """Equivariant messages: scalars of the neighbours times directions, and the neighbours' own vectors and tensors.

    Schütt, Unke, Gastegger, *Equivariant message passing …* (ICML 2021), figure 2, with l = 2 treated as the paper treats
    l = 1: spherical harmonics in place of the unit vector. The components of a feature stay apart, so that each is a block
    that fits the processor's cache.

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

    def __init__(self, channels: int, layers: int, cutoff: float, radial: int) -> None:
        super().__init__()
        self.channels, self.cutoff = channels, cutoff
        self.embedding = nn.Embedding(N_ELEMENTS, channels)
        self.charge_and_spin = ChargeAndSpin(channels)
        self.radial = Radial(radial, cutoff)
        self.messages = nn.ModuleList(Message(channels, radial, first=layer == 0) for layer in range(layers))
        self.updates = nn.ModuleList(Update(channels) for _ in range(layers))

    def forward(self, batch: Batch) -> Features:
        distances = lengths(batch.vectors)
        radial = self.radial(distances)  # (E, K)
        harmonics = directions(batch.vectors, distances)
        s = self.embedding(batch.atomic_numbers)  # (N, C)
        s = s + self.charge_and_spin(s, batch)
        v: tuple[Components, ...] = ()
        of_layers = []
        for message, update in zip(self.messages, self.updates):
            s, v = message(s, v, radial, harmonics, batch)
            s, v = update(s, v)
            of_layers.append(s)
        return Features(s, torch.cat(of_layers, dim=1), torch.stack(v[0]), torch.stack(v[1]))


class Message(nn.Module):
    """Equations 7 and 8: Δs_i = Σ_j φ_s W_s, Δv_i = Σ_j v_j φ_vv W_vv + Y(r_ij) φ_vs W_vs, for l = 1 and l = 2."""

    def __init__(self, channels: int, radial: int, first: bool) -> None:
        super().__init__()
        self.n_parts = 3 if first else 5  # of the first message all v are zero
        self.phi = mlp(channels, channels, self.n_parts * channels)
        self.filter = nn.Linear(radial, self.n_parts * channels, bias=False)

    def forward(
        self, s: Tensor, v: tuple[Components, ...], radial: Tensor, harmonics: tuple[Components, ...], batch: Batch
    ) -> tuple[Tensor, tuple[Components, ...]]:
        weights = self.filter(radial) * self.phi(s).index_select(0, batch.senders)  # (E, 5C)
        parts = weights.chunk(self.n_parts, dim=1)  # (E, C) each
        s = s + sum_neighbours(parts[0], batch)
        out = []
        for l in (0, 1):
            components = []
            for m, y in enumerate(harmonics[l]):
                messages = parts[1 + l] * y  # (E, C)
                if v:
                    messages = messages + parts[3 + l] * v[l][m].index_select(0, batch.senders)
                received = sum_neighbours(messages, batch)  # (N, C)
                components.append(v[l][m] + received if v else received)
            out.append(tuple(components))
        return s, tuple(out)


class Update(nn.Module):
    """Equations 9 and 10: Δs = a_ss + Σ_l a_sv ⟨Uv, Vv⟩, Δv = a_vv Uv, where a = a(s, ‖Vv‖)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.uv = nn.ModuleList(nn.Linear(channels, 2 * channels, bias=False) for _ in range(2))
        self.a = mlp(3 * channels, channels, 5 * channels)

    def forward(self, s: Tensor, v: tuple[Components, ...]) -> tuple[Tensor, tuple[Components, ...]]:
        uv = [[self.uv[l](component).chunk(2, dim=1) for component in v[l]] for l in (0, 1)]
        norms = [(total(b * b for _, b in uv[l]) + 1e-6).sqrt() for l in (0, 1)]  # (N, C)
        a_ss, *a = self.a(torch.cat([s, *norms], dim=1)).chunk(5, dim=1)
        for l in (0, 1):
            a_ss = a_ss + a[l] * total(u * v_ for u, v_ in uv[l])
        new = tuple(tuple(x + a[2 + l] * u for x, (u, _) in zip(v[l], uv[l])) for l in (0, 1))
        return s + a_ss, new
