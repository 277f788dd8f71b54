"""The report: all that is computed from the results, without a word of HTML."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlipq.bench.latent.results import METALS, Metals, read_metals, suite_folders
from mlipq.bench.report.breakdowns import Breakdown, break_down, usual_size
from mlipq.bench.report.collect import Collected, collect
from mlipq.bench.report.comparisons import (
    Comparison,
    Efficiency,
    EqualTime,
    at_equal_time,
    compare,
    efficiencies,
)
from mlipq.bench.report.costs import Cost, Draw, costs, draws, machines, software
from mlipq.bench.report.settings import Settings, own_settings
from mlipq.bench.results import LabelsFrom, Trial
from mlipq.errors import InputError

CLASSES: tuple[LabelsFrom, ...] = ("same", "extra", "inference", "none")
"""In the order of the page; modes without xTB labels come last, where there are others than the baseline."""


@dataclass(frozen=True)
class ClassReport:
    """The modes of one class against the baseline: what is compared here has its xTB labels from the same place.

    Attributes
    ----------
    labels_from
        The class.
    modes
        In the suite's order; the baseline, which belongs to every class, comes first.
    comparisons, efficiencies, equal_time, breakdowns, costs
        Of these modes alone.
    """

    labels_from: LabelsFrom
    modes: list[str]
    comparisons: list[Comparison]
    efficiencies: list[Efficiency]
    equal_time: list[EqualTime]
    breakdowns: list[Breakdown]
    costs: list[Cost]


@dataclass(frozen=True)
class SuiteReport:
    """One suite.

    Attributes
    ----------
    name, title, folder
        As the suite says, and where it lies.
    dataset, dataset_sha256, target, unit, level_of_theory
        What is predicted. All errors are in ``unit``.
    baseline
        The mode that all others are compared with.
    test_structures, test_units, units_are_groups, test_sha256
        The test split: structures, how many units are resampled, whether these are groups.
    sizes, seeds, runs, missing
        With results, how many there are, and the names of those to come.
    notes
        What was left out of the suite, and why.
    usual_size
        At which breakdowns are made.
    classes
        The comparisons.
    own_settings
        By mode, what it does otherwise than the suite says, where that was not tried but given.
    draws, tuning, machines, versions
        For whoever wants to make it again.
    """

    name: str
    title: str
    folder: str
    dataset: str
    dataset_sha256: str
    target: str
    unit: str
    level_of_theory: str
    baseline: str
    test_structures: int
    test_units: int
    units_are_groups: bool
    test_sha256: str
    sizes: list[int]
    seeds: list[int]
    runs: int
    missing: list[str]
    notes: list[str]
    usual_size: int
    classes: list[ClassReport]
    own_settings: dict[str, Settings]
    draws: list[Draw]
    tuning: list[Trial]
    machines: list[str]
    versions: dict[str, list[str]]


@dataclass(frozen=True)
class Report:
    """What suites have come to, and looks at metals."""

    suites: list[SuiteReport]
    metals: list[Metals] = field(default_factory=list)


def build_report(folders: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None) -> Report:
    """Compute the report of suites from what they left in their folders: results, test structures, the suite itself.

    A suite may be unfinished: what has ended is compared, what is missing is listed.

    Parameters
    ----------
    folders
        One a suite; that of a metals suite stands for the suites in it, and what it found of the metals.
    progress
        Called with the number of suites done, and of all.

    Raises
    ------
    InputError
        If a folder holds no results, or is named twice; or a file is damaged.
    CheckError
        If the results of a suite cannot be compared with each other.
    """
    resolved = [one.resolve() for folder in folders for one in suite_folders(folder)]
    if not resolved or len(set(resolved)) < len(resolved):
        problem = "one folder is named twice" if resolved else "no folder is named"
        raise InputError(f"{problem}; name each suite's once:  mlipq report runs/qm7 runs/gscdb138 -o report.html")
    metals = [read_metals(folder) for folder in folders if (folder / METALS).exists()]
    collected = [collect(one) for folder in folders for one in suite_folders(folder)]  # all, before the work begins
    suites = []
    for done, suite in enumerate(collected):
        progress(done, len(collected))
        suites.append(_report_of(suite))
    progress(len(collected), len(collected))
    return Report(suites, metals)


def _report_of(suite: Collected) -> SuiteReport:
    first, record = suite.first, suite.record
    return SuiteReport(
        name=record.name,
        title=record.title,
        folder=suite.folder.name,
        dataset=first.dataset,
        dataset_sha256=first.dataset_sha256,
        target=first.target,
        unit=first.unit,
        level_of_theory=first.level_of_theory,
        baseline=suite.baseline,
        test_structures=suite.n_test,
        test_units=len(set(suite.units.tolist())),
        units_are_groups=suite.structures.groups_held_out,
        test_sha256=first.splits.get("test", ""),
        sizes=suite.sizes,
        seeds=sorted({seed for _, _, seed in suite.results}),
        runs=len(suite.results),
        missing=suite.missing,
        notes=list(record.notes),
        usual_size=usual_size(suite),
        classes=_classes(suite),
        own_settings=own_settings(record, suite.modes),
        draws=draws(suite),
        tuning=list(record.tuning),
        machines=machines(suite),
        versions=software(suite),
    )


def _classes(suite: Collected) -> list[ClassReport]:
    comparisons, factors, times, spent = compare(suite), efficiencies(suite), at_equal_time(suite), costs(suite)
    size = usual_size(suite)
    found = []
    for labels_from in CLASSES:
        own = [mode for mode in suite.modes if mode != suite.baseline and suite.labels_from(mode) == labels_from]
        if own:
            shown = [suite.baseline, *own]
            found.append(
                ClassReport(
                    labels_from=labels_from,
                    modes=shown,
                    comparisons=[made for made in comparisons if made.mode in shown],
                    efficiencies=[made for made in factors if made.mode in shown],
                    equal_time=[made for made in times if made.mode in shown],
                    breakdowns=break_down(suite, own, size),
                    costs=[made for made in spent if made.mode in shown],
                )
            )
    return found
