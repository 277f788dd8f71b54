"""The report of suites: one page, and its numbers as JSON and CSV."""

from pathlib import Path

from mlipq.bench.latent.results import METALS
from mlipq.bench.report.build import ClassReport, Report, SuiteReport, build_report
from mlipq.bench.report.page import render
from mlipq.bench.report.tables import as_csv, as_json
from mlipq.bench.results import STRUCTURES, SUITE
from mlipq.errors import InputError
from mlipq.store import commit_json
from mlipq.store.commit import committing

__all__ = ["ClassReport", "Report", "SuiteReport", "as_csv", "as_json", "build_report", "render", "write_report"]


def refuse_page(output: Path) -> None:
    """Refuse a name under which no page can be written, before the work begins.

    Raises
    ------
    InputError
        If it does not end in ``.html``, is a folder, there is no folder to write it in, or what is written beside it would take the
        place of a file that the report is made from.
    """
    if output.suffix != ".html":
        raise InputError(f"{output}: a report is a page and files beside it; name the page, as report.html")
    if output.is_dir() or not output.absolute().parent.is_dir():
        problem = "it is a folder" if output.is_dir() else "there is no such folder"
        raise InputError(f"{output} cannot be written: {problem}; name a file, as report.html")
    if (numbers := output.with_suffix(".json")).name in (SUITE, STRUCTURES, METALS):
        raise InputError(
            f"{output}: beside it would stand {numbers.name}, as a file of a suite is called; name it report.html"
        )


def write_report(report: Report, output: Path) -> list[Path]:
    """Write a report: ``report.html``, and beside it ``report.json``, ``report.csv``, ``report-breakdowns.csv``, ``report-costs.csv``.

    Equal reports give equal files. Those that are there are replaced.

    Parameters
    ----------
    report
        As :func:`build_report` makes it.
    output
        The page; the others take its name.

    Returns
    -------
    list of Path
        What was written, the page first.

    Raises
    ------
    InputError
        If ``output`` is no file that can be written.
    """
    refuse_page(output)
    texts = {output: render(report)}
    for ending, table in as_csv(report).items():
        texts[output.with_name(f"{output.stem}{'-' if ending else ''}{ending}.csv")] = table
    for path, text in texts.items():
        with committing(path) as file:
            file.write(text.encode("utf-8", errors="replace"))
    numbers = output.with_suffix(".json")
    commit_json(numbers, as_json(report))
    return [*texts, numbers]
