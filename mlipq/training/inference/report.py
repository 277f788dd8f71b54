"""A run measured on a part of a dataset, and the result kept in its folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mlipq
from mlipq.errors import InputError, MlipqError
from mlipq.hub import open_dataset
from mlipq.store import Dataset, commit_json
from mlipq.training.config import DataSettings
from mlipq.training.data.source import choose_rows, parts_of
from mlipq.training.inference.evaluation import Evaluation, Progress, Rows, evaluate
from mlipq.training.inference.predictor import Predictor
from mlipq.training.runs.run import CONFIG, open_run
from mlipq.training.saved.model import load_model

FOLDER = "evaluations"
_TEST_NOTE = (
    "A test part is for the end, to be read once: whoever chooses a model by it needs another one for an honest error."
)


@dataclass(frozen=True)
class Report:
    """An evaluation, and what it is of.

    Attributes
    ----------
    model, weights
        The run or package, and which of its weights.
    dataset, sha256, part
        Name or path of the dataset, hash of its manifest or shard, and ``split/part``, empty for all of it.
    evaluation
        The errors.
    file
        Where they are kept; ``None`` where the model is no run, or its folder cannot be written to.
    note
        What the user should know.
    """

    model: str
    weights: str
    dataset: str
    sha256: str
    part: str
    evaluation: Evaluation
    file: Path | None = None
    note: str = ""

    def record(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        found = self.evaluation
        errors = [asdict(error) for error in found.errors]
        for error in errors:
            error |= {key: None for key in ("mae", "rmse") if not error["n"]}
        return {
            **{key: getattr(self, key) for key in ("model", "weights", "dataset", "sha256", "part", "note")},
            "structures": found.structures,
            "left_out": dict(found.left_out),
            "without_labels": list(found.without_labels),
            "errors": errors,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "mlipq": mlipq.__version__,
        }


def evaluate_model(
    where: str | Path,
    weights: str | None = None,
    dataset: str | None = None,
    part: str | None = None,
    targets: Mapping[str, str] | None = None,
    rows: Rows | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Measure a model on a part of a dataset; of a run, keep the result in ``evaluations/``.

    Parameters
    ----------
    where, weights
        As for :func:`~mlipq.training.saved.model.load_model`.
    dataset
        Name, folder or manifest; by default the first dataset of the run, and of it the same groups.
    part
        ``split/part``, or the part alone where it is clear of which split; needed where the dataset has splits.
    targets, rows, progress
        As for :func:`~mlipq.training.inference.evaluation.evaluate`.

    Raises
    ------
    InputError
        If there is no such model, dataset or part, or nothing to compare.
    """
    path, own = Path(where), None
    predictor = Predictor(load_model(path, weights))
    if dataset is None:
        own = _own_data(path)
        dataset = own.dataset
    opened = open_dataset(dataset)
    chosen, name = _chosen(opened, part, own)
    sha256 = opened.sha256
    notes = [_TEST_NOTE] if name.rpartition("/")[2] == "test" else []
    learned = _learned_from(path, opened, sha256, chosen)
    if learned:
        notes.append(
            f"The run learned from {learned:,} of these {len(chosen):,} structures, or chose its weights by them: expect larger errors "
            "of new ones."
        )
    report = Report(
        model=str(path),
        weights=(weights or "best") if path.is_dir() else "package",
        dataset=(opened.manifest.ref if opened.manifest else "") or str(dataset),
        sha256=sha256,
        part=name,
        evaluation=evaluate(predictor, opened, chosen, targets, rows, progress),
        note=" ".join(notes),
    )
    return _kept(report, path) if path.is_dir() else report


def _own_data(path: Path) -> DataSettings:
    if not (path / CONFIG).is_file():
        raise InputError(
            f"{path} is not the folder of a run: name what to compare with, as in --dataset qm7-gfn1@1.0.0"
        )
    return open_run(path).config.data[0]


def _learned_from(path: Path, dataset: Dataset, sha256: str, rows: NDArray[np.int64]) -> int:
    """Return how many of these structures the run trained or validated on."""
    if not (path / CONFIG).is_file():
        return 0
    run = open_run(path)
    sources = [settings for settings, data in zip(run.config.data, run.data.datasets) if data.sha256 == sha256]
    seen = [part for settings in sources for part in choose_rows(dataset, settings, run.config.seed)]
    return len(np.intersect1d(rows, np.concatenate(seen))) if seen else 0


def _chosen(dataset: Dataset, part: str | None, own: DataSettings | None) -> tuple[NDArray[np.int64], str]:
    """Return the rows of the structures that are meant, and the name of the part."""
    splits = dataset.manifest.splits if dataset.manifest else {}
    if part is None and splits:
        known = parts_of(splits)
        raise InputError(f"which part? This dataset has {', '.join(known)}; name one, as in --split {known[0]}")
    if part is not None:
        if "/" not in part and own is not None and own.split:
            part = f"{own.split}/{part}"
        elif "/" not in part and len(splits) == 1:
            part = f"{next(iter(splits))}/{part}"
    rows = dataset.rows if part is None else dataset.select(split=part).rows
    if own is not None and own.groups:
        rows = rows[np.isin(dataset.batch(rows, ["group"])["group"].astype(str), own.groups)]
    return rows, part or ""


def _kept(report: Report, run: Path) -> Report:
    """Write a report into the folder of its run; where that cannot be, the report says so."""
    named = "-".join([report.dataset.rstrip("/").rpartition("/")[2], *report.part.split("/"), report.weights])
    file = run / FOLDER / f"{named.replace('@', '-').replace('--', '-')}.json"
    note = report.note
    if _TEST_NOTE in note and file.exists():
        note = f"{note} This one was read before: {file.name} stood there, and is replaced."
    report = Report(**{**vars(report), "file": file, "note": note})
    try:
        file.parent.mkdir(exist_ok=True)
        commit_json(file, report.record())
    except (OSError, MlipqError) as error:
        return Report(**{**vars(report), "file": None, "note": f"{note} The result was not kept: {error}".strip()})
    return report
