"""The verb ``predict``: a trained model's energies, forces and whatever else it predicts, for files of structures."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mlipq.cli.options import (
    Charge,
    ChargeKey,
    IgnorePbc,
    Model,
    Multiplicity,
    SpinKey,
    Strict,
    Weights,
    argument,
    examples,
    option,
)
from mlipq.cli.output import JSON_OPTION, counted, print_json
from mlipq.errors import InputError

Inputs = Annotated[list[str], argument("Files, folders, globs or datasets.", "INPUT")]
Output = Annotated[Path, option("Extended XYZ file to write.", "--output", "-o", metavar="FILE")]
Device = Annotated[str, option("Default cpu.", metavar="cpu|cuda")]

_SHOWN = 20
"""Failures that are named; --json has all."""


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        epilog=examples(
            "mlipq predict runs/qm7 structures.extxyz -o out.extxyz",
            "mlipq predict qm7.mlipq molecules/ -o out.extxyz --charge-key q",
        ),
        short_help="Predict energies, forces and charges of structures.",
    )(predict)


def predict(
    model: Model,
    inputs: Inputs,
    output: Output,
    weights: Weights = None,
    device: Device = "cpu",
    charge: Charge = None,
    charge_key: ChargeKey = None,
    multiplicity: Multiplicity = None,
    spin_key: SpinKey = None,
    ignore_pbc: IgnorePbc = False,
    strict: Strict = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Predict for the structures of any files that ASE reads, and write them as extended XYZ with the results.

    Charge and spin are read as by label. What cannot be predicted is named, and the rest is written.
    """
    from mlipq.cli.progress import ReadingBar, starting_over
    from mlipq.structures import ReadOptions
    from mlipq.training.inference.files import predict_files
    from mlipq.training.inference.predictor import Predictor
    from mlipq.training.saved.model import load_model
    from mlipq.training.saved.packaging import refuse_output

    refuse_output(output, ".extxyz", ".xyz")
    options = ReadOptions(
        charge_key=charge_key,
        charge_default=0 if charge is None else charge,
        spin_key=spin_key,
        spin_default=_multiplicity(multiplicity),
        ignore_pbc=ignore_pbc,
    )
    predictor = Predictor(load_model(model, weights), device)
    with starting_over(), ReadingBar("predicting") as bar:

        def show(doing: str, done: int, total: int) -> None:
            if total:
                bar.at(done, total)
            else:
                bar.show(f"{doing}: {done:,} structures")

        done = predict_files(predictor, inputs, output, options, show)
        for where, why in done.failures[:_SHOWN]:
            bar.say(f"{where}: {why}", style="yellow")
        if len(done.failures) > _SHOWN:
            bar.say(f"… and {len(done.failures) - _SHOWN:,} more; --json lists all", style="yellow")
    if as_json:
        failures = [{"structure": where, "message": why} for where, why in done.failures]
        print_json({"output": str(output), "structures": done.structures, "failures": failures})
    else:
        failed = f", {len(done.failures):,} could not be predicted" if done.failures else ""
        print(f"{counted(done.structures, 'structure')} written to {output}{failed}")
    if strict and done.failures:
        raise typer.Exit(1)


def _multiplicity(text: str | None) -> int | Literal["lowest"]:
    if text is None or text == "lowest":
        return "lowest"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--multiplicity {text}: expected a whole number from 1, or lowest")
    return int(text)
