"""SchNet: the invariant baseline."""

import torch
from torch import Tensor, nn

from mlipq.training.models.batch import Batch
from mlipq.training.models.layers import N_ELEMENTS, ChargeAndSpin, Features, Radial, lengths, mlp, sum_neighbours


class SchNet(nn.Module):
    """Continuous-filter convolutions: messages depend on distances alone.

    Schütt et al., *SchNet* (J. Chem. Phys. 148, 241722 (2018)), section II; Bessel functions in place of Gaussians, SiLU in
    place of the shifted softplus, and an envelope, so that it is smooth at the cutoff.

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
        self.embedding = nn.Embedding(N_ELEMENTS, channels)
        self.charge_and_spin = ChargeAndSpin(channels)
        self.radial = Radial(radial, cutoff)
        self.interactions = nn.ModuleList(Interaction(channels, radial) for _ in range(layers))

    def forward(self, batch: Batch) -> Features:
        radial = self.radial(lengths(batch.vectors))  # (E, K)
        x = self.embedding(batch.atomic_numbers)  # (N, C)
        x = x + self.charge_and_spin(x, batch)
        of_layers = []
        for interaction in self.interactions:
            x = x + interaction(x, radial, batch)
            of_layers.append(x)
        return Features(x, torch.cat(of_layers, dim=1))


class Interaction(nn.Module):
    """The paper's interaction block: x_i += W₃ a(W₂ Σ_j W₁x_j ∘ filter(r_ij))."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        self.before = nn.Linear(channels, channels, bias=False)
        self.filter = mlp(radial, channels, channels)
        self.after = mlp(channels, channels, channels)

    def forward(self, x: Tensor, radial: Tensor, batch: Batch) -> Tensor:
        filters = self.filter(radial) * radial[:, :1]  # (E, C); the first function is the envelope
        messages = filters * self.before(x).index_select(0, batch.senders)  # (E, C)
        out: Tensor = self.after(sum_neighbours(messages, batch))  # (N, C)
        return out
