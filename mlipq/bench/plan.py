"""From a suite to its runs: of each mode, size and seed, the configuration that ``mlipq train`` takes.

What makes the comparison fair is decided here. The first dataset of every run is the same structures in the same batches, whatever
the mode; so are steps, learning rate and model, but for what a mode is or tuning chose; and the weights that are measured are those
of the lowest validation error of the main target, or of the end, whatever else is learned.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mlipq.bench.modes import Mode, find_mode
from mlipq.bench.prepared import Prepared
from mlipq.bench.prepared.dataset import FIXED
from mlipq.bench.prepared.draws import REST, TRAIN, VALIDATION, split_name
from mlipq.bench.results import MeasuredWeights, run_id
from mlipq.bench.suite import POOL, Suite, TrialSettings
from mlipq.errors import InputError
from mlipq.training.config import RunConfig, TaskSettings, TrainingSettings, read_config

RUNS = "runs"
TRIALS = "tuning"
PRETRAINING = "pretraining"

Kind = Literal["run", "trial", "pretraining"]


@dataclass(frozen=True)
class BenchRun:
    """One training of a suite.

    Attributes
    ----------
    kind
        What it is for; the test structures are for runs alone.
    id
        Its name.
    mode, size, seed
        What is compared; of pretraining, which all sizes share, the size is 0.
    config
        What ``mlipq train`` does.
    weights
        Which are measured.
    sha256
        Of everything that the outcome follows from, whatever other runs the suite has.
    """

    kind: Kind
    id: str
    mode: Mode
    size: int
    seed: int
    config: RunConfig
    weights: MeasuredWeights
    sha256: str

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.config.output)

    @property
    def cost(self) -> int:
        """Work in all: batches, those with forces twice."""
        batches = sum(1 + any(task.endswith("forces") for task in data.tasks) for data in self.config.data)
        return batches * (self.config.training.steps or 1)


def plan_runs(suite: Suite, prepared: Prepared, chosen: Mapping[str, TrialSettings]) -> list[BenchRun]:
    """Return the runs of a suite: seed by seed, the longest first.

    Parameters
    ----------
    suite
        Its target named.
    prepared
        Its dataset.
    chosen
        By mode, what tuning chose.
    """
    runs = [
        _run("run", run_id(mode, size, seed), suite, prepared, (mode, size, seed), chosen.get(mode, TrialSettings()))
        for seed in suite.seeds
        for mode in suite.modes
        for size in suite.sizes
    ]
    return sorted(runs, key=lambda run: (suite.seeds.index(run.seed), -run.cost))


def plan_trials(suite: Suite, prepared: Prepared) -> dict[str, list[BenchRun]]:
    """Return the trials of each mode; none where nothing is to be tried.

    Raises
    ------
    InputError
        If two trials of a mode come to the same: then it would have fewer than others.
    """
    if suite.tuning is None or suite.tuned_at is None:
        return {}
    planned = {
        mode: [
            _run("trial", f"{mode}-{number}", suite, prepared, (mode, *suite.tuned_at), trial)
            for number, trial in enumerate(suite.tuning.trials[mode])
        ]
        for mode in suite.modes
    }
    for mode, runs in planned.items():
        configs = [run.config.model_copy(update={"output": ""}) for run in runs]
        if same := [number for number, config in enumerate(configs) if config in configs[:number]]:
            first = configs.index(configs[same[0]])
            raise InputError(
                f"tuning.trials.{mode}: trials {first + 1} and {same[0] + 1} come to the same settings; each mode should have as many "
                "that differ"
            )
    return planned


def plan_pretraining(suite: Suite, prepared: Prepared) -> list[BenchRun]:
    """Return the pretraining runs: one a seed, which all sizes share; none where no mode has any."""
    modes = [mode for mode in suite.found_modes if mode.pretraining]
    seeds = dict.fromkeys(seed for _, seed in suite.draws)
    return [_pretraining(suite, prepared, mode, seed) for mode in modes for seed in seeds]


def _run(
    kind: Kind, name: str, suite: Suite, prepared: Prepared, what: tuple[str, int, int], trial: TrialSettings
) -> BenchRun:
    mode, size, seed = find_mode(what[0]), *what[1:]
    beside = {task: _settings(task, mode.tasks[task], suite, trial, beside=True) for task in mode.tasks}
    begins_as = {"start_from": "gfn1_energy"} if mode.pretraining else {}
    main = {suite.task: {"target": mode.target or suite.target, **begins_as}, **_forces(suite)}
    split = split_name(size, seed)
    first = {
        "dataset": str(prepared.dataset),
        "split": split,
        "train": TRAIN,
        "validation": VALIDATION,
        "batch": suite.batch,
        "tasks": {**{task: _settings(task, given, suite, trial) for task, given in main.items()}, **beside},
    }
    others = _extra(suite, prepared, split, beside) if mode.labels_from == "extra" and beside else []
    content = {
        "output": str(prepared.folder / (RUNS if kind == "run" else TRIALS) / name),
        "seed": seed,
        "model": {**suite.model.model_dump(), **mode.model, **trial.model},
        "data": [first, *others],
        "training": _training(suite.training, trial, suite.task),
    }
    needed = ""
    if mode.pretraining:
        before = _pretraining(suite, prepared, mode, seed)
        content["start_from"], needed = before.config.output, before.sha256
    return _made(kind, name, suite, prepared, (mode, size, seed), content, needed)


def _pretraining(suite: Suite, prepared: Prepared, mode: Mode, seed: int) -> BenchRun:
    """Learn the xTB labels of the pool and of what else there is; validation structures of later are among them, without DFT labels."""
    name = f"{mode.name}-s{seed}"
    tasks = {task: _settings(task, given, suite, TrialSettings()) for task, given in mode.pretraining.items()}
    first, *others = _extra(suite, prepared, "", tasks)
    content = {
        "output": str(prepared.folder / PRETRAINING / name),
        "seed": seed,
        "model": {**suite.model.model_dump(), **mode.model},
        "data": [{**first, "validation": 0.1}, *others],
        "training": _training(suite.pretraining, TrialSettings(), ""),
    }
    made = _made("pretraining", name, suite, prepared, (mode, 0, seed), content)
    # another pretraining has another folder: what began from this one does not go on as if it had begun from that
    config = made.config.model_copy(update={"output": f"{made.config.output}-{made.sha256[:8]}"})
    return replace(made, config=config)


def _extra(suite: Suite, prepared: Prepared, split: str, tasks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the datasets whose structures have xTB labels alone; of the pool what is left of a draw, or all where none is named."""
    datasets = []
    for extra, dataset in zip(suite.extra, prepared.extras, strict=True):
        data: dict[str, Any] = {"batch": extra.batch or suite.batch, "tasks": dict(tasks), "validation": 0}
        if dataset is None:
            part = {"split": split, "train": REST} if split else {"split": FIXED, "train": POOL}
            datasets.append({"dataset": str(prepared.dataset), **part, **data})
        else:
            datasets.append({"dataset": str(dataset), **data})
    return datasets


def _forces(suite: Suite) -> dict[str, dict[str, Any]]:
    return {"forces": {"target": suite.forces}} if suite.forces else {}


def _settings(
    task: str, given: Mapping[str, Any], suite: Suite, trial: TrialSettings, beside: bool = False
) -> dict[str, Any]:
    """Return the settings of a task: those of the mode, over them those of the suite, over them those of the trial."""
    weight = {"weight": trial.weight} if beside and trial.weight is not None else {}
    return {**given, **_set(suite.tasks, task), **weight, **_set(trial.tasks, task)}


def _set(tasks: Mapping[str, TaskSettings], task: str) -> dict[str, Any]:
    return tasks[task].model_dump(exclude_unset=True) if task in tasks else {}


def _training(settings: TrainingSettings, trial: TrialSettings, best_by: str) -> dict[str, Any]:
    tuned = trial.training.model_dump(exclude_none=True)
    return {**settings.model_dump(), "threads": settings.threads or 1, **tuned, "best_by": best_by}


def _made(
    kind: Kind,
    name: str,
    suite: Suite,
    prepared: Prepared,
    what: tuple[Mode, int, int],
    content: Mapping[str, Any],
    needed: str = "",
) -> BenchRun:
    config = read_config(content)
    weights = "best" if kind == "pretraining" else suite.weights
    follows = {
        "config": portable(config, prepared.folder, defaults=False),
        "dataset": prepared.sha256,
        "extras": _extras(suite, prepared) if len(config.data) > 1 or kind == "pretraining" else [],
        "pretraining": needed,
        **({"labels": prepared.beside} if prepared.beside else {}),
        **suite.model_dump(mode="json", include={"split", "test", "groups", "fewest"}),
        **({"weights": weights} if weights != "best" else {}),
    }
    sha256 = hashlib.sha256(json.dumps(follows, sort_keys=True).encode()).hexdigest()
    return BenchRun(kind, name, *what, config, weights, sha256)


def _extras(suite: Suite, prepared: Prepared) -> list[str]:
    """Return what the extra structures follow from: of each dataset its hash, and by what test molecules were left out."""
    rules = (
        "" if extra.known_by == "formula" or extra.dataset == POOL else f" by {extra.known_by}" for extra in suite.extra
    )
    return [f"{sha256}{rule}" for sha256, rule in zip(prepared.extra_sha256s, rules, strict=True)]


def portable(config: RunConfig, folder: Path, defaults: bool = True) -> dict[str, Any]:
    """Return a configuration as JSON has it, with paths relative to the folder of the suite: equal wherever that lies.

    Without defaults it stays equal where a later mlipq has more keys, and so does its hash.
    """
    content = config.model_dump(mode="json", exclude_defaults=not defaults)

    def relative(path: str) -> str:
        return str(Path(path).relative_to(folder)) if path and Path(path).is_relative_to(folder) else path

    content["output"], content["start_from"] = relative(config.output), relative(config.start_from)
    content["data"] = [{**data, "dataset": relative(data["dataset"])} for data in content["data"]]
    return content
