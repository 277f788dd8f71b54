"""A labeling job as data: what its YAML may say, checked before anything runs."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mlipq.errors import InputError
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


class LabelerSettings(_Record):
    """Which method labels, and its settings; they stand in the plan and the manifest."""

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


class InputSpec(_Record):
    """Files, folders or globs, with reference labels of their own."""

    path: str
    reference: dict[str, ReferenceField] = {}


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
    labeler: LabelerSettings = LabelerSettings()
    charge: ChargeSource = ChargeSource()
    spin: SpinSource = SpinSource()
    reference: dict[str, ReferenceField] = {}
    """Reference labels of all inputs."""
    ignore_pbc: bool = False
    """Drop the cell of periodic structures (molecules in a box)."""
    format: Literal["zarr", "h5"] = "zarr"
    cluster: Literal["local"] = "local"
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
        return {**shown, "input_reference": own, "labeler": self.labeler.build().settings}


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
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the job file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: a job file is YAML in UTF-8; this is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}: expected a job (inputs: […], output: …), found {found}")
    return make_job(_merged(content, overrides or {}), str(path), names)


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
    try:
        job = Job.model_validate(content)
        for spec in job.inputs:
            job.read_options(spec.reference)
    except ValidationError as error:
        problems = [_explain(problem, names or {}) for problem in error.errors()]
    except InputError as error:
        problems = [str(error)]
    else:
        return job
    raise InputError("\n".join([f"{where}: this job cannot be run:", *(f"  {problem}" for problem in problems)]))


def _merged(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in overrides.items():
        own = content.get(key)
        merged[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
    return merged


def _yaml_problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"


def _explain(problem: Any, names: Mapping[str, str]) -> str:
    location = problem["loc"]
    key = ".".join(map(str, location))
    key = names.get(key, key)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(), n=1)
        return f"{key}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
    if problem["type"] == "missing":
        return f"{key}: missing"
    if problem["type"] in ("model_type", "dict_type"):
        expected = "should hold keys and values (key: value)"
    else:
        expected = re.sub(r"^(Value error, |Input (?=should))", "", problem["msg"])
    return f"{key}: {expected}, got {problem['input']!r}"


def _known_keys() -> list[str]:
    records = (Job, LabelerSettings, ChargeSource, SpinSource, ReferenceField, InputSpec, Limits)
    return [name for record in records for name in record.model_fields]
