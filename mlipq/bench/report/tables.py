"""The numbers of a report as JSON, and as CSV tables of one line a mode and size."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlipq.bench.latent.comparison import score_rows
from mlipq.bench.latent.results import Metals
from mlipq.bench.report.build import ClassReport, Report, SuiteReport
from mlipq.store.commit import Json

Line = Mapping[str, Any]


def as_json(report: Report) -> Json:
    """Return all that the page shows; keys are those of the records in :mod:`mlipq.bench.report.build`."""
    found: Any = asdict(report)
    for suite, record in zip(found["suites"], report.suites, strict=True):
        suite["tuning"] = [trial.model_dump(mode="json") for trial in record.tuning]
    found["metals"] = [
        {**one.model_dump(mode="json"), "comparisons": [asdict(row) for row in score_rows(one)]}
        for one in report.metals
    ]
    return found  # type: ignore[no-any-return]


def as_csv(report: Report) -> dict[str, str]:
    """Return the tables by what their files' names end in; empty for the main one."""
    shown = [(suite, own) for suite in report.suites for own in suite.classes]
    return {
        "": _csv([line for suite, own in shown for line in _comparisons(suite, own)]),
        "breakdowns": _csv([line for suite, own in shown for line in _breakdowns(suite, own)]),
        "costs": _csv([line for suite, own in shown for line in _costs(suite, own)]),
        **({"metals": _csv([line for found in report.metals for line in _metals(found)])} if report.metals else {}),
    }


def _comparisons(suite: SuiteReport, shown: ClassReport) -> Iterator[Line]:
    factors = {(made.mode, made.size): made.found for made in shown.efficiencies}
    for made in shown.comparisons:
        change, factor = made.reduction, factors.get((made.mode, made.size))
        yield {
            **_which(suite, shown, made.mode, made.size),
            "seeds": len(made.seeds),
            "test_structures": made.structures,
            "unit": suite.unit,
            "mae": made.mae,
            "mae_lowest_seed": made.mae_low,
            "mae_highest_seed": made.mae_high,
            "mae_baseline": made.mae_baseline,
            "reduction": change and change.value,
            "reduction_low": change and change.low,
            "reduction_high": change and change.high,
            "p": change and change.p,
            "p_holm": made.p_holm,
            "data_efficiency": factor and factor.factor,
            "data_efficiency_low": factor and factor.low,
            "data_efficiency_high": factor and factor.high,
            "outside_measured_range": factor and factor.outside,
        }


def _breakdowns(suite: SuiteReport, shown: ClassReport) -> Iterator[Line]:
    for part in shown.breakdowns:
        for mode, cells in part.cells.items():
            for one, cell in zip(part.bins, cells, strict=True):
                if cell is not None:
                    yield {
                        **_which(suite, shown, mode, part.size),
                        "by": part.kind,
                        "bin": one.label,
                        "test_structures": one.structures,
                        "unit": suite.unit,
                        "mae": cell.mae,
                        "mae_baseline": cell.mae_baseline,
                        "reduction": cell.reduction.value,
                        "reduction_low": cell.reduction.low,
                        "reduction_high": cell.reduction.high,
                    }


def _costs(suite: SuiteReport, shown: ClassReport) -> Iterator[Line]:
    times = {(made.mode, made.size): made for made in shown.equal_time}
    for made in shown.costs:
        equal = times.get((made.mode, made.size))
        own = {key: value for key, value in asdict(made).items() if key not in ("mode", "size", "seeds")}
        yield {
            **_which(suite, shown, made.mode, made.size),
            "seeds": len(made.seeds),
            **own,
            "unit": suite.unit,
            "equal_time_seconds": equal and equal.seconds,
            "equal_time_validation_mae": equal and equal.mode_then,
            "equal_time_validation_mae_baseline": equal and equal.baseline,
        }


def _metals(found: Metals) -> Iterator[Line]:
    for row in score_rows(found):
        own = {key: value for key, value in asdict(row).items() if key != "gain"}
        gain = row.gain
        yield {
            "suite": found.suite,
            **own,
            "gain": gain and gain.value,
            "gain_low": gain and gain.low,
            "gain_high": gain and gain.high,
            "gain_p": gain and gain.p,
        }


def _which(suite: SuiteReport, shown: ClassReport, mode: str, size: int) -> Line:
    return {"suite": suite.name, "labels_from": shown.labels_from, "mode": mode, "size": size}


def _csv(lines: Sequence[Line]) -> str:
    """Lines of equal keys; what is not known is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, lines[0] if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()
