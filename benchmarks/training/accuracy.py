"""Train what the recipes say, and measure it on the test structures, which are read once, at the end.

    python -m benchmarks.training.accuracy --runs FOLDER [--recipes NAME ...] [--seeds N ...] [--trial STEPS]

A run is a folder of FOLDER, and goes on where it was stopped. One that is finished is evaluated on its dataset's part `test` with
its averaged weights at the end; the result is `results/accuracy/NAME-SEED.json`, and is never measured again. Recipes are in
`recipes/`; the machine's other cores can train other recipes meanwhile. With `--trial`, a run has so many steps and errors on its own
validation structures only: recipes are compared so. No test structure is read, and no result is written.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import versions, write_results
from mlipq.cli.training_progress import TrainingProgress
from mlipq.errors import MlipqError
from mlipq.training import Run, read_config, resume, train
from mlipq.training.inference.report import evaluate_model
from mlipq.training.models.machine import keep_freed_memory
from mlipq.training.runs.run import CONFIG

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "accuracy"
RECIPES = ("qm7-energy", "rmd17-ethanol-50", "rmd17-aspirin-50", "rmd17-ethanol-1000", "rmd17-aspirin-1000")
"""By the names of their files."""
WEIGHTS = "ema"
"""Averaged at the end: five frames of validation are too few to choose the best by."""


def complete(recipe: Path, output: Path, seed: int, steps: int | None = None) -> Run:
    """Train as a recipe says, for so many steps where they are given, or go on with what was begun."""
    with TrainingProgress() as progress:
        if (output / CONFIG).exists():
            return resume(output, progress)
        length = {} if steps is None else {"training": {"steps": steps}}
        return train(read_config(recipe, output=str(output.absolute()), seed=seed, **length), progress)


def trained(run: Run) -> dict[str, Any]:
    """Return what a finished run says of itself."""
    result = run.result
    assert result is not None
    return {
        "run": run.path.name,
        "seed": run.config.seed,
        "parameters": result.parameters,
        "steps": result.steps,
        "minutes": round(result.seconds / 60, 1),
        "validation": result.validation,
    }


def measured(run: Run, part: str, path: Path) -> None:
    """Read a part of the run's dataset, and write the result."""
    found = evaluate_model(run.path, WEIGHTS, part=part).record()
    errors = {f"{error['task']}_mae_{error['unit']}": error["mae"] for error in found["errors"]}
    row = {**trained(run), part: errors, **{key: found[key] for key in ("structures", "left_out")}}
    settings = {"weights": WEIGHTS, **run.config.model_dump(mode="json", include={"model", "data", "training"})}
    write_results(path, f"errors of {run.path.name}", settings, versions("mlipq", "torch", "vesin"), [row])


def row_of(recipe: str, seed: int, runs: Path, trial: int | None) -> dict[str, Any]:
    """Return the row of one run: trained and measured now, or as it was written when the test structures were read."""
    name, file = f"{recipe}-{seed}", HERE / "recipes" / f"{recipe}.yaml"
    if trial is not None:
        return trained(complete(file, runs / f"{name}-trial-{trial}", seed, trial))
    path = RESULTS / f"{name}.json"
    if not path.exists():
        measured(complete(file, runs / name, seed), "test", path)
    row: dict[str, Any] = json.loads(path.read_text())["rows"][0]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--trial", type=int, metavar="STEPS", help="so many steps; validation structures only")
    given = parser.parse_args()
    keep_freed_memory()
    for seed in given.seeds:
        for recipe in given.recipes:
            print(json.dumps(row_of(recipe, seed, given.runs, given.trial)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except MlipqError as error:
        sys.exit(str(error))
