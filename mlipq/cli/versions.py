"""The verbs that make dataset versions: ``data publish``, ``data diff``, ``data split``."""

import typer


def add_verbs(data: typer.Typer) -> None:
    """Register the verbs of this module."""
