"""The verb ``report``: a page that compares the modes of suites."""

from pathlib import Path
from typing import Annotated

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json

Folders = Annotated[list[Path], argument("Folders of suites, as mlipq bench leaves them.", "FOLDER")]
Page = Annotated[Path, option("Page to write, as report.html.", "--output", "-o", metavar="FILE")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        epilog=examples("mlipq report runs/quick -o quick.html", "mlipq report runs/qm7 runs/gscdb138 -o report.html"),
        short_help="Make a page that compares the modes of suites.",
    )(report)


def report(folders: Folders, output: Page, as_json: bool = JSON_OPTION) -> None:
    """Write one HTML page that compares the modes of suites, and its numbers beside it as JSON and CSV.

    It is made from the results alone: no dataset and no model is read. An unfinished suite is compared as far as it got.
    """
    from mlipq.bench.report import build_report, refuse_page, write_report
    from mlipq.cli.progress import Bar, starting_over

    refuse_page(output)
    with starting_over(), Bar("comparing") as bar:

        def show(done: int, total: int) -> None:
            if done == 0:
                bar.begin("comparing", total)
            bar.show(f"{done:,} of {counted(total, 'suite')}", done)

        found = build_report(folders, show)
        files = write_report(found, output)
    missing = sum(len(suite.missing) for suite in found.suites)
    runs = sum(suite.runs for suite in found.suites)
    if as_json:
        suites = [suite.name for suite in found.suites]
        print_json({"suites": suites, "runs": runs, "missing": missing, "files": [str(file) for file in files]})
        return
    to_come = f"; {counted(missing, 'run')} of {'it' if len(found.suites) == 1 else 'them'} to come" if missing else ""
    print(f"{output} compares {counted(runs, 'run')} of {counted(len(found.suites), 'suite')}{to_come}")
    print(f"the numbers: {', '.join(str(file) for file in files[1:])}")
