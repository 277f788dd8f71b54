"""Compare an equivariant with an invariant model on the electrons in each orbital, at equal parameters and equal time.

    python -m benchmarks.training.charges --runs FOLDER [--datasets NAME ...] [--seeds N ...] [--tune]

Both learn the orbital moments as `recipes/charges-*.yaml` say. The invariant model, which can tell how many electrons a shell has
but not how they point, is so wide that it has as many parameters. In a race on the same batches, the two taking turns, each
step's time is found; then each makes as many steps as fit into the seconds of its dataset. The part ``test`` is read once, by
the best weights of a finished run. What is done stands in FOLDER: a comparison that was stopped goes on. With ``--tune``, short runs
compare learning rates on validation structures of the pool, and nothing else is done.
"""

import argparse
import csv
import itertools
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from benchmarks.harness import versions, write_results
from benchmarks.training import orbitals
from benchmarks.training.equal import BACKBONES, SECONDS, Clock, calibrate, recipe
from benchmarks.training.orbitals import Errors
from mlipq import open_dataset
from mlipq.errors import CheckError, MlipqError
from mlipq.store import Dataset, commit_json
from mlipq.training import Predictor, RunConfig, resume, train
from mlipq.training.data.source import choose_rows
from mlipq.training.models.machine import keep_freed_memory
from mlipq.training.runs.run import CONFIG

HERE = Path(__file__).parent
RESULTS, TRIALS = HERE / "results" / "charges.json", HERE / "results" / "charges-tuning.json"
LEARNING_RATES = (2e-3, 4e-3, 8e-3)
TRIAL = 0.25
"""Share of the seconds that each trial takes."""


def complete(config: RunConfig) -> Clock:
    """Train, or go on with what was begun; return the processor times of the steps that this took."""
    clock = Clock()
    if (Path(config.output) / CONFIG).exists():
        resume(config.output, clock)
    else:
        train(config, clock)
    return clock


def measured(folder: Path, dataset: str, model: str, seed: int) -> dict[str, Any]:
    """Train one model and read the test structures with it; return its row of the results."""
    path = folder / dataset / f"{model}-{seed}.json"
    if path.exists():
        return json.loads(path.read_text())
    own = calibrate(folder, dataset)[model]
    config, clock = finished(own, path.with_suffix(""), dataset, model, seed)
    errors = orbitals.errors_of(Predictor(config.output), *test_structures(config))
    row = {
        "contestant": model,
        "dataset": dataset,
        "seed": seed,
        "parameters": own["parameters"],
        **config.training.model_dump(include={"steps", "learning_rate"}),
        "cpu_s": round(own["steps"] * clock.median(), 1) if clock.times else None,
        "mae_me": errors.by_group(),
        "by_element": errors.by_element(),
    }
    commit_json(path, row)
    return row


def finished(own: Mapping[str, Any], output: Path, dataset: str, model: str, seed: int) -> tuple[RunConfig, Clock]:
    """Train with the best learning rate; where that diverges, with the next lower one that was tried."""
    for rate in learning_rates(dataset, model):
        training = {"steps": own["steps"], "learning_rate": rate}
        config = recipe(dataset, output=f"{output}-{rate:g}", seed=seed, model=own["model"], training=training)
        try:
            return config, complete(config)
        except CheckError as error:
            print(f"{output.name}, learning rate {rate:g}: {error}", file=sys.stderr)
    raise SystemExit(f"{output.name} diverges with every learning rate")


def test_structures(config: RunConfig) -> tuple[Dataset, NDArray[np.int64]]:
    """Return the dataset, and the structures of its part ``test`` all of whose elements the pool has."""
    settings = config.data[0]
    opened = open_dataset(settings.dataset)
    pool = opened.select(split=f"{settings.split}/{settings.train}").rows
    numbers = np.unique(opened.batch(pool, ["atomic_numbers"])["atomic_numbers"])
    return opened, opened.select(split=f"{settings.split}/test", only=[chemical_symbols[z] for z in numbers]).rows


def without_model(dataset: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of what needs no model: means of the pool, and what knows the truth but for the direction."""
    config = recipe(dataset)
    opened, test = test_structures(config)
    pool = opened.select(split=f"{config.data[0].split}/{config.data[0].train}").rows
    true, numbers = orbitals.true_populations(opened, test)
    for name, guess in {
        "mean of the element": orbitals.means_of_elements(orbitals.true_populations(opened, pool), numbers),
        "true shell, spread evenly": orbitals.spread_evenly(true),
        "true shell, its median": orbitals.medians(true),
    }.items():
        errors = Errors.of(guess, true, numbers)
        yield {
            "contestant": name,
            "dataset": dataset,
            "structures": len(test),
            "mae_me": errors.by_group(),
            "by_element": errors.by_element(),
        }


# --- learning rates


def tune(folder: Path, dataset: str) -> Iterator[dict[str, Any]]:
    """Yield what each trial found on the validation structures: the same trials for both models; nothing where it diverged."""
    for (model, own), rate in itertools.product(calibrate(folder, dataset).items(), LEARNING_RATES):
        path = folder / dataset / "trials" / f"{model}-{rate:g}.json"
        if not path.exists():
            training = {"steps": round(TRIAL * own["steps"]), "learning_rate": rate}
            config = recipe(dataset, output=str(path.with_suffix("")), model=own["model"], training=training)
            try:
                complete(config)
                errors = validation_errors(config).by_group()
            except CheckError as error:
                errors = {}
                print(error, file=sys.stderr)
            commit_json(path, {"contestant": model, "dataset": dataset, **training, "mae_me": errors})
        yield json.loads(path.read_text())


def validation_errors(config: RunConfig) -> Errors:
    """Return the errors of a finished run on the structures that it was validated on."""
    opened = open_dataset(config.data[0].dataset)
    _, validation = choose_rows(opened, config.data[0], config.seed)
    return orbitals.errors_of(Predictor(config.output), opened, validation)


def tune_all(folder: Path, datasets: Sequence[str]) -> None:
    """Tune for some datasets, and write what was found."""
    rows = []
    for row in itertools.chain.from_iterable(tune(folder, dataset) for dataset in datasets):
        rows.append(row)
        print(json.dumps(row), flush=True)
    settings = {"share_of_seconds": TRIAL, "calibration": {dataset: calibrate(folder, dataset) for dataset in datasets}}
    name = "errors of the populations of orbitals on validation structures, of short trials"
    write_results(TRIALS, name, settings, versions("mlipq", "torch", "vesin"), rows)


def learning_rates(dataset: str, model: str) -> list[float]:
    """Return that of the trial with the least error of p and d orbitals, and those below it, the highest first."""
    rows = json.loads(TRIALS.read_text())["rows"]
    trials = [row for row in rows if (row["dataset"], row["contestant"]) == (dataset, model)]
    best = min(trials, key=lambda row: row["mae_me"].get("p and d", math.inf))["learning_rate"]
    return sorted((row["learning_rate"] for row in trials if row["learning_rate"] <= best), reverse=True)


# --- results


def write(folder: Path, rows: Sequence[Mapping[str, Any]], datasets: Sequence[str]) -> None:
    """Write the runs as JSON, the means over seeds by element and shell as CSV, and tables of both as Markdown."""
    calibrations = {dataset: calibrate(folder, dataset) for dataset in datasets}
    settings = {
        "target": orbitals.MOMENTS,
        "seconds": {dataset: SECONDS[dataset] for dataset in datasets},
        "threads": 1,
        "calibration": calibrations,
        "recipes": {
            dataset: recipe(dataset).model_dump(mode="json", include={"data", "training"}) for dataset in datasets
        },
    }
    name = "errors of the populations of orbitals, equivariant against invariant"
    short = [{key: value for key, value in row.items() if key != "by_element"} for row in rows]
    write_results(RESULTS, name, settings, versions("mlipq", "torch", "vesin"), short)
    by_element = orbitals.by_element(rows)
    with RESULTS.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(by_element[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(by_element)
    RESULTS.with_suffix(".md").write_text(orbitals.report(rows))


def compare(folder: Path, datasets: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Make all runs that are not made yet, and write the results after each; return their rows."""
    rows = [row for dataset in datasets for row in without_model(dataset)]
    for seed, dataset, model in itertools.product(seeds, datasets, BACKBONES):
        rows.append(measured(folder, dataset, model, seed))
        print(f"{dataset} {model} {seed}: {rows[-1]['mae_me']}", flush=True)
        write(folder, rows, datasets)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=Path, required=True, help="folder of the runs; what is done there is not done again"
    )
    parser.add_argument("--datasets", nargs="+", choices=SECONDS, default=list(SECONDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument(
        "--tune", action="store_true", help="short runs that compare settings, on validation structures"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if given.tune:
        tune_all(given.runs, given.datasets)
        return
    print(orbitals.report(compare(given.runs, given.datasets, given.seeds)))


if __name__ == "__main__":
    try:
        main()
    except MlipqError as error:
        sys.exit(str(error))
