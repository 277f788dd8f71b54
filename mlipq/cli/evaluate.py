"""The verb ``evaluate``: how far a trained model is from the labels of a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlipq.cli.options import Model, Weights, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json, printable
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.training.inference.evaluation import TaskError

DatasetName = Annotated[
    str | None, option("Name, folder or manifest; default the dataset that the run was trained on.", metavar="NAME")
]
Part = Annotated[
    str | None,
    option(
        "Part of a split, as random/test, or test where it is clear of which; needed where there are splits.", "--split"
    ),
]
Target = Annotated[
    list[str] | None,
    option("Compare an output with another array than it learned from; may be repeated.", metavar="OUTPUT=ARRAY"),
]
PerStructure = Annotated[
    Path | None, option("Also write the errors of each structure as a CSV file.", "--per-structure", metavar="FILE")
]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        epilog=examples(
            "mlipq evaluate runs/qm7 --split random/test",
            "mlipq evaluate qm7.mlipq --dataset gscdb138-gfn1 --split random/test",
            "mlipq evaluate runs/qm7 --dataset mine --target energy=reference/dft_energy --per-structure errors.csv",
        ),
        short_help="Compare a trained model with labels.",
    )(evaluate)


def evaluate(
    model: Model,
    dataset: DatasetName = None,
    split: Part = None,
    weights: Weights = None,
    target: Target = None,
    per_structure: PerStructure = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Compare a trained model with the labels of a dataset: mean absolute and root mean square errors of each output.

    Of a run, the result is kept in its folder evaluations/. A test part is for the end: who chooses by its errors needs another.
    """
    from mlipq.cli.progress import ReadingBar, starting_over
    from mlipq.training.inference.evaluation import Rows
    from mlipq.training.inference.report import evaluate_model
    from mlipq.training.saved.packaging import refuse_output

    if per_structure is not None:
        refuse_output(per_structure, ".csv")
    rows = Rows() if per_structure is not None else None
    with starting_over(), ReadingBar("evaluating") as bar:
        report = evaluate_model(model, weights, dataset, split, _targets(target or ()), rows, bar.at)
    if rows is not None and per_structure is not None:
        rows.write(per_structure)
    if as_json:
        print_json(report.record())
        return
    found = report.evaluation
    print(f"{report.model} on {report.dataset} {report.part}".rstrip() + f": {counted(found.structures, 'structure')}")
    _print_errors(found.errors)
    for elements, number in found.left_out.items():
        print(f"{counted(number, 'structure')} left out: {elements} was not in training")
    if found.without_labels:
        print(f"no labels there for {', '.join(found.without_labels)}")
    if report.file is not None:
        print(f"written to {report.file}")
    if report.note:
        print(report.note)


def _print_errors(errors: "Sequence[TaskError]") -> None:
    header = ("output", "against", "unit", "numbers", "MAE", "RMSE")
    lines: list[tuple[str, ...]] = [header]
    for e in errors:
        level = f" ({e.level_of_theory})" if e.level_of_theory else ""
        mae, rmse = ("none", "none") if not e.n else (f"{e.mae:.4g}", f"{e.rmse:.4g}")
        lines.append((e.task, f"{e.target}{level}", e.unit, f"{e.n:,}", mae, rmse))
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        left = (printable(text).ljust(width) for text, width in zip(line[:3], widths))
        right = (text.rjust(width) for text, width in zip(line[3:], widths[3:]))
        print("  ".join([*left, *right]))


def _targets(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    wrong = [name for name, equals, array in pairs if not (name and equals and array)]
    if wrong:
        raise InputError(f"--target {wrong[0]}: expected OUTPUT=ARRAY, as energy=reference/dft_energy")
    return {name: array for name, _, array in pairs}
