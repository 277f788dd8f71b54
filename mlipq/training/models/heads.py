"""Heads: from the features of atoms to labels. A head is ``head(features, batch) -> Tensor``.

What a head gives is in the units of the label (eV, e, e·Å): the scale and the mean of an element are buffers of the head,
taken from the training data by :meth:`PerElement.set`, so that nothing has to be turned back afterwards.
"""

import math
from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from mlipq.training.models import Features
from mlipq.training.models.batch import Batch
from mlipq.training.models.layers import N_ELEMENTS, mlp, sum_to, total
from mlipq.training.models.moments import COUPLING_4, MOMENT_SHELLS, SHELL_MASK


class PerElement(nn.Module):
    """``shift + scale · x``, both by element and column; 0 and 1 until they are set."""

    shift: Tensor
    scale: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(N_ELEMENTS, columns))
        self.register_buffer("scale", torch.ones(N_ELEMENTS, columns))

    def set(self, shift: Tensor, scale: Tensor) -> None:
        """Take mean and standard deviation, (119, columns) by atomic number, or what broadcasts to it."""
        self.shift.copy_(shift)
        self.scale.copy_(scale)

    def forward(self, x: Tensor, atomic_numbers: Tensor) -> Tensor:  # (N, columns)
        return torch.addcmul(self.shift.index_select(0, atomic_numbers), self.scale.index_select(0, atomic_numbers), x)


class EnergyHead(nn.Module):
    """Energy as a sum over atoms, in float64: what the network says, and the reference energy of each element.

    What the network says has a part that is linear in the scalars of all layers, with weights of each element: nothing at the start, and
    what can be fitted at once to few labels (:mod:`mlipq.training.tasks.readout`). MACE has a readout of each layer too (Batatia et al.,
    NeurIPS 2022). The references stand outside the network, in float64, whatever its precision; an element without one has NaN, so that
    no energy is made up for it.

    Parameters
    ----------
    channels
        Features of an atom.
    layers
        Of the backbone.
    hidden
        Units of the hidden layer.
    fed
        Columns of predicted charges that are read beside the features.
    """

    references: Tensor
    scale: Tensor

    def __init__(self, channels: int, layers: int, hidden: int, fed: int = 0) -> None:
        super().__init__()
        self.channels, self.layers, self.hidden, self.fed = channels, layers, hidden, fed
        self.network = mlp(channels + fed, hidden, 1)
        self.of_elements = nn.Parameter(torch.zeros(N_ELEMENTS, layers * channels))
        self.register_buffer("scale", torch.ones(()))  # eV
        self.register_buffer("references", torch.zeros(N_ELEMENTS, dtype=torch.float64))  # eV

    def forward(self, features: Features, batch: Batch, fed: Tensor | None = None) -> Tensor:  # (S,) float64
        references = self.references.index_select(0, batch.atomic_numbers)
        atoms = self.atoms(features, batch, fed).double()
        return sum_to(atoms + references, batch.structures, batch.n_structures)

    def atoms(self, features: Features, batch: Batch, fed: Tensor | None = None) -> Tensor:  # (N,)
        """Return what the network says of each atom, in eV."""
        x = features.scalars if fed is None else torch.cat([features.scalars, fed], dim=1)  # (N, C + fed)
        weights = self.of_elements.index_select(0, batch.atomic_numbers)  # (N, LC)
        atoms: Tensor = self.scale * (self.network(x)[:, 0] + (weights * features.of_layers).sum(dim=1))
        return atoms

    def ends(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the first and the last layer of the network."""
        return cast(nn.Linear, self.network[0]), cast(nn.Linear, self.network[2])

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        exact = self.references
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.references = exact.to(self.references.device)  # a change of precision leaves it alone
        return self


def merge(heads: Sequence[EnergyHead]) -> EnergyHead:
    """Return one head that gives the sum of what several give: it has the hidden units of all, side by side.

    Their scales go into the last layer; a head that reads no charges has zeros for them in the first.
    """
    hidden, fed = sum(head.hidden for head in heads), max(head.fed for head in heads)
    merged = EnergyHead(heads[0].channels, heads[0].layers, hidden, fed)
    before, after = merged.to(heads[0].scale).ends()
    first, last = zip(*(head.ends() for head in heads))
    with torch.no_grad():
        wide = [nn.functional.pad(layer.weight, (0, before.in_features - layer.in_features)) for layer in first]
        before.weight.copy_(torch.cat(wide))
        before.bias.copy_(torch.cat([layer.bias for layer in first]))
        after.weight.copy_(torch.cat([head.scale * layer.weight for head, layer in zip(heads, last)], dim=1))
        after.bias.copy_(total(head.scale * layer.bias for head, layer in zip(heads, last)))
        merged.of_elements.copy_(total(head.scale * head.of_elements for head in heads))
        merged.references.copy_(total(head.references for head in heads))
    return merged


class ChargesHead(nn.Module):
    """Charges of atoms, one column or one a shell, in e.

    Where the total charge is imposed, what is missing to it is shared out by positive weights that the network learns, as in
    Zubatyuk et al., *Teaching a neural network to attach and detach electrons from molecules* (Nat. Commun. 12, 4870 (2021)).

    Parameters
    ----------
    channels
        Features of an atom.
    mask
        ``(119, columns)``: 1 where an element has such a shell; what it has not is 0.
    conserve
        Impose the total charge; otherwise it is learned like anything else.
    """

    mask: Tensor

    def __init__(self, channels: int, mask: Tensor, conserve: bool) -> None:
        super().__init__()
        self.columns, self.conserve = mask.shape[1], conserve
        self.network = mlp(channels, channels // 2, self.columns * (2 if conserve else 1))
        self.normal = PerElement(self.columns)
        self.register_buffer("mask", mask.to(torch.get_default_dtype()), persistent=False)

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (N, columns)
        out = self.network(features.scalars)
        mask = self.mask.index_select(0, batch.atomic_numbers)
        charges: Tensor = self.normal(out[:, : self.columns], batch.atomic_numbers) * mask
        if not self.conserve:
            return charges
        weights = nn.functional.softplus(out[:, self.columns :]) * mask
        both = torch.stack([charges.sum(dim=1), weights.sum(dim=1)], dim=1)  # (N, 2)
        sums = sum_to(both, batch.structures, batch.n_structures)  # (S, 2)
        missing = (batch.charge - sums[:, 0]) / sums[:, 1].clamp(
            min=1e-20
        )  # (S,); no weight, where no atom has a shell
        return charges + weights * missing.index_select(0, batch.structures)[:, None]


class OrbitalChargesHead(ChargesHead):
    """``gfn1/orbital_charges``: the charges of s, p and d of each atom, (N, 3)."""

    def __init__(self, channels: int, conserve: bool) -> None:
        super().__init__(channels, SHELL_MASK, conserve)


class AtomicChargesHead(ChargesHead):
    """``gfn1/atomic_charges``, or another population analysis's: (N,)."""

    def __init__(self, channels: int, conserve: bool) -> None:
        super().__init__(channels, torch.ones(N_ELEMENTS, 1), conserve)

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (N,)
        return super().forward(features, batch)[:, 0]


class OrbitalMomentsHead(nn.Module):
    """``gfn1/orbital_moments``: 3x0e+2x2e+1x4e of each atom, in e, (N, 22).

    0e is read from the scalars; 2e is a mixture of tensors, gated by the scalars; 4e is a gated sum of products of two tensors by
    the fixed coupling of 2e and 2e (:mod:`mlipq.training.models.moments`). From an invariant model, which has no tensors, 2e and 4e
    are zero: populations are then the isotropic share.

    Parameters
    ----------
    channels
        Features of an atom.
    equivariant
        Whether the backbone has tensors.
    pairs
        Products of tensors that 4e is summed from.
    """

    mask: Tensor
    coupling: Tensor

    def __init__(self, channels: int, equivariant: bool, pairs: int = 16) -> None:
        super().__init__()
        self.pairs, self.equivariant = pairs, equivariant
        gates = 2 * channels + pairs if equivariant else 0
        self.network = mlp(channels, channels, 3 + gates)
        self.normal = PerElement(22)
        self.register_buffer("mask", SHELL_MASK[:, MOMENT_SHELLS].to(torch.get_default_dtype()), persistent=False)
        if equivariant:
            self.products = nn.Linear(channels, 2 * pairs, bias=False)
            coupling = torch.from_numpy(COUPLING_4).to(torch.get_default_dtype())
            self.register_buffer("coupling", coupling, persistent=False)

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (N, 22)
        out = self.network(features.scalars)
        if self.equivariant and features.tensors is not None:
            scalars, gates, weights = out.split([3, out.shape[1] - 3 - self.pairs, self.pairs], dim=1)
            gates = gates.unflatten(1, (2, -1))  # (N, 2, C)
            two = torch.einsum("ngc,mnc->ngm", gates, features.tensors) / gates.shape[2] ** 0.5  # (N, 2, 5)
            left, right = self.products(features.tensors).chunk(2, dim=2)  # (5, N, P) each
            pairs = torch.einsum("anp,bnp,np->nab", left, right, weights)  # (N, 5, 5)
            four = torch.einsum("kab,nab->nk", self.coupling, pairs)  # (N, 9)
            moments = torch.cat([scalars, two.flatten(1), four], dim=1)
        else:
            moments = nn.functional.pad(out, (0, 19))
        mask = self.mask.index_select(0, batch.atomic_numbers)
        scaled: Tensor = self.normal(moments, batch.atomic_numbers)
        return scaled * mask


class DipoleHead(nn.Module):
    """Dipole moment about the centre of nuclear charge, in e·Å, (S, 3): latent charges, and dipoles of atoms.

    μ = Σ_i q_i r_i + μ_i, as in Schütt, Unke, Gastegger, *Equivariant message passing …* (ICML 2021), the section on tensorial
    properties; without vectors, the charges alone.

    Parameters
    ----------
    channels
        Features of an atom.
    equivariant
        Whether the backbone has vectors.
    """

    def __init__(self, channels: int, equivariant: bool) -> None:
        super().__init__()
        self.equivariant = equivariant
        self.network = mlp(channels, channels, 1 + (channels if equivariant else 0))

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (S, 3)
        out = self.network(features.scalars)
        z = batch.atomic_numbers.double()[:, None]
        centre = sum_to(z * batch.positions, batch.structures, batch.n_structures)
        centre = centre / sum_to(z, batch.structures, batch.n_structures)  # (S, 3)
        arms = (batch.positions - centre.index_select(0, batch.structures)).to(out.dtype)  # (N, 3)
        atoms = out[:, :1] * arms
        if self.equivariant and features.vectors is not None:
            atoms = atoms + torch.einsum("nc,xnc->nx", out[:, 1:], features.vectors) / out.shape[1] ** 0.5
        return sum_to(atoms, batch.structures, batch.n_structures)


class DipoleMagnitudeHead(DipoleHead):
    """Length of the dipole moment, in e·Å, (S,); smooth where it is zero."""

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (S,)
        return (super().forward(features, batch).square().sum(dim=1) + 1e-12).sqrt()


class AtomValuesHead(nn.Module):
    """Any numbers of each atom that do not turn with the structure: (N, *shape).

    Parameters
    ----------
    channels
        Features of an atom.
    shape
        Of the numbers of one atom.
    """

    def __init__(self, channels: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        columns = math.prod(self.shape)
        self.network = mlp(channels, channels // 2, columns)
        self.normal = PerElement(columns)

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (N, *shape)
        values: Tensor = self.normal(self.network(features.scalars), batch.atomic_numbers)
        return values.reshape(-1, *self.shape)


class StructureValuesHead(nn.Module):
    """Any numbers of a structure that neither turn nor grow with it, such as a gap: (S, *shape); the mean of what its atoms say.

    Parameters
    ----------
    channels
        Features of an atom.
    shape
        Of the numbers of one structure.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, channels: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        columns = math.prod(self.shape)
        self.network = mlp(channels, channels, columns)
        self.register_buffer("shift", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    def forward(self, features: Features, batch: Batch) -> Tensor:  # (S, *shape)
        atoms = self.network(features.scalars)  # (N, columns)
        both = torch.cat([atoms, torch.ones_like(atoms[:, :1])], dim=1)
        sums = sum_to(both, batch.structures, batch.n_structures)
        return (self.shift + self.scale * sums[:, :-1] / sums[:, -1:]).reshape(-1, *self.shape)
