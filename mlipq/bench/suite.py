"""A suite as data: which dataset, sizes, seeds and modes are compared, and how each run trains. No torch is needed to read it."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from mlipq import resources
from mlipq.bench.modes import Mode, find_mode
from mlipq.bench.results import MeasuredWeights
from mlipq.errors import InputError
from mlipq.settings import Content, accepted, dataset_from, read_yaml
from mlipq.training.config import (
    MAIN,
    Annealed,
    BatchSize,
    ModelSettings,
    TaskName,
    TaskSettings,
    TrainingSettings,
)

REFUSAL = "this suite cannot be run"
POOL = "pool"
"""What ``extra`` calls the rest of the suite's own pool."""
SMALLEST = 10
"""Structures of the smallest size: one of them is for validation."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _mode(name: str) -> str:
    return find_mode(name).name


ModeName = Annotated[str, AfterValidator(_mode)]


class ExtraData(_Record):
    """Structures with xTB labels alone, for modes that end in ``+extra``."""

    dataset: str = Field(min_length=1)
    """Name, folder or manifest; or ``pool``: what is left of the suite's own pool, its DFT labels hidden."""
    exclude_test: bool = False
    """Leave out structures that may be test molecules, instead of refusing the dataset that has some."""
    known_by: Literal["formula", "graph"] = "formula"
    """What may be a test molecule: what has the formula and charge of one; or, where others of the same formula were made on
    purpose, the molecular graph and charge."""
    batch: BatchSize | None = None
    """Size of its batch in each step; by default that of the suite."""


class TrialTraining(_Record):
    """What a trial may change of training; the length is the same for all."""

    learning_rate: PositiveFloat | None = None
    warmup: NonNegativeInt | None = None
    final_learning_rate: float | None = Field(default=None, ge=0, le=1)
    weight_decay: NonNegativeFloat | None = None
    ema: float | None = Field(default=None, ge=0, lt=1)
    clip: NonNegativeFloat | None = None


class TrialSettings(_Record):
    """What a mode does otherwise than the suite says; each key as there."""

    weight: NonNegativeFloat | Annealed | None = None
    """Of all that is learned beside the main target."""
    tasks: dict[TaskName, TaskSettings] = {}
    """Settings of single tasks."""
    training: TrialTraining = TrialTraining()
    model: dict[str, Any] = {}
    """Settings of the model that differ."""

    @field_validator("model")
    @classmethod
    def _of_models(cls, model: dict[str, Any]) -> dict[str, Any]:
        if "size" in model:
            raise ValueError("size stands for several settings; name those that differ: channels, layers, cutoff")
        if own := [key for key in ("backbone", "composite") if key in model]:
            raise ValueError(f"{own[0]} is the modes' own, and the suite's; leave it out")
        ModelSettings.model_validate(model)
        return model


class Tuning(_Record):
    """Trials of settings, as many for each mode; the best by validation structures is taken for all sizes and seeds."""

    size: Annotated[int, Field(ge=SMALLEST)] | None = None
    """Of the trials; needed where there is more than one."""
    seed: NonNegativeInt = 1000
    """Of the trials; none of those that are reported."""
    trials: dict[ModeName, tuple[TrialSettings, ...]] = Field(min_length=1)
    """By mode. One trial each is not tried, but taken."""

    @field_validator("trials")
    @classmethod
    def _equally_many(cls, trials: dict[str, tuple[TrialSettings, ...]]) -> dict[str, tuple[TrialSettings, ...]]:
        counts = {mode: len(these) for mode, these in trials.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise ValueError(
                f"each mode should have as many trials, one at least; found {', '.join(f'{m} {n}' for m, n in counts.items())}"
            )
        return trials

    @property
    def tries(self) -> bool:
        """Whether there is anything to try."""
        return len(next(iter(self.trials.values()))) > 1

    @model_validator(mode="after")
    def _sized(self) -> "Tuning":
        if self.tries and self.size is None:
            raise ValueError("several trials need a size: how many structures they train and validate on")
        return self


class Suite(_Record):
    """A comparison of modes at several sizes."""

    name: str = ""
    """In reports; by default that of the file."""
    title: str = Field(min_length=1)
    """What is compared, in a line."""
    dataset: str = Field(min_length=1)
    """Name (``qm7-gfn1@1.0.0``), folder, or manifest."""
    split: str = ""
    """Named split with a part ``test``, which stays fixed; structures of the other parts are the pool. May be left out where there
    is one split, or none: then test structures are drawn once, whole groups."""
    test: PositiveInt | Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How many test structures are drawn where the dataset has no split: a fraction or a number."""
    groups: tuple[str, ...] = ()
    """Only structures whose ``group`` is one of these."""
    fewest: NonNegativeInt = 0
    """Leave out structures with an element that fewer structures of the pool have."""
    target: str = Field(default=MAIN, min_length=1)
    """Array that is to be predicted, or ``main``: the dataset's main energy."""
    task: TaskName = "energy"
    """Output that learns it: ``energy``, ``dipole_magnitude``, ``orbital_moments`` …"""
    forces: str = ""
    """Array of forces that every mode learns beside the energy; none by default."""
    sizes: tuple[Annotated[int, Field(ge=SMALLEST)], ...] = Field(min_length=1)
    """Structures with DFT labels, a tenth of them for validation. Of one seed, the smaller are among the larger."""
    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1)
    """Each draws structures, weights and their order; a number stands for so many seeds from 0 on."""
    modes: tuple[ModeName, ...] = Field(min_length=1)
    """What is compared, the baseline first."""
    labels: tuple[str, ...] = ()
    """Arrays that each structure drawn must have beside the target. What ``modes`` learn and only some structures may have, as DFT
    charges, is among them anyway: all modes draw the same structures."""
    extra: tuple[ExtraData, ...] = Field(default=(POOL,), validate_default=True)
    """Where the other structures of modes that end in ``+extra`` come from."""
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    """The loop, the same for all modes."""
    batch: BatchSize = BatchSize(structures=25)
    """Structures with DFT labels in each step: the same in all modes."""
    tasks: dict[TaskName, TaskSettings] = {}
    """Settings of tasks, where they are not the defaults: ``{orbital_charges: {weight: 0.03}}``."""
    weights: MeasuredWeights = "best"
    """Which weights of a finished run are measured: those with the lowest validation error, or the moving average at the end
    (``ema``), where there are too few validation structures to tell them apart."""
    pretraining: TrainingSettings = TrainingSettings()
    """The loop of pretraining, for modes that have one."""
    tuning: Tuning | None = None
    """Trials of settings; without, all modes have those of the suite."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _so_many(cls, seeds: Any) -> Any:
        return tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds

    @field_validator("extra", mode="before")
    @classmethod
    def _by_name(cls, extra: Any) -> Any:
        if not isinstance(extra, list | tuple):
            return extra
        return tuple({"dataset": one} if isinstance(one, str) else one for one in extra)

    @field_validator("sizes", "seeds", "modes")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise ValueError(f"should have each once; {twice[0]} stands there twice")
        return tuple(sorted(values)) if all(isinstance(value, int) for value in values) else values

    @model_validator(mode="after")
    def _modes_fit(self) -> "Suite":
        for mode in self.found_modes:
            if mode.main not in ("", self.task):
                problem = f"is for suites whose task is {mode.main}; here it is {self.task}"
            elif self.task in mode.tasks:
                problem = f"learns {self.task} beside, which is what the suite itself learns"
            elif mode.target and self.forces:
                problem = f"learns {mode.target}, which has no forces; leave out that mode, or forces"
            elif mode.labels_from == "extra" and not self.extra:
                problem = "needs extra: where the other structures come from"
            elif own := sorted(mode.model.keys() & self.model.model_fields_set):
                problem = f"has model.{own[0]} of its own; leave that out of model"
            else:
                continue
            raise ValueError(f"the mode {mode.name} {problem}")
        if all(mode.labels_from != "none" for mode in self.found_modes):
            raise ValueError("modes: all of them have xTB labels; name one without, as energy, to compare with")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> "Suite":
        beside = {task for mode in self.found_modes for task in (*mode.tasks, *mode.pretraining)}
        learned = {self.task, *beside, *(["forces"] if self.forces else [])}
        if idle := sorted(self.tasks.keys() - learned):
            raise ValueError(f"tasks: no mode of this suite learns {idle[0]}; they learn {', '.join(sorted(learned))}")
        for where, task, settings in self._set_tasks():
            if settings.target or settings.kind or settings.start_from:
                raise ValueError(
                    f"{where}.{task}: target, kind and start_from are the modes' own, and the suite's target; leave them out"
                )
            if settings.per_atom and task == self.task:
                raise ValueError(f"{where}.{task}: errors of a suite are of whole structures; leave per_atom out")
        if self.forces and self.task != "energy":
            raise ValueError(f"forces go with the task energy; here it is {self.task}")
        if self.training.best_by or self.pretraining.best_by or self.model.composite:
            raise ValueError("best_by and model.composite are the modes' own; leave them out")
        if self.training.patience:
            raise ValueError("training.patience: all modes train for equally many steps; leave it out")
        return self

    @model_validator(mode="after")
    def _tuning_fits(self) -> "Suite":
        lacking = [mode for mode in self.modes if self.tuning is not None and mode not in self.tuning.trials]
        if lacking:
            raise ValueError(
                f"tuning.trials should have every mode of the suite, each as many trials; {lacking[0]} is missing"
            )
        if self.tuned_at is not None and self.tuned_at[1] in self.seeds:
            raise ValueError(f"tuning.seed should be none of seeds, whose results are reported; {self.tuned_at[1]} is")
        for name, trial in self._trials():
            if problem := self._idle(find_mode(name), trial):
                raise ValueError(f"tuning.trials.{name}: {problem}")
        return self

    def _idle(self, mode: Mode, trial: TrialSettings) -> str:
        """Say what of a trial would do nothing, or cannot be done."""
        if trial.weight is not None and not mode.tasks:
            return "weight is of what is learned beside the main target, and this mode learns nothing beside"
        if trial.model and mode.pretraining:
            return "model is that of the pretraining, of which there is one; leave it out"
        idle = sorted(trial.tasks.keys() - {self.task, *mode.tasks, *(["forces"] if self.forces else [])})
        return f"this mode does not learn {idle[0]}" if idle else ""

    def _trials(self) -> Iterator[tuple[str, TrialSettings]]:
        """Yield all trials, with the mode of each."""
        for mode, trials in self.tuning.trials.items() if self.tuning else ():
            yield from ((mode, trial) for trial in trials)

    def _set_tasks(self) -> Iterator[tuple[str, str, TaskSettings]]:
        """Yield the tasks that have settings, of the suite or of a trial: where these stand, the task, the settings."""
        yield from (("tasks", task, settings) for task, settings in self.tasks.items())
        for mode, trial in self._trials():
            yield from ((f"tuning.trials.{mode}.tasks", task, settings) for task, settings in trial.tasks.items())

    @property
    def found_modes(self) -> tuple[Mode, ...]:
        """The modes, as the table of modes has them."""
        return tuple(map(find_mode, self.modes))

    @property
    def needs_extra(self) -> bool:
        """Whether any mode learns from other structures."""
        return any(mode.labels_from == "extra" for mode in self.found_modes)

    @property
    def labels_beside(self) -> tuple[str, ...]:
        """Arrays that each structure drawn must have beside the target: ``labels``, and what modes learn and only some may have."""
        return tuple(sorted({*self.labels, *(array for mode in self.found_modes for array in mode.partial_arrays)}))

    @property
    def draws(self) -> list[tuple[int, int]]:
        """Every size and seed of which structures are drawn, those of tuning among them."""
        runs = [(size, seed) for size in self.sizes for seed in self.seeds]
        return [*runs, *([] if self.tuned_at is None else [self.tuned_at])]

    @property
    def tuned_at(self) -> tuple[int, int] | None:
        """Size and seed of the trials; ``None`` where there is nothing to try."""
        if self.tuning is None or not self.tuning.tries or self.tuning.size is None:
            return None
        return self.tuning.size, self.tuning.seed


def suite_names() -> list[str]:
    """Return the names of the suites that come with mlipq."""
    return sorted(path.stem for path in resources.suites().glob("*.yaml"))


def read_suite(source: str | Path | Mapping[str, Any], **overrides: Any) -> Suite:
    """Read a suite.

    Parameters
    ----------
    source
        Name of one that comes with mlipq; a YAML file, whose relative paths count from its folder; or what such a file would hold.
    overrides
        Keys that replace those of the file: ``seeds=3``, ``sizes=[100]``. A part of the modes draws the structures that all of
        them do, so that the others can be run later.

    Raises
    ------
    InputError
        If there is no such suite, it is not YAML, or a key is unknown (the nearest known one is named), missing or out of range.

    Examples
    --------
    >>> read_suite("quick", seeds=[0]).seeds
    (0,)
    """
    if isinstance(source, Mapping):
        return _made(Content(dict(source), {}).merged(overrides), "this suite")
    path = find_suite(source)
    content = read_yaml(path, "suite", "title: …, dataset: …, sizes: […], seeds: …, modes: […]")
    content = Content({"name": path.stem, **resolved(content.values, path.parent)}, content.lines)
    whole = _made(content, str(path))
    if not overrides:
        return whole
    modes = overrides.get("modes", whole.modes)
    others = [mode for mode in whole.modes if mode not in modes]
    suite = _made(content.merged({**overrides, "modes": [*modes, *others]}), str(path))
    return suite.model_copy(update={"modes": suite.modes[: len(modes)], "labels": suite.labels_beside})


def find_suite(source: str | Path) -> Path:
    """Return the file of a suite: a path, or the name of one that comes with mlipq.

    Raises
    ------
    InputError
        If there is none; the message names the nearest.
    """
    path = Path(source)
    if path.is_file():
        return path
    if str(source) in suite_names():  # whatever else is called so: results lie in folders
        return resources.suites() / f"{source}.yaml"
    if path.exists():
        raise InputError(f"{path} is no file; a suite is a YAML file, or one of those that come with mlipq")
    near = difflib.get_close_matches(str(source), suite_names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"those that come with mlipq: {', '.join(suite_names())}"
    raise InputError(f"there is no suite {source}, neither a file nor one that comes with mlipq; {hint}")


def _made(content: Content, where: str) -> Suite:
    return accepted(Suite, content, where, REFUSAL)


def resolved(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the content with datasets that are paths counted from the file's folder."""
    out = dict(values)
    out["dataset"] = _path(out.get("dataset"), folder)
    if isinstance(out.get("extra"), list):
        out["extra"] = [
            {**one, "dataset": _path(one.get("dataset"), folder)} if isinstance(one, dict) else _path(one, folder)
            for one in out["extra"]
        ]
    return out


def _path(named: Any, folder: Path) -> Any:
    return named if named == POOL else dataset_from(named, folder)
