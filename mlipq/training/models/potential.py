"""A potential: a backbone and its heads, forces as gradients, and what is left of it for inference."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from mlipq.errors import InputError
from mlipq.training.architecture import HeadConfig, PotentialConfig, forces_name
from mlipq.training.models import BACKBONES, Backbone
from mlipq.training.models.batch import Batch
from mlipq.training.models.heads import (
    AtomicChargesHead,
    AtomValuesHead,
    DipoleHead,
    DipoleMagnitudeHead,
    EnergyHead,
    OrbitalChargesHead,
    OrbitalMomentsHead,
    StructureValuesHead,
    merge,
)
from mlipq.training.models.layers import sum_to


class Potential(nn.Module):
    """Predicts labels of the structures of a batch.

    Parameters
    ----------
    config
        What to build.

    Examples
    --------
    >>> potential = Potential(PotentialConfig(heads=("energy", "orbital_charges")))  # doctest: +SKIP
    >>> out = potential(batch.differentiable(), forces_of=["energy"])  # doctest: +SKIP
    >>> out["energy"], out["forces"], out["orbital_charges"]  # (S,) float64, (N, 3), (N, 3)  # doctest: +SKIP
    """

    def __init__(self, config: PotentialConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = cast(
            Backbone, BACKBONES[config.backbone](config.channels, config.layers, config.cutoff, config.radial)
        )
        self.heads = nn.ModuleDict({name: _head(name, head, config) for name, head in config.heads.items()})

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, batch: Batch, forces_of: Collection[str] = ()) -> dict[str, Tensor]:
        """Return what each head says, and forces.

        Parameters
        ----------
        batch
            Structures; :meth:`~mlipq.training.models.batch.Batch.differentiable` where forces are wanted.
        forces_of
            Heads of kind ``energy`` to differentiate. In training mode a loss of the forces has gradients in turn.

        Returns
        -------
        dict[str, Tensor]
            By head; energies are float64 and include the reference energies. ``(N, 3)`` forces by their name in ``config.energies``, minus
            the gradient; with ``forces``, ``strain_gradient`` ``(S, 3, 3)``, in eV: the stress times the volume of the cell.
        """
        features = self.backbone(batch)
        out: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            if name != "energy":
                out[name] = head(features, batch)
        if "energy" in self.heads:
            fed = out[self.config.feed_charges].reshape(batch.n_atoms, -1) if self.config.feed_charges else None
            out["energy"] = self.heads["energy"](features, batch, fed)
            if self.config.composite:
                out["energy"] = out["energy"] + out["gfn1_energy"]
        for name in forces_of:
            (gradient,) = torch.autograd.grad(
                out[name].sum(), batch.vectors, retain_graph=True, create_graph=self.training
            )  # (E, 3)
            out[forces_name(name)] = _forces(gradient, batch)
            if name == "energy":
                out["strain_gradient"] = _strain_gradient(gradient, batch)
        return out

    def needed(self) -> set[str]:
        """Return the heads that the energy cannot do without."""
        fed = {self.config.feed_charges} - {""}
        return {"energy"} | fed

    def drop(self, names: Collection[str]) -> "Potential":
        """Return the potential without some heads, for inference: its energies and forces are the same.

        The GFN1 head of a composite energy becomes part of the head ``energy`` when it is dropped.

        Raises
        ------
        InputError
            If there is no such head, or the energy needs it.
        """
        for name in names:
            if name not in self.heads:
                raise InputError(f"this model has no head {name!r} to drop; it has {', '.join(self.heads)}")
            if name in self.needed():
                why = "it is the energy" if name == "energy" else "its charges feed the energy"
                raise InputError(f"the head {name!r} cannot be dropped: {why}")
        kept = {name: head for name, head in self.config.heads.items() if name not in names}
        merging = self.config.composite and "gfn1_energy" not in kept
        heads: dict[str, nn.Module] = {name: self.heads[name] for name in kept}
        update: dict[str, object] = {"heads": kept}
        if merging:
            heads["energy"] = merge([cast(EnergyHead, self.heads[name]) for name in ("energy", "gfn1_energy")])
            update["composite"] = False
        smaller = Potential(self.config.model_copy(update=update))
        smaller.backbone, smaller.heads = self.backbone, nn.ModuleDict(heads)
        return smaller.train(self.training)


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Build potentials in this precision: constants too, which a conversion afterwards would not make exact."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _head(name: str, head: HeadConfig, config: PotentialConfig) -> nn.Module:
    channels, equivariant = config.channels, config.backbone != "schnet"
    match head.kind:
        case "energy":
            fed = {"": 0, "orbital_charges": 3, "atomic_charges": 1}[config.feed_charges] if name == "energy" else 0
            return EnergyHead(channels, config.layers, _hidden(name, config), fed)
        case "orbital_charges":
            return OrbitalChargesHead(channels, config.conserve_charge)
        case "atomic_charges":
            return AtomicChargesHead(channels, config.conserve_charge)
        case "orbital_moments":
            return OrbitalMomentsHead(channels, equivariant)
        case "dipole":
            return DipoleHead(channels, equivariant)
        case "dipole_magnitude":
            return DipoleMagnitudeHead(channels, equivariant)
        case "atom_values":
            return AtomValuesHead(channels, head.shape)
        case "structure_values":
            return StructureValuesHead(channels, head.shape)


def _hidden(energy: str, config: PotentialConfig) -> int:
    """Return the hidden units of an energy head; the two of a composite share those of one, so that both merged are as large."""
    units = config.channels // 2
    if not config.composite or energy not in ("energy", "gfn1_energy"):
        return units
    return units // 2 if energy == "gfn1_energy" else units - units // 2


def _forces(gradient: Tensor, batch: Batch) -> Tensor:  # (E, 3) -> (N, 3)
    return sum_to(gradient, batch.receivers, batch.n_atoms) - sum_to(gradient, batch.senders, batch.n_atoms)


def _strain_gradient(gradient: Tensor, batch: Batch) -> Tensor:  # (E, 3) -> (S, 3, 3)
    edges = batch.structures.index_select(0, batch.receivers)
    return sum_to(gradient[:, :, None] * batch.vectors[:, None, :], edges, batch.n_structures)
