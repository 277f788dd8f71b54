"""A run as data: what its YAML may say, checked before anything is read or trained. No torch is needed to read it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mlipq.settings import Content, accepted, dataset_from, read_yaml
from mlipq.training.architecture import SIZES, Architecture, HeadConfig, HeadKind, PotentialConfig

MAIN = "main"
"""Target that stands for the dataset's main energy, or for the forces that belong to it."""


def _number(value: Any) -> Any:
    """Read ``1e-3`` as the number that it is: YAML 1.1 takes it for text."""
    try:
        return value if not isinstance(value, str) else int(value) if value.isdecimal() else float(value)
    except ValueError:
        return value


def _task(value: Any) -> Any:
    """Accept a target alone beside ``{target: …, weight: …}``, and nothing for a task that needs no settings."""
    return {"target": value} if isinstance(value, str) else {} if value is None else value


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Annealed(_Record):
    """A weight that goes from one value to another in a straight line, and stays there."""

    start: NonNegativeFloat
    """At the first step."""
    end: NonNegativeFloat
    """From step ``steps`` on."""
    steps: NonNegativeInt
    """How long it takes."""

    def at(self, step: int) -> float:
        """Return the weight at a step, counted from 0."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.steps


class TaskSettings(_Record):
    """What one output learns from."""

    target: str = ""
    """Array of the dataset, such as ``reference/pbe0_energy``, or ``main``. What ``gfn1_…``, charges, moments and dipoles learn
    is known; everything else names its target."""
    kind: HeadKind | Literal["", "forces"] = ""
    """What the output is; by default what its name says, else what its target is."""
    loss: Literal["mse", "l1", "smooth_l1"] = "smooth_l1"
    """Of the residual over ``scale``: its square, its size, or the square of small ones and the size of large ones."""
    beta: PositiveFloat = 0.1
    """For ``smooth_l1``: residual over ``scale`` at which square becomes size."""
    weight: Annotated[NonNegativeFloat | Annealed, BeforeValidator(_number)] = 1.0
    """Of this loss in the sum, or how it changes: ``{start: 1, end: 0.1, steps: 2000}``."""
    scale: Annotated[Literal["std"] | PositiveFloat, BeforeValidator(_number)] = "std"
    """What residuals are divided by: the spread of the training labels about what elements and composition tell of them, or a
    number in the unit of the label."""
    per_atom: bool = False
    """Of an energy: loss and errors are of the energy over the number of atoms."""
    references: Literal["fit", "isolated", "none"] | dict[str, float] = "fit"
    """Energy of one atom of each element, of which an energy is taken to be the sum before anything is learned: fitted to the
    training structures, those of isolated atoms that the dataset's manifest has, none, or given in eV by symbol."""
    start_from: str = ""
    """Of an energy: output of the model in the run's ``start_from`` as which it begins, such as ``gfn1_energy``. What is linear in it
    is fitted to what it leaves of the labels, with ``references: fit``; by default an energy of another level of theory begins anew."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ValueError("the name of a task has small letters, digits and _, a letter first")
    return value


TaskName = Annotated[str, AfterValidator(_name)]


class BatchSize(_Record):
    """How much is in the batch of a step."""

    structures: PositiveInt | None = None
    """So many structures, or one less where an epoch cannot be divided by it."""
    atoms: PositiveInt | None = None
    """So many atoms at most; a structure that has more is a batch of its own."""
    edges: PositiveInt | None = None
    """So many neighbours at most, each pair counted twice: what time and memory follow; a structure that has more is a batch of its
    own."""

    @model_validator(mode="after")
    def _one(self) -> "BatchSize":
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError(f"should say one of structures, atoms and edges, got {', '.join(given) or 'none'}")
        return self


class DataSettings(_Record):
    """Structures of one dataset, and what is learned from them. Every step takes a batch of each dataset."""

    dataset: str = Field(min_length=1)
    """Name (``qm7-gfn1@1.0.0``), folder, or manifest."""
    split: str = ""
    """Named split; may be left out where the dataset has exactly one."""
    train: str = ""
    """Part of the split to train on; may be left out where there is one beside ``test`` and ``validation``."""
    size: PositiveInt | None = None
    """Structures drawn by the seed, those for validation among them unless they are a part of the split; by default all."""
    validation: Annotated[NonNegativeInt | NonNegativeFloat | str, BeforeValidator(_number)] = 0.1
    """Structures for validation: a fraction of ``size``, a number, or a part of the split."""
    groups: tuple[str, ...] = ()
    """Only structures whose ``group`` is one of these."""
    batch: BatchSize = BatchSize(structures=25)
    """Size of a batch."""
    tasks: dict[TaskName, Annotated[TaskSettings, BeforeValidator(_task)]] = Field(min_length=1)
    """What is learned, by the name of the output; of a task that differs in its target alone, the target."""

    @model_validator(mode="after")
    def _validation(self) -> "DataSettings":
        if isinstance(self.validation, float) and self.validation >= 1:
            raise ValueError(f"validation should be a fraction below 1 or a whole number, got {self.validation}")
        if isinstance(self.validation, int) and self.size is not None and self.validation >= self.size:
            raise ValueError(f"validation = {self.validation} leaves nothing of size = {self.size} to train on")
        return self


class ModelSettings(Architecture):
    """The model: a size, and what shall differ from it."""

    size: Literal["small", "large"] = "small"
    """``large``: 128 channels, 4 layers, a cutoff of 6 Å."""

    @model_validator(mode="before")
    @classmethod
    def _of_size(cls, content: Any) -> Any:
        return {**SIZES.get(str(content.get("size")), {}), **content} if isinstance(content, dict) else content

    def build(self, heads: Mapping[str, HeadConfig], elements: tuple[int, ...]) -> PotentialConfig:
        """Return what the potential is built from.

        Raises
        ------
        InputError
            If an option needs a head that no task trains.
        """
        content = {**self.model_dump(exclude={"size"}), "heads": dict(heads), "elements": elements}
        return accepted(PotentialConfig, Content(content, {}), "model", "this does not fit the tasks")


class TrainingSettings(_Record):
    """The loop: how long, how fast, and what is kept."""

    steps: PositiveInt | None = None
    """Steps in all; 6000 where neither steps nor epochs are given."""
    epochs: PositiveInt | None = None
    """Instead of steps: passes through the first dataset."""
    learning_rate: PositiveFloat = 1e-3
    """Largest learning rate of AdamW."""
    warmup: NonNegativeInt = 200
    """Steps in which the learning rate rises to it."""
    final_learning_rate: float = Field(default=0.01, ge=0, le=1)
    """Share of the learning rate that a cosine falls to at the last step; 1 keeps it constant."""
    weight_decay: NonNegativeFloat = 0.01
    """Of AdamW."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the average of the weights, which is what is validated and kept; 0 takes the weights themselves."""
    clip: NonNegativeFloat = 10.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    validate_every: PositiveInt | None = None
    """Steps between validations; by default an epoch of the first dataset, but a fiftieth of all steps at least."""
    patience: NonNegativeInt = 0
    """Stop after so many validations without gain; 0 never stops early."""
    best_by: str = ""
    """Task of the first dataset whose validation error chooses the best weights; by default the weighted sum of all."""
    threads: PositiveInt | None = None
    """CPU threads; by default as many as torch takes."""
    precision: Literal["float32", "float64"] = "float32"
    """Of the network; energies of elements and errors are float64 always."""
    compile: bool = False
    """Compile the model first: worth it for long runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; ``auto`` takes a GPU where there is one."""

    @model_validator(mode="before")
    @classmethod
    def _default_length(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("steps") is None and content.get("epochs") is None:
            return {**content, "steps": 6000}
        return content

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingSettings":
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"should say steps or epochs, got both: {self.steps} and {self.epochs}")
        return self


class RunConfig(_Record):
    """A training run."""

    output: str = Field(min_length=1)
    """Folder of the run; it must not be there, or be empty."""
    seed: NonNegativeInt = 0
    """Of the weights at the start, of which structures are drawn, and of their order."""
    model: ModelSettings = ModelSettings()
    data: tuple[DataSettings, ...] = Field(min_length=1)
    """Datasets; epochs are counted by the first, whose validation structures choose the best weights."""
    training: TrainingSettings = TrainingSettings()
    start_from: str = ""
    """Run or packaged model whose weights training starts from."""

    @model_validator(mode="after")
    def _best(self) -> "RunConfig":
        if self.data[0].validation == 0:
            raise ValueError(f"validation of {self.data[0].dataset} should not be 0: it chooses the best weights")
        beginning = [name for data in self.data for name, task in data.tasks.items() if task.start_from]
        if beginning and not self.start_from:
            raise ValueError(
                f"task {beginning[0]}: start_from names an output of a model; say which by start_from of the run, too"
            )
        names = self.data[0].tasks
        if self.training.best_by and self.training.best_by not in names:
            known = ", ".join(names)
            raise ValueError(
                f"training.best_by should be a task of {self.data[0].dataset} ({known}), got {self.training.best_by!r}"
            )
        return self


def read_config(source: Path | str | Mapping[str, Any], **overrides: Any) -> RunConfig:
    """Read the configuration of a run.

    Parameters
    ----------
    source
        A YAML file, whose relative paths count from its folder; or what such a file would hold.
    overrides
        Keys that replace those of the file; of a key that holds others, those that are named: ``training={"steps": 100}``.

    Raises
    ------
    InputError
        If the file is not YAML, or a key is unknown (the nearest known one is named), missing or out of range.

    Examples
    --------
    >>> content = {"output": "runs/qm7", "data": [{"dataset": "qm7-gfn1", "tasks": {"energy": {"target": "main"}}}]}
    >>> read_config(content, training={"steps": 100}).training.steps
    100
    """
    if isinstance(source, Mapping):
        return _made(Content(dict(source), {}).merged(overrides), "this configuration")
    path = Path(source)
    content = read_yaml(path, "run", "output: …, data: […]")
    resolved = Content(_resolved(content.values, path.parent), content.lines)
    return _made(resolved.merged(overrides), str(path))


def _made(content: Content, where: str) -> RunConfig:
    return accepted(RunConfig, content, where, "this run cannot be started")


def _resolved(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the content with relative paths counted from the file's folder; what is no path there is a dataset's name."""
    out = dict(content)
    for key in ("output", "start_from"):
        if out.get(key) and isinstance(out[key], str):
            out[key] = str(folder / out[key])
    if isinstance(out.get("data"), list):
        out["data"] = [_with_path(data, folder) for data in out["data"]]
    return out


def _with_path(data: Any, folder: Path) -> Any:
    if not isinstance(data, dict) or "dataset" not in data:
        return data
    return {**data, "dataset": dataset_from(data["dataset"], folder)}
