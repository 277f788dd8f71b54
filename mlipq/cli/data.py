"""The verbs of ``mlipq data``: published datasets."""

import typer

from mlipq.cli import versions
from mlipq.cli.options import examples


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    data = typer.Typer(
        name="data",
        help="Published datasets: list, pull, publish, compare, split.",
        epilog=examples("mlipq data list", "mlipq data pull qm7-gfn1"),
        no_args_is_help=True,
    )
    versions.add_verbs(data)
    app.add_typer(data)
