"""The report as one self-contained HTML page: tables and figures need no script, and nothing is asked of another host."""

from collections.abc import Sequence

from mlipq.bench.latent.clustering import MEASURES
from mlipq.bench.latent.comparison import score_rows
from mlipq.bench.latent.figure import COLOURINGS
from mlipq.bench.latent.figure import figures as metal_figures
from mlipq.bench.report import figures, palette, texts
from mlipq.bench.report.build import ClassReport, Report
from mlipq.bench.report.comparisons import Comparison
from mlipq.hub.inspect.html import BASE_STYLE, THEME, environment_of, read_asset, sha256_of
from mlipq.hub.inspect.texts import number

PACKAGE = "mlipq.bench.report"
SIGNIFICANT = 0.05
"""Corrected p-values below are shown in bold."""


def render(report: Report) -> str:
    """Return the page; equal reports give equal pages."""
    environment = environment_of(PACKAGE)
    environment.globals.update(
        COLOURINGS=COLOURINGS,
        MEASURES=MEASURES,
        texts=texts,
        number=number,
        keyed=palette.keyed,
        look_of=palette.look_of,
        learning_curves=figures.learning_curves,
        reductions=figures.reductions,
        by_bins=figures.by_bins,
        reach_of=figures.reach_of,
        at=_at,
        is_significant=_is_significant,
        sizes_of=_sizes_of,
        score_rows=score_rows,
        metal_figures=metal_figures,
    )
    script = read_asset(THEME)
    return environment.get_template("page.html").render(
        suites=report.suites,
        metals=report.metals,
        style=read_asset(BASE_STYLE) + read_asset("page.css", PACKAGE),
        script=script,
        script_hash=sha256_of(script),
    )


def _at(records: Sequence, mode: str, size: int) -> object | None:
    """The record of a mode at a size, of records that have both."""
    return next((record for record in records if (record.mode, record.size) == (mode, size)), None)


def _sizes_of(shown: ClassReport) -> list[int]:
    return sorted({made.size for made in shown.comparisons if made.reduction is not None})


def _is_significant(made: Comparison) -> bool:
    return made.p_holm is not None and made.p_holm < SIGNIFICANT
