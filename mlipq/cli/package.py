"""The verb ``package``: a trained model as one file for inference."""

from pathlib import Path
from typing import Annotated

import typer

from mlipq.cli.options import Weights, argument, examples, option
from mlipq.cli.output import JSON_OPTION, print_json, print_table

RunFolder = Annotated[Path, argument("Folder of a run.", "RUN")]
Output = Annotated[Path, option("File to write, as qm7.mlipq.", "--output", "-o", metavar="FILE")]
Keep = Annotated[str | None, option("Heads to keep beside the energy, as orbital_charges,dipole.", metavar="HEAD,…")]
Drop = Annotated[str | None, option("Heads to drop; default all that the energy does not need.", metavar="HEAD,…")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        epilog=examples(
            "mlipq package runs/qm7 -o qm7.mlipq",
            "mlipq package runs/qm7 -o qm7.mlipq --keep orbital_charges",
        ),
        short_help="Make one file of a trained model, for inference.",
    )(package)


def package(
    run: RunFolder,
    output: Output,
    keep: Keep = None,
    drop: Drop = None,
    weights: Weights = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a trained model as one file, without the heads that were used in training alone.

    Energies and forces stay the same. The GFN1 head of a composite energy is merged with the correction.
    """
    from mlipq.training.saved.model import load_model
    from mlipq.training.saved.packaging import PACKAGE, refuse_output
    from mlipq.training.saved.packaging import package as write_package

    refuse_output(output, PACKAGE)
    packaged = write_package(load_model(run, weights), output, _heads(keep) or (), _heads(drop))
    before, after = packaged.parameters
    if as_json:
        print_json(
            {
                "output": str(output),
                "kept": packaged.kept,
                "dropped": list(packaged.dropped),
                "parameters": {"training": before, "package": after},
            }
        )
        return
    kept = ", ".join(f"{name} ({why})" for name, why in packaged.kept.items())
    size = f"{output.stat().st_size / 1e6:.1f} MB"
    rows = {"kept": kept, "dropped": list(packaged.dropped), "parameters": f"{after:,} of {before:,}", "size": size}
    print_table(str(output), rows)


def _heads(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
