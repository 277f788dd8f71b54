"""A labeling job as data: what its YAML may say, checked before anything runs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from mlipq.dft import Pbe
from mlipq.errors import InputError
from mlipq.settings import Content, Mistakes, checked, read_yaml
from mlipq.structures import ReadOptions, ReferenceSpec
from mlipq.xtb import Gfn1

LEAST_MEMORY = 1 << 30
"""Bytes of address space."""


def _kelvin(value: Any) -> Any:
    """Accept ``300 K`` beside ``300``."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*([\d.]+)\s*K\s*", value)):
        return match[1]
    return value


def _bytes(value: Any) -> Any:
    """Accept ``8GB`` (of 1024³ bytes, as memory is sold) beside a number of bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", str(value), re.IGNORECASE)
    if match is None:
        raise ValueError("should be a size such as 8GB")
    size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
    if size < LEAST_MEMORY:
        raise ValueError("should be at least 1GB, which a labeling child needs for its libraries alone")
    return size


def _multiplicity(value: Any) -> Any:
    """Say in one sentence what neither branch of the union says alone."""
    text = str(value).strip()
    if text != "lowest" and not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError("should be a multiplicity (1, 2, 3 …) or lowest")
    return text if text == "lowest" else int(text)


def _input(value: Any) -> Any:
    """Accept a path alone beside ``{path: …, reference: …}``."""
    return {"path": value} if isinstance(value, str) else value


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gfn1Settings(_Record):
    """GFN1-xTB and its settings; they stand in the plan and the manifest."""

    name: Literal["gfn1"] = "gfn1"
    accuracy: float = Field(default=1.0, ge=1e-4, le=1e3)
    """tblite's accuracy: 1.0 leaves 1e-9 Eh, 2e-6 Eh/a0 and up to 1e-4 e against 0.01."""
    electronic_temperature: Annotated[float, BeforeValidator(_kelvin)] = Field(default=300.0, gt=0, le=1e5)
    """In K."""
    max_iterations: int = Field(default=250, ge=1)
    """SCF iterations of the first attempt."""

    def build(self) -> Gfn1:
        """Return the labeler that these settings describe."""
        return Gfn1(self.accuracy, self.electronic_temperature, self.max_iterations)


class PbeSettings(_Record):
    """PBE/def2-SVP and its settings; they stand in the plan and the manifest."""

    name: Literal["pbe"] = "pbe"
    forces: bool = True
    """Label forces too, which takes about as long again."""
    grid: int = Field(default=3, ge=0, le=9)
    """Level of PySCF's grid of integration points."""

    def build(self) -> Pbe:
        """Return the labeler that these settings describe."""
        return Pbe(self.forces, self.grid)


def _method(value: Any) -> str:
    """Return which labeler a job names; GFN1 where it names none."""
    found = value.get("name", "gfn1") if isinstance(value, dict) else getattr(value, "name", "gfn1")
    return str(found)


LabelerSettings = Annotated[
    Annotated[Gfn1Settings, Tag("gfn1")] | Annotated[PbeSettings, Tag("pbe")],
    Discriminator(_method, custom_error_type="labeler_name", custom_error_message="name should be gfn1 or pbe"),
]
"""Which method labels, and its settings."""

LABELERS: dict[str, type[Gfn1Settings] | type[PbeSettings]] = {"gfn1": Gfn1Settings, "pbe": PbeSettings}
"""Settings by the name of the labeler."""


class ChargeSource(_Record):
    """Where the total charge comes from."""

    key: str | None = None
    """Field of the file; where not given, the names the field uses (charge, total_charge …)."""
    default: int | None = 0
    """Charge of structures whose file says nothing; ``null`` refuses them."""


class SpinSource(_Record):
    """Where the spin multiplicity comes from."""

    key: str | None = None
    """Field of the file, ``spin:2S`` where it counts unpaired electrons."""
    default: Annotated[int | Literal["lowest"], BeforeValidator(_multiplicity)] = "lowest"
    """Multiplicity of structures whose file says nothing."""


class ReferenceField(_Record):
    """One label that the input carries."""

    field: str
    kind: str
    unit: str
    level_of_theory: str


class Choice(_Record):
    """Which structures of a dataset to label, where it is not all of them."""

    split: str | None = None
    """Those of a part of a split: ``random/pool``."""
    number: int | None = Field(default=None, ge=1)
    """So many of these, drawn at random; a larger number has those of a smaller one."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Another one draws others."""


class InputSpec(_Record):
    """Files, folders or globs, with reference labels of their own; of a dataset perhaps some structures alone."""

    path: str
    reference: dict[str, ReferenceField] = {}
    choose: Choice | None = None


class Rattle(_Record):
    """Copies of each structure with every atom moved a little."""

    copies: int = Field(ge=1)
    """Of each structure, beside itself."""
    sigma: float = Field(default=0.05, gt=0, le=1)
    """Standard deviation of each coordinate's displacement, in Å."""
    seed: int = Field(default=0, ge=0, lt=2**63)


class Augmentation(_Record):
    """What to label beside the structures that the inputs hold."""

    rattle: Rattle


class Limits(_Record):
    """What one structure may use before it is stopped and goes to the failure ledger."""

    seconds: float | None = Field(default=None, gt=0)
    """This long, whatever its size; by default ``cost_factor`` times its predicted cost, and at least a minute."""
    cost_factor: float = Field(default=30.0, ge=1)
    memory: Annotated[int, BeforeValidator(_bytes)] | None = None
    """Address space of each child, as ``8GB`` or in bytes; by default this machine's memory over its cores."""


class Job(_Record):
    """A labeling job."""

    inputs: list[Annotated[InputSpec, BeforeValidator(_input)]] = Field(min_length=1)
    output: str
    labeler: LabelerSettings = Gfn1Settings()
    charge: ChargeSource = ChargeSource()
    spin: SpinSource = SpinSource()
    reference: dict[str, ReferenceField] = {}
    """Reference labels of all inputs."""
    ignore_pbc: bool = False
    """Drop the cell of periodic structures (molecules in a box)."""
    augment: Augmentation | None = None
    """Structures to make of those of the inputs."""
    format: Literal["zarr", "h5"] = "zarr"
    cluster: str = "local"
    """Name or file of a cluster profile."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; by default one a core."""
    limits: Limits = Limits()

    def read_options(self, own: dict[str, ReferenceField] | None = None) -> ReadOptions:
        """Return how structures are read, with an input's own reference labels."""
        fields = {**self.reference, **(own or {})}
        return ReadOptions(
            charge_key=self.charge.key,
            charge_default=self.charge.default,
            spin_key=self.spin.key,
            spin_default=self.spin.default,
            references=tuple(ReferenceSpec(name=name, **field.model_dump()) for name, field in fields.items()),
            ignore_pbc=self.ignore_pbc,
        )

    def settings(self) -> dict[str, Any]:
        """Everything the dataset depends on, beside the inputs' content: two plans with equal ones are the same plan."""
        shown = self.model_dump(mode="json", include={"charge", "spin", "reference", "ignore_pbc", "format"})
        own = {spec.path: spec.model_dump(mode="json")["reference"] for spec in self.inputs if spec.reference}
        chosen = [spec.model_dump(mode="json", include={"path", "choose"}) for spec in self.inputs if spec.choose]
        given = {"augment": self.augment and self.augment.model_dump(mode="json"), "input_choice": chosen}
        told = {key: value for key, value in given.items() if value}
        return {**shown, **told, "input_reference": own, "labeler": self.labeler.build().settings}


def load_job(path: Path, overrides: Mapping[str, Any] | None = None, names: Mapping[str, str] | None = None) -> Job:
    """Read a job from YAML.

    Parameters
    ----------
    path
        The file.
    overrides
        Keys that replace the file's own; of a key that holds others, those that are named.
    names
        As for :func:`make_job`.

    Raises
    ------
    InputError
        If the file is not YAML, or a key is unknown (the nearest known one is named), missing or out of range.
    """
    content = read_yaml(path, "job", "inputs: […], output: …")
    return _checked(content.merged(overrides or {}), str(path), names or {})


def make_job(content: dict[str, Any], where: str, names: Mapping[str, str] | None = None) -> Job:
    """Check a job.

    Parameters
    ----------
    content
        Its keys and values.
    where
        Where they come from; opens the message.
    names
        What the user calls a key (``labeler.accuracy``) where not by its own name: the option that set it.

    Raises
    ------
    InputError
        Listing everything that is wrong, each with its key.
    """
    return _checked(Content(content, {}), where, names or {})


def _checked(content: Content, where: str, names: Mapping[str, str]) -> Job:
    try:
        job = checked(Job, content, names)
        for spec in job.inputs:
            job.read_options(spec.reference)
    except Mistakes as mistakes:
        raise mistakes.of(where, "this job cannot be run") from None
    except InputError as error:
        raise Mistakes([str(error)]).of(where, "this job cannot be run") from None
    return job
