"""The model card of a run: what it learned, from what, how well, what it is for, how to load it."""

from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from string import Template

from ase.data import chemical_symbols

from mlipq.training.models.potential import Potential
from mlipq.training.runs.metrics import Row, mean_errors
from mlipq.training.runs.run import DataRecord, Run


def card_text(run: Run, potential: Potential, best: Row | None = None) -> str:
    """Return the card of a run, as far as it has come, as Markdown.

    Parameters
    ----------
    run
        Its folder, with config, data and environment.
    potential
        What is trained.
    best
        Row of metrics.csv of the best weights, where there are some.
    """
    config, datasets, sitting = run.history.config, run.data.datasets, run.history.sittings[-1]
    return Template(resources.files(__package__).joinpath("card.md").read_text(encoding="utf-8")).substitute(
        title=Path(config["output"]).name,
        backbone=potential.config.backbone,
        channels=potential.config.channels,
        layers=potential.config.layers,
        cutoff=f"{potential.config.cutoff:g}",
        parameters=f"{potential.n_parameters:,}",
        precision=config["training"]["precision"],
        errors=_errors(best),
        datasets="\n\n".join(map(_dataset, datasets)),
        elements=", ".join(chemical_symbols[z] for z in potential.config.elements),
        charges=_listed(record.charges for record in datasets),
        multiplicities=_listed(record.multiplicities for record in datasets),
        missing=_not_seen(datasets),
        seed=config["seed"],
        software=", ".join(f"{name} {number}" for name, number in sitting.software.items()),
        processor=sitting.machine["processor"],
    )


def _errors(best: Row | None) -> str:
    if best is None:
        return "It was not validated yet."
    lines = ["| error on the validation structures | mean absolute | root mean square |", "|---|---|---|"]
    for task, value, unit in mean_errors(best):
        if value is not None:
            rmse = best[f"{task}_rmse_{unit}"]
            lines.append(f"| {task.replace('_', ' ')} | {value:.4g} {unit} | {rmse:.4g} {unit} |")
    chosen = f"These are of step {best['step']:,.0f}, which was chosen by them: on structures kept apart expect more."
    return "\n".join([*lines, "", chosen])


def _dataset(record: DataRecord) -> str:
    counts = ", ".join(
        f"{number:,} to {what}" for what, number in zip(("train on", "validate on"), record.structures.values())
    )
    lines = [f"**{record.name or record.dataset}**: structures {counts}.", ""]
    for task, label in record.labels.items():
        level = f" ({label.level_of_theory})" if label.level_of_theory else ""
        missing = f", {label.missing:,} missing" if label.missing else ""
        no_shell = f", {label.no_shell:,} left out for shells that an element lacks" if label.no_shell else ""
        lines.append(f"- `{task}` from `{label.target}`{level}: {label.labels:,} labels{missing}{no_shell}")
    if record.left_out:
        lines.append(f"- {record.left_out:,} structures not validated on: they have elements that training has not")
    licence, citation = record.licence or "not stated", record.citation or "not stated"
    return "\n".join(
        [*lines, "", f"Licence: {licence}. Cite: {citation.rstrip('.')}. Manifest: `sha256:{record.sha256}`."]
    )


def _not_seen(datasets: Sequence[DataRecord]) -> str:
    """Warn of what the training structures have but one kind of."""
    lines = []
    if all(set(record.charges) == {0} for record in datasets):
        lines.append("It has seen no ions.")
    if all(set(record.multiplicities) == {1} for record in datasets):
        lines.append("It has seen no open shells.")
    return " ".join(lines)


def _listed(numbers: Iterable[Iterable[int]]) -> str:
    return ", ".join(map(str, sorted({number for some in numbers for number in some})))
