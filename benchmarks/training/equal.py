"""Two models made equal: as many parameters, and as many steps as take the same time."""

import itertools
import json
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlipq.store import commit_json
from mlipq.training import Potential, PotentialConfig, RunConfig, Trainer, Watcher, read_config
from mlipq.training.runs.preparation import prepare

RECIPES = Path(__file__).parent / "recipes"
SECONDS = {"qm7": 75, "gscdb138": 120, "tmqm-2k": 240}
"""Of the processor, for the steps of each run."""
BACKBONES = {"equivariant": "painn", "invariant": "schnet"}
TURNS, STEPS_A_TURN = 20, 5


def recipe(dataset: str, **overrides: Any) -> RunConfig:
    """Return the recipe of a dataset, with other settings."""
    return read_config(RECIPES / f"charges-{dataset}.yaml", **overrides)


def parameters(settings: Mapping[str, Any]) -> int:
    """Return the number of parameters of a model that predicts orbital moments."""
    return Potential(PotentialConfig(**settings, heads=("orbital_moments",))).n_parameters


def models(dataset: str) -> dict[str, dict[str, Any]]:
    """Return the settings of both models; the invariant one is the narrowest that has at least as many parameters."""
    common = recipe(dataset).model.model_dump(include={"channels", "layers", "cutoff", "radial"})
    equivariant = {**common, "backbone": BACKBONES["equivariant"]}
    wanted = parameters(equivariant)
    widened = (
        {**common, "backbone": BACKBONES["invariant"], "channels": width}
        for width in itertools.count(common["channels"], 2)
    )
    return {"equivariant": equivariant, "invariant": next(own for own in widened if parameters(own) >= wanted)}


class EndOfTurn(Exception):
    """The other model's turn."""


class Clock(Watcher):
    """Takes the processor time of each step; of a model that takes turns, until the last step of its turn."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.end = 0
        self.start()

    def start(self, *_: Any) -> None:
        """Begin to measure a step."""
        self.last = time.process_time()

    started = validated = start

    def stepped(self, step: int) -> None:
        """End one, and begin to measure the next."""
        now = time.process_time()
        self.times.append(now - self.last)
        self.last = now
        if step == self.end:
            raise EndOfTurn

    def median(self) -> float:
        """Return the median, in s."""
        return statistics.median(self.times)


def race(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the median processor time of a training step of each model, in s; they take turns on the same batches."""
    n_steps = TURNS * STEPS_A_TURN
    trainers, clocks = {}, {model: Clock() for model in settings}
    for model, own in settings.items():
        config = recipe(dataset, output="unused", model=own, training={"steps": n_steps, "validate_every": n_steps})
        prepared = prepare(config, lambda what, done, total: None)
        trainers[model] = Trainer(prepared.potential, prepared.sources, config.training)
    for turn, (model, trainer) in itertools.product(range(TURNS), trainers.items()):
        clocks[model].end = (turn + 1) * STEPS_A_TURN
        clocks[model].start()
        with suppress(EndOfTurn):
            trainer.run(stepped=clocks[model].stepped)
    return {model: clock.median() for model, clock in clocks.items()}


def calibrate(folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Return settings, parameters, time of a step and number of steps of both models; measured once for all sittings."""
    path = folder / dataset / "calibration.json"
    if not path.exists():
        settings = models(dataset)
        seconds = race(dataset, settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        commit_json(
            path,
            {
                model: {
                    "model": own,
                    "parameters": parameters(own),
                    "step_ms": round(1e3 * seconds[model], 2),
                    "steps": round(SECONDS[dataset] / seconds[model]),
                }
                for model, own in settings.items()
            },
        )
    return json.loads(path.read_text())
