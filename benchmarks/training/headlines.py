"""What the campaign says, in the words of its rules: the tables of RESULTS.md, from the results that are committed.

    python -m benchmarks.training.headlines

Of a mode at a size with fewer than five seeds nothing is told. The page with all else is made by

    mlipq report benchmarks/training/campaign/* -o report.html
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipq.bench.efficiency import DataEfficiency
from mlipq.bench.latent.clustering import MEASURES
from mlipq.bench.latent.comparison import ScoreRow, score_rows
from mlipq.bench.latent.results import METALS, Metals, read_metals, suite_folders
from mlipq.bench.report.build import CLASSES
from mlipq.bench.report.collect import Collected, collect
from mlipq.bench.report.comparisons import Comparison, compare, efficiencies
from mlipq.bench.report.costs import Cost, costs, machines, software
from mlipq.bench.report.texts import (
    CLASS_TITLES,
    duration,
    error_text,
    factor_interval,
    factor_text,
    interval_percent,
    p_text,
    percent,
)
from mlipq.bench.results import Result
from mlipq.bench.statistics import Estimate, paired_reduction
from mlipq.errors import InputError

HERE = Path(__file__).parent
CAMPAIGN = HERE / "campaign"
PAGE = HERE / "RESULTS.md"

SIZES = {"qm7": (300, 1000), "gscdb138": (500, 1500)}
"""Of the headlines, by suite: named in the rules before any test structure was read."""
SEEDS = 5
ENERGY = "energy"
SAME = "charges"
EXTRA = "pretrained-charges+extra"
WITHOUT_CHARGES = "pretrained+extra"
CONTROL = "pretrained-shuffled+extra"

LOWER_BY, FEWER = 0.46, 5.0
"""The target; an interval must leave out half of it."""


@dataclass(frozen=True)
class Headline:
    """One mode against the energy alone, of one suite at one size.

    Attributes
    ----------
    comparison
        Errors, and by what fraction they are lower.
    factor
        How many times fewer DFT labels.
    """

    suite: str
    comparison: Comparison
    factor: DataEfficiency | None

    @property
    def reaches_target(self) -> bool:
        """Whether both numbers reach it, and both intervals leave half of it out."""
        lower, fewer = self.comparison.reduction, self.factor
        return (
            lower is not None
            and lower.low is not None
            and lower.value >= LOWER_BY
            and lower.low > LOWER_BY / 2
            and fewer is not None
            and fewer.factor is not None
            and fewer.factor >= FEWER
            and fewer.low is not None
            and fewer.low > FEWER / 2
        )


class Suite:
    """The results of one suite that have all seeds."""

    def __init__(self, folder: Path) -> None:
        self.collected: Collected = collect(folder)
        self.name = self.collected.record.name
        self.comparisons = [made for made in compare(self.collected) if len(made.seeds) >= SEEDS]
        self._costs = {(made.mode, made.size): made for made in costs(self.collected)}
        self._factors = {
            (made.mode, made.size): made.found for made in efficiencies(self.collected) if len(made.seeds) >= SEEDS
        }

    def headline(self, mode: str, size: int) -> Headline | None:
        """Return a mode against the energy alone; ``None`` as long as seeds are missing."""
        for made in self.comparisons:
            if (made.mode, made.size) == (mode, size):
                return Headline(self.name, made, self.factor(mode, size))
        return None

    def factor(self, mode: str, size: int) -> DataEfficiency | None:
        """Return how many times fewer DFT labels a mode needs; ``None`` as long as seeds are missing."""
        return self._factors.get((mode, size))

    def cost(self, made: Comparison) -> Cost:
        """Return what the runs of a comparison cost."""
        return self._costs[made.mode, made.size]

    def against(self, first: str, second: str, size: int) -> Estimate | None:
        """Return by what fraction the error of ``second`` is below that of ``first``; ``None`` as long as seeds are missing."""
        columns = [(mode, size) for mode in (first, second)]
        if not {first, second} <= set(self.collected.modes) or len(self.collected.seeds(*columns)) < SEEDS:
            return None
        paired = self.collected.paired(*columns)
        return paired_reduction(paired.errors[:, 0], paired.errors[:, 1], paired.units)


def same_table(suites: Sequence[Suite]) -> str:
    """Headline A: xTB charges of the same structures."""

    def row(suite: Suite, size: int) -> list[str]:
        return _headline_cells(suite.headline(SAME, size), size)

    titles = ["dataset", "DFT labels", f"`{ENERGY}`", f"`{SAME}`", "lower by", "times fewer labels"]
    largest = [told for suite in suites for size in SIZES.get(suite.name, ()) if (told := _largest(suite, size))]
    return "\n\n".join([_table(titles, _rows(suites, row)), *largest])


def _largest(suite: Suite, size: int) -> str:
    """Say which mode of the class of headline A does best, where there are several to choose from."""
    own = [made for made in suite.comparisons if made.size == size and suite.collected.labels_from(made.mode) == "same"]
    best = max(own, key=lambda made: made.reduction.value if made.reduction else 0.0, default=None)
    if best is None or len(own) < 2:
        return ""
    p = p_text(best.p_holm)
    return f"{suite.name} with {size:,} labels, the largest of {len(own)} modes: `{best.mode}`, {_reduction(best.reduction)}, corrected {p}."


def extra_table(suites: Sequence[Suite]) -> str:
    """Headline B: xTB labels of other structures too; what charges have of it, and the control."""

    def row(suite: Suite, size: int) -> list[str]:
        rest = [_reduction(suite.against(WITHOUT_CHARGES, mode, size)) for mode in (EXTRA, CONTROL)]
        return [*_headline_cells(suite.headline(EXTRA, size), size), *rest]

    titles = ["dataset", "DFT labels", f"`{ENERGY}`", f"`{EXTRA}`", "lower by", "times fewer labels"]
    return _table([*titles, "of which by charges", "by shuffled charges"], _rows(suites, row))


def verdict(suites: Sequence[Suite]) -> str:
    """Say whether the target is reached, and where."""
    found = [suite.headline(EXTRA, size) for suite in suites for size in SIZES.get(suite.name, ())]
    reached = [made for made in found if made is not None and made.reaches_target]
    if reached:
        where = " and ".join(f"{made.suite} with {made.comparison.size:,} labels" for made in reached)
        return f"**The target of B is reached: {where}.**"
    to_come = found.count(None) + sum(len(SIZES[name]) for name in SIZES.keys() - {suite.name for suite in suites})
    rest = f"; {to_come} of 4 figures are to come" if to_come else ""
    short = [_exactly(made) for made in found if made is not None]
    return "\n\n".join([f"**The target of B is not reached{' yet' if to_come else ''}{rest}.**", *short])


def _exactly(made: Headline) -> str:
    """Say a headline with the digits that show on which side of the target it is."""
    lower, factor = made.comparison.reduction, made.factor
    times = "no factor" if factor is None else factor_text(factor)
    if factor is not None and factor.factor is not None:
        times = f"{factor.factor:.2f} times"
    by = "" if lower is None else f"{percent(lower.value)} % and "
    return f"{made.suite} with {made.comparison.size:,} labels: {by}{times}."


def mode_tables(suites: Sequence[Suite]) -> str:
    """Every mode that has all seeds, by suite and class."""
    parts = []
    for suite in suites:
        for labels_from in CLASSES:
            shown = [
                made
                for made in suite.comparisons
                if made.mode != suite.collected.baseline and suite.collected.labels_from(made.mode) == labels_from
            ]
            if shown:
                parts += [f"### {suite.name}: {CLASS_TITLES[labels_from].lower()}", _mode_table(suite, shown)]
    return "\n\n".join(parts) or "No mode has five seeds yet."


def _mode_table(suite: Suite, shown: Sequence[Comparison]) -> str:
    collected = suite.collected
    error = f"error, {collected.first.unit} (seeds)"
    titles = ["mode", "labels", error, f"`{collected.baseline}`", "lower by", "p, corrected", "times fewer labels"]
    rows = []
    for made in sorted(shown, key=lambda one: one.size):
        cost, factor = suite.cost(made), suite.factor(made.mode, made.size)
        seeds = f"{error_text(made.mae)} ({error_text(made.mae_low)} to {error_text(made.mae_high)})"
        cells = [f"`{made.mode}`", f"{made.size:,}", seeds, error_text(made.mae_baseline), _reduction(made.reduction)]
        cells += [_bare(made.p_holm), _factor(factor)]
        rows.append([*cells, duration(cost.seconds + cost.pretraining_seconds), f"{cost.inference_ms:.2f} ms"])
    return _table([*titles, "training", "a prediction"], rows)


def metals_table(metals: Sequence[Metals]) -> str:
    """How well features of metals tell their group and period, beside what chance does."""
    rows = [_metals_cells(row) for found in metals for row in score_rows(found)]
    titles = ["features of", "sorted by", "score (seeds)", "by chance, and in 95 of 100 below", "p, corrected", "gain"]
    return _table(titles, rows) if rows else "To come."


def _metals_cells(row: ScoreRow) -> list[str]:
    score = f"{row.value:.2f} ({row.least:.2f} to {row.largest:.2f})"
    by, chance = f"{row.grouping}, {MEASURES[row.measure]}", f"{row.null_mean:.2f}, {row.null_high:.2f}"
    return [row.encoder, by, score, chance, _bare(row.p_holm), "" if row.gain is None else _gain(row.gain)]


def _gain(found: Estimate) -> str:
    interval = "" if found.low is None or found.high is None else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.value:+.2f}{interval}".replace("-", "−")


def conditions(suites: Sequence[Suite]) -> str:
    """When, where and with what the runs were made, and how many are to come."""
    rows = []
    for suite in suites:
        runs = suite.collected.results.values()
        days = sorted({run.finished[:10] for run in runs})
        used = "; ".join(f"{name} {', '.join(found)}" for name, found in software(suite.collected).items())
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        rows.append(
            [suite.name, f"{len(runs)}", f"{_core_hours(runs):.1f}", when, "; ".join(machines(suite.collected)), used]
        )
    return _table(["suite", "runs", "core-hours", "finished", "machines", "versions"], rows)


def _core_hours(runs: Collection[Result]) -> float:
    """What all steps took, and each pretraining, once a seed."""
    first = {(run.mode, run.seed): run.pretraining_seconds * run.threads for run in runs}
    return (sum(run.seconds * run.threads for run in runs) + sum(first.values())) / 3600


@dataclass(frozen=True)
class Campaign:
    """All that is committed: suites in the order of the rules, and looks at metals."""

    suites: Sequence[Suite]
    metals: Sequence[Metals] = ()


SECTIONS: dict[str, Callable[[Campaign], str]] = {
    "same": lambda campaign: same_table(campaign.suites),
    "extra": lambda campaign: extra_table(campaign.suites),
    "verdict": lambda campaign: verdict(campaign.suites),
    "modes": lambda campaign: mode_tables(campaign.suites),
    "metals": lambda campaign: metals_table(campaign.metals),
    "conditions": lambda campaign: conditions(campaign.suites),
}
_SECTION = re.compile(r"(?P<begin><!-- begin: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def fill(page: str, campaign: Campaign) -> str:
    """Put the tables into a page, between ``<!-- begin: NAME -->`` and ``<!-- end -->``.

    Raises
    ------
    InputError
        If it names a table that is none, or lacks one.
    """
    found = {section["name"] for section in _SECTION.finditer(page)}
    if found != SECTIONS.keys():
        raise InputError(f"{PAGE.name}: expected the sections {', '.join(SECTIONS)}, found {', '.join(sorted(found))}")
    return _SECTION.sub(lambda match: f"{match['begin']}\n{SECTIONS[match['name']](campaign)}\n\n{match['end']}", page)


def read_campaign(folder: Path = CAMPAIGN) -> Campaign:
    """Read what is committed of each suite; a metals suite has several in it."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    suites = [Suite(own) for path in folders for own in suite_folders(path)]
    metals = [read_metals(path) for path in folders if (path / METALS).exists()]
    return Campaign(sorted(suites, key=lambda suite: [*SIZES, suite.name].index(suite.name)), metals)


def _rows(suites: Iterable[Suite], row: Callable[[Suite, int], list[str]]) -> list[list[str]]:
    return [[suite.name, *row(suite, size)] for suite in suites for size in SIZES.get(suite.name, ())]


def _headline_cells(made: Headline | None, size: int) -> list[str]:
    if made is None:
        return [f"{size:,}", "to come", "", "", ""]
    errors = (made.comparison.mae_baseline, made.comparison.mae)
    return [f"{size:,}", *map(error_text, errors), _reduction(made.comparison.reduction), _factor(made.factor)]


def _reduction(found: Estimate | None) -> str:
    return "" if found is None else f"{percent(found.value)} % ({interval_percent(found)})"


def _bare(p: float | None) -> str:
    return p_text(p).removeprefix("p ").removeprefix("= ")


def _factor(found: DataEfficiency | None) -> str:
    return "" if found is None else f"{factor_text(found)} ({factor_interval(found, SEEDS)})"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(titles), ["---"] * len(titles), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), read_campaign()), encoding="utf-8")
    print(f"{PAGE.name}: its tables are those of {CAMPAIGN.name}/")
