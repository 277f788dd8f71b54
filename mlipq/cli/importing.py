"""The verb ``import``: datasets in other projects' formats."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json
from mlipq.formats import IMPORTERS

Sources = Annotated[list[Path], argument("Files, or folders of them.", "FILE|FOLDER")]
SourceFormat = Annotated[str, option("What they are.", "--format", metavar="|".join(IMPORTERS))]
Output = Annotated[Path, option("Folder of the new dataset.", "--output", "-o", metavar="FOLDER")]
Level = Annotated[
    str, option("How the labels were computed; needed where the format does not say.", metavar="METHOD/BASIS")
]
Strict = Annotated[bool, option("Exit with 1 if any structure cannot be used.", "--strict")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        "import",
        epilog=examples(
            "mlipq import rmd17_ethanol.npz --format rmd17 -o ethanol",
            "mlipq import dsgdb9nsd.xyz.tar.bz2 --format gdb9 -o qm9",
            "mlipq import omol/ --format aselmdb --level-of-theory wB97M-V/def2-TZVPD -o omol-mlipq",
        ),
        short_help="Make a dataset of one in another project's format.",
    )(import_files)


def import_files(
    sources: Sources,
    source_format: SourceFormat,
    output: Output,
    level_of_theory: Level = "",
    strict: Strict = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a dataset of files in another project's format, with their labels. The verb label then adds GFN1-xTB's."""
    from mlipq.cli.progress import Bar, duration, starting_over
    from mlipq.hub.importers import import_dataset

    start = time.monotonic()
    with starting_over(), Bar("importing") as bar:
        bar.begin("importing", 1.0)

        def show(read: int, done: float) -> None:
            seconds = max(time.monotonic() - start, 1e-9)
            left = f", {duration(seconds * (1 - done) / done)} left" if done else ""
            bar.show(f"{counted(read, 'structure')}, {read / seconds:,.0f} structures/s{left}", done)

        manifest = import_dataset(sources, source_format, output, level_of_theory, show)
    refused = sum(manifest.failures.values())
    if as_json:
        counts = {"structures": manifest.n_structures, "refused": refused, "duplicates": manifest.duplicates}
        print_json({"output": str(output), **counts, "conflicts": len(manifest.conflicts)})
    else:
        _print_summary(output, manifest.n_structures, refused, manifest.duplicates, len(manifest.conflicts))
    if strict and refused:
        raise typer.Exit(1)


def _print_summary(output: Path, structures: int, refused: int, duplicates: int, conflicts: int) -> None:
    print(f"{counted(structures, 'structure')} imported to {output}")
    if refused:
        print(f"{counted(refused, 'structure')} cannot be used: mlipq info {output} --failures")
    if duplicates:
        differing = f", {conflicts:,} of them with other labels: the manifest lists these" if conflicts else ""
        print(f"{counted(duplicates, 'structure')} met again and left out{differing}")
