"""A finished run measured: the only place that opens test structures, once a run, at its end."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mlipq.bench.costs import gfn1_ms, inference_ms, peak_memory_mb, smallest
from mlipq.bench.plan import BenchRun, portable
from mlipq.bench.prepared import Prepared, composition_distances
from mlipq.bench.results import Result
from mlipq.hub import open_dataset
from mlipq.structures import identity_hex
from mlipq.training.inference.evaluation import Rows, TaskError, evaluate
from mlipq.training.inference.predictor import Predictor
from mlipq.training.runs.metrics import mean_errors
from mlipq.training.runs.run import DataRecord, Run
from mlipq.training.saved.model import SavedModel, load_model

_DIGITS = 4
"""Of each error in a result."""


def validation_of(run: Run, bench_run: BenchRun) -> tuple[str, float]:
    """Return the unit of the errors of what a run is judged by, and that error of its measured weights on the validation structures.

    Of a pretraining, the first task that it has an error of.
    """
    assert run.result is not None
    wanted = bench_run.config.training.best_by
    errors = mean_errors(run.result.validation)
    unit, best = next((unit, error) for task, error, unit in errors if task == (wanted or task) and error is not None)
    last = run.metrics[-1][_column(bench_run, unit)] if bench_run.weights == "ema" else None
    return unit, best if last is None else last


def measured(
    run: Run,
    bench_run: BenchRun,
    prepared: Prepared,
    *,
    suite: str,
    target: str,
    pretraining: Run | None,
    started: str,
) -> Result:
    """Measure a finished run.

    Parameters
    ----------
    run
        Its folder.
    bench_run
        What it is.
    prepared
        The suite's data.
    suite, target, started
        As in the result.
    pretraining
        What it started from.
    """
    peak = peak_memory_mb()  # before the test: it is that of training
    model = load_model(run.path, bench_run.weights)
    before = pretraining.result if pretraining else None
    return Result.model_validate(
        {
            "suite": suite,
            "suite_sha256": bench_run.sha256,
            "mode": bench_run.mode.name,
            "labels_from": bench_run.mode.labels_from,
            "size": bench_run.size,
            "seed": bench_run.seed,
            "dataset": prepared.name,
            "dataset_sha256": prepared.sha256,
            "target": target,
            "pretraining_seconds": before.seconds if before else 0.0,
            "peak_memory_mb": peak,
            "config": portable(bench_run.config, prepared.folder),
            "started": started,
            **_trained(run, bench_run),
            **_structures(run, bench_run, prepared, pretraining),
            **_inference(bench_run, model),
            **_tested(bench_run, model, prepared, target),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _trained(run: Run, bench_run: BenchRun) -> dict[str, Any]:
    """Return what the folder of the run says of it."""
    ended, sitting = run.result, run.history.sittings[-1]
    assert ended is not None
    unit, validation_mae = validation_of(run, bench_run)
    column = _column(bench_run, unit)
    return {
        "unit": unit,
        "validation_mae": validation_mae,
        "weights": bench_run.weights,
        "curve": [(int(row["step"] or 0), row["seconds"], row[column]) for row in run.metrics],
        "parameters": ended.parameters,
        "steps": ended.steps,
        "seconds": ended.seconds,
        "threads": sitting.threads,
        "hardware": sitting.machine.get("gpu", sitting.machine["processor"]),
        "versions": sitting.software,
    }


def _column(bench_run: BenchRun, unit: str) -> str:
    """Return where metrics have the validation error of what a run is judged by, which is that of the moving average."""
    return f"{bench_run.config.training.best_by}_mae_{unit}"


def _structures(run: Run, bench_run: BenchRun, prepared: Prepared, pretraining: Run | None) -> dict[str, Any]:
    """Return which structures the run learned from, what their xTB labels cost, and how far those of the test are from them."""
    first, *others = run.data.datasets
    if pretraining is not None:
        others = list(pretraining.data.datasets)
    data, test = bench_run.config.data[0], open_dataset(prepared.test)
    drawn = open_dataset(data.dataset).select(split=f"{data.split}/{data.train}")
    identities = np.ascontiguousarray(test["identity"][:], dtype="<u8").tobytes()
    splits, n = (
        {**first.rows_sha256, "test": hashlib.sha256(identities).hexdigest()},
        {**first.structures, "test": len(test)},
    )
    if others:
        splits["extra"] = _joined([record.rows_sha256["train"] for record in others])
        n["extra"] = sum(record.structures["train"] for record in others)
    return {
        "splits": splits,
        "n": n,
        "label_core_seconds": _label_seconds(bench_run, prepared, others),
        "distance": composition_distances(test, drawn).tolist(),
    }


def _label_seconds(bench_run: BenchRun, prepared: Prepared, others: Sequence[DataRecord]) -> float | None:
    """Return what the xTB labels cost of the structures with DFT labels and of the extra ones; ``None`` where nobody knows.

    Nobody knows what labels cost that are of DFT.
    """
    if bench_run.mode.partial_arrays:
        return None
    own, *of_others = prepared.label_seconds
    n_own = 0 if bench_run.mode.labels_from == "none" or bench_run.mode.pretraining else bench_run.size
    spent = [(own, n_own), *((each, sum(record.structures.values())) for each, record in zip(of_others, others))]
    if any(each is None for each, n in spent if n):
        return None
    return sum((each or 0.0) * n for each, n in spent)


def _joined(hashes: list[str]) -> str:
    """Return the hash of one dataset's structures, or one of those of several."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _inference(bench_run: BenchRun, model: SavedModel) -> dict[str, Any]:
    """Return how large the model is for inference, and how long it takes: on training structures, the same for all modes."""
    data, small = bench_run.config.data[0], smallest(model)
    dataset = open_dataset(data.dataset)
    rows = dataset.select(split=f"{data.split}/{data.train}").rows
    ms = inference_ms(small, dataset, rows, bench_run.config.training.best_by)
    if bench_run.mode.labels_from == "inference":
        ms += gfn1_ms(dataset, rows)
    return {"parameters_packaged": small.potential.n_parameters, "inference_ms_per_structure": ms}


def _tested(bench_run: BenchRun, model: SavedModel, prepared: Prepared, target: str) -> dict[str, Any]:
    """Return the errors on the test structures, which are read here."""
    dataset, rows, task = open_dataset(prepared.test), Rows(), bench_run.config.training.best_by
    found = evaluate(Predictor(model), dataset, rows=rows).errors
    (main,) = (error for error in found if error.task == task and not error.unit.endswith("/atom"))
    by_identity = {line["identity"]: line for line in rows.lines}
    return {
        "level_of_theory": dataset.specs[target].level_of_theory,
        "mae": main.mae,
        "rmse": main.rmse,
        "errors": [_error(by_identity.get(identity_hex(identity)), main) for identity in dataset["identity"][:]],
        "other_maes": {
            f"{error.task}_mae_{error.unit}": error.mae for error in found if error.task != task and error.n
        },
    }


def _error(line: Mapping[str, Any] | None, main: TaskError) -> float | None:
    """Return the error of one structure; of a target of atoms, the mean of their absolute errors."""
    if line is None:
        return None
    size = line[f"{main.task}_mae_{main.unit}"]
    predicted = next((line[key] for key in line if key.startswith(f"{main.task}_predicted_")), None)
    label = next((line[key] for key in line if key.startswith(f"{main.task}_label_")), None)
    negative = predicted is not None and label is not None and predicted < label
    return None if size is None else float(f"{-size if negative else size:.{_DIGITS}g}")
