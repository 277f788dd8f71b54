"""What a potential is built from: its backbone, its heads, and the options that join them. No torch is needed to read it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

HeadKind = Literal[
    "energy",
    "orbital_charges",
    "orbital_moments",
    "atomic_charges",
    "dipole",
    "dipole_magnitude",
    "atom_values",
    "structure_values",
]
"""What a head predicts; the last two are any numbers of an atom or of a structure that do not turn with it."""

OWN_KIND: dict[str, HeadKind] = {
    "energy": "energy",
    "gfn1_energy": "energy",
    "orbital_charges": "orbital_charges",
    "orbital_moments": "orbital_moments",
    "atomic_charges": "atomic_charges",
    "dipole": "dipole",
    "dipole_magnitude": "dipole_magnitude",
}
"""Heads that are known by their name, and their kind."""


DERIVED = ("strain_gradient", "stress", "orbital_populations")
"""Outputs that follow from those of heads, beside the forces of energies."""


def forces_name(energy: str) -> str:
    """Return the name of the forces of an energy: ``gfn1_forces`` of ``gfn1_energy``."""
    return f"{energy.removesuffix('energy')}forces"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HeadConfig(_Record):
    """One head."""

    kind: HeadKind
    """What it predicts."""
    shape: tuple[PositiveInt, ...] = ()
    """Of the numbers of one atom or structure, for ``atom_values`` and ``structure_values``."""


class Architecture(_Record):
    """The choices that a user makes for a model."""

    backbone: Literal["schnet", "painn", "tensornet"] = "painn"
    """Architecture; all but ``schnet`` are equivariant."""
    channels: int = Field(default=64, ge=4, le=10_000)
    """Features of an atom."""
    layers: int = Field(default=3, ge=1, le=100)
    """Rounds of messages."""
    cutoff: float = Field(default=5.0, gt=0, le=100)
    """Largest distance between neighbours, in Å."""
    radial: int = Field(default=16, ge=2, le=1_000)
    """Functions of the distance: how finely the model tells distances apart."""
    composite: bool = False
    """Energy = the energy of the head ``gfn1_energy`` + a correction, which the head ``energy`` learns; each has half of the hidden
    units of an energy head, and a package has both as one."""
    feed_charges: Literal["", "orbital_charges", "atomic_charges"] = ""
    """Predicted charges that the head ``energy`` reads beside the features."""
    conserve_charge: bool = False
    """Let predicted orbital charges, and atomic ones, add up to the total charge; otherwise that is learned."""


SIZES: dict[str, dict[str, Any]] = {
    "small": {},
    "large": {"channels": 128, "layers": 4, "cutoff": 6.0},
}
"""Two sizes: where they differ from the defaults of :class:`Architecture`."""


class PotentialConfig(Architecture):
    """Everything that a potential is built from; its weights apart."""

    heads: dict[str, HeadConfig] = {"energy": HeadConfig(kind="energy")}
    """What is predicted, by name; forces come with every energy. Names alone do for heads that are known by them."""
    elements: tuple[int, ...] = ()
    """Atomic numbers that the training structures had; none for a potential that was not trained."""

    @field_validator("heads", mode="before")
    @classmethod
    def _named(cls, heads: Any) -> Any:
        if isinstance(heads, dict):  # of JSON, which has no tuples
            return {name: HeadConfig.model_validate(head, strict=False) for name, head in heads.items()}
        if not isinstance(heads, list | tuple) or not all(isinstance(name, str) for name in heads):
            raise ValueError(f"expected heads by name, or a list of names, got {heads!r}")
        unknown = [name for name in heads if name not in OWN_KIND]
        if unknown:
            raise ValueError(f"a head without a kind should be one of {', '.join(OWN_KIND)}, got {unknown[0]!r}")
        return {name: HeadConfig(kind=OWN_KIND[name]) for name in heads}

    @model_validator(mode="after")
    def _complete(self) -> "PotentialConfig":
        for name, head in self.heads.items():
            if OWN_KIND.get(name, head.kind) != head.kind:
                raise ValueError(f"the head {name} should be of kind {OWN_KIND[name]}, got {head.kind}")
            if head.kind == "energy" and not name.endswith("energy"):
                raise ValueError(f"a head of kind energy should have a name that ends in energy, got {name}")
        if self.composite and not {"energy", "gfn1_energy"} <= self.heads.keys():
            raise ValueError("a composite energy needs the heads energy and gfn1_energy")
        if self.feed_charges and not {"energy", self.feed_charges} <= self.heads.keys():
            raise ValueError(f"charges that feed the energy need the heads energy and {self.feed_charges}")
        return self

    @property
    def energies(self) -> dict[str, str]:
        """Heads that are energies, and the names of their forces."""
        return {name: forces_name(name) for name, head in self.heads.items() if head.kind == "energy"}


PRESETS = {size: PotentialConfig(**settings) for size, settings in SIZES.items()}
"""Potentials of the two sizes, with a head for the energy."""
