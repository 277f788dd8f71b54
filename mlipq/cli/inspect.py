"""The verb ``inspect``: a page that shows a dataset."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json

Where = Annotated[str, argument("Folder of a dataset, one shard, or the name of a published dataset.", "DATASET")]
Page = Annotated[Path, option("File to write, as report.html.", "--output", "-o", metavar="FILE")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        epilog=examples("mlipq inspect out -o report.html", "mlipq inspect qm7-gfn1@1.0.0 -o qm7.html"),
        short_help="Make a page that shows a dataset, its outliers in 3D.",
    )(inspect)


def inspect(dataset: Where, output: Page, as_json: bool = JSON_OPTION) -> None:
    """Write one HTML page that shows a dataset: elements, sizes, energies, forces, charges, failures, and what sticks out, in 3D."""
    from mlipq.cli.progress import ReadingBar, starting_over
    from mlipq.hub import inspect_dataset, locate
    from mlipq.store import open_dataset

    opened = open_dataset(locate(dataset))
    with starting_over(), ReadingBar("reading twice") as bar:
        done = inspect_dataset(opened, output, bar.at)
    if as_json:
        print_json({"dataset": dataset, "output": str(output), **asdict(done)})
        return
    print(
        f"{output} shows {counted(done.structures, 'structure')}, {done.failures:,} failed, {done.flagged:,} flagged, "
        f"{done.suspects:,} drawn as most suspicious ({done.bytes / 1e6:.1f} MB)"
    )
