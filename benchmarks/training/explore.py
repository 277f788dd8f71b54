"""Try settings on molecules that no published figure is measured on: what helps is chosen here, and nowhere else.

    python -m benchmarks.training.explore benchmarks/training/exploration/qm7.yaml NAME ... --dataset qm7=FOLDER new=FOLDER --runs FOLDER

`qm7` is labelled and has the split `settings`, which divides its pool (see the pilot in README.md); its test molecules play no role. The file
has a base and, by NAME, what a trial changes of it; a trial may start from another, a pretraining, which is made first, and which all sizes
share. Each result is `results/exploration/SUITE/NAME-nSIZE-sSEED.json`; one that is there is not made again, and a run that was stopped
goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import versions, write_results
from mlipq.cli.training_progress import TrainingProgress
from mlipq.errors import InputError, MlipqError
from mlipq.settings import read_yaml
from mlipq.training import Run, read_config, resume, train
from mlipq.training.inference.report import evaluate_model
from mlipq.training.models.machine import keep_freed_memory
from mlipq.training.runs.run import CONFIG

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "exploration"
WEIGHTS = ("best", "ema")
"""Of the lowest validation error, and averaged at the end."""
PART = "test"
"""Of the split that divides the pool: its molecules are of the pool."""


class Trials:
    """A file of trials, and where its datasets and runs lie."""

    def __init__(self, path: Path, datasets: Mapping[str, Path], runs: Path) -> None:
        content = read_yaml(path, "trials", "base: …, trials: …").values
        self.name, self._base, self._trials = path.stem, content["base"], content["trials"]
        self._datasets, self._runs = datasets, runs

    def require(self, names: Sequence[str]) -> None:
        """Refuse trials that the file does not have, and those that learn no DFT energy, whose error nobody could tell."""
        if unknown := [name for name in names if name not in self._trials]:
            raise InputError(f"no trial {', '.join(unknown)}; the file has {', '.join(self._trials)}")
        for name in names:
            data = merged(self._base, self._trials[name] or {})["data"]
            if not any("energy" in part["tasks"] for part in data.values()):
                after = [other for other in self._trials if (self._trials[other] or {}).get("start_from") == name]
                raise InputError(
                    f"{name} learns no DFT energy; name what starts from it: {', '.join(after) or 'none does'}"
                )

    def result(self, name: str, size: int, seed: int) -> dict[str, Any]:
        """Return the row of a trial: made now, or earlier."""
        path = RESULTS / self.name / f"{name}-n{size}-s{seed}.json"
        if not path.exists():
            run = self._run(name, size, seed)
            assert run.result is not None
            row = {"name": name, "size": size, "seed": seed, "steps": run.result.steps}
            row |= {"validation": run.result.validation, "minutes": round(run.result.seconds / 60, 1)}
            row[PART] = {f"{weights}_meV": _error(run, weights) for weights in WEIGHTS}
            write_results(path, f"{self.name}: {name}", self._trials[name] or {}, versions("mlipq", "torch"), [row])
        made: dict[str, Any] = json.loads(path.read_text())["rows"][0]
        return made

    def _run(self, name: str, size: int, seed: int) -> Run:
        """Train, or go on with it; what it starts from first."""
        output = self._runs / self.name / (f"{name}-n{size}-s{seed}" if size else f"{name}-s{seed}")
        with TrainingProgress() as progress:
            if (output / CONFIG).exists():
                return resume(output, progress)
        given = merged(self._base, self._trials[name] or {})
        if before := given.get("start_from", ""):
            given["start_from"] = str(self._run(before, 0, seed).path)
        given["data"] = [self._data(data, size) for data in given["data"].values()]
        with TrainingProgress() as progress:
            return train(read_config({**given, "output": str(output), "seed": seed}), progress)

    def _data(self, given: Mapping[str, Any], size: int) -> dict[str, Any]:
        """Return the settings of one dataset; only the labelled molecules are drawn by size."""
        name = given["dataset"]
        if name not in self._datasets:
            raise InputError(f"the trial needs the dataset {name}; say where it is:  --dataset {name}=FOLDER")
        data = {**given, "dataset": str(self._datasets[name])}
        return {**data, "size": size} if data.pop("drawn", False) else data


def _error(run: Run, weights: str) -> float:
    """Return the mean absolute error of the energy in meV."""
    found = evaluate_model(run.path, weights, part=PART).record()["errors"]
    return next(round(error["mae"], 1) for error in found if (error["task"], error["unit"]) == ("energy", "meV"))


def merged(base: Any, changes: Any) -> Any:
    """Return the base with its keys changed, at any depth; ``null`` takes a key away."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    both = {key: merged(base.get(key), changes[key]) if key in changes else base[key] for key in [*base, *changes]}
    return {key: value for key, value in both.items() if value is not None}


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"should be NAME=FOLDER, got {text!r}")
    return name, Path(folder).absolute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="of trials")
    parser.add_argument("names", nargs="+", metavar="NAME", help="trials of the file")
    parser.add_argument(
        "--dataset", nargs="+", required=True, type=_named, metavar="NAME=FOLDER", help="what the file's datasets are"
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    keep_freed_memory()
    trials = Trials(given.file, dict(given.dataset), given.runs.absolute())
    trials.require(given.names)
    for seed in given.seeds:
        for size in given.sizes:
            for name in given.names:
                row = trials.result(name, size, seed)
                errors = ", ".join(f"{key} {value}" for key, value in row[PART].items())
                print(f"{name} N={size} seed {seed}: {errors}; {row['steps']} steps, {row['minutes']} min", flush=True)


if __name__ == "__main__":
    try:
        main()
    except MlipqError as error:
        sys.exit(f"explore: {error}")
