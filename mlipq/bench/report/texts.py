"""What the page says in words: the classes, the breakdowns, and what is not claimed."""

from mlipq.bench.efficiency import DataEfficiency
from mlipq.bench.modes import find_mode
from mlipq.bench.report.build import SuiteReport
from mlipq.bench.statistics import Estimate
from mlipq.hub.inspect.texts import number

CLASS_TITLES = {
    "same": "Same structures",
    "extra": "Extra structures",
    "inference": "xTB at inference",
    "none": "Without xTB labels",
}
CLASS_TEXTS = {
    "same": "Every model here saw the N structures that have {labels}, and no other. The xTB labels are of these same structures.",
    "extra": "These models also saw xTB labels of other structures, of which they saw no {labels}; in each step those join as a "
    "second batch. So they paid for more labels and more training than the baseline, which the table of costs states.",
    "inference": "These models need a GFN1-xTB calculation for every prediction, which the table of costs states. What they save on labels "
    "is paid again with each use.",
    "none": "Ways to train on the {labels} alone.",
}
BREAKDOWN_TITLES = {
    "size": ("By size", "Number of atoms"),
    "element": ("By element", "Test structures that contain the element"),
    "distance": ("By distance from training", "Composition distance, atoms"),
    "deviation": ("By error of the xTB charges", "Mean |GFN1 − DFT| charge of the atoms, e"),
}
BREAKDOWN_TEXTS = {
    "size": "Bins of about equally many test structures, by number of atoms.",
    "element": "Test structures that contain each element; a structure counts for each of its elements.",
    "distance": "How many atoms must be added and taken away to turn the composition of a test structure into the nearest one that was "
    "trained on; mean over the seeds.",
    "deviation": "Does it hurt where xTB is wrong? Bins by how far GFN1's Mulliken charges are from those of DFT. If wrong charges spoiled what is "
    "learned from them, the reduction would fall from left to right. The bins may differ in sizes and elements, too.",
}


def labels_of(suite: SuiteReport) -> str:
    """Say what N counts: in a suite that predicts what GFN1-xTB says, no labels are of DFT."""
    return "labels of the target" if suite.target.startswith("gfn1/") else "DFT labels"


def what_of(mode: str) -> str:
    """Say what a mode is; nothing of a mode that this version does not know."""
    try:
        return find_mode(mode).what
    except ValueError:
        return ""


def percent(share: float) -> str:
    """Write a fraction in per cent, without the sign; two seeds may give intervals of any width.

    Examples
    --------
    >>> percent(0.1234), percent(-0.05), percent(-1e9)
    ('12.3', '−5.0', '< −999')
    """
    if share < -9.99:
        return "< −999"
    text = f"{100 * share:.1f}".replace("-", "−")
    return "0.0" if text == "−0.0" else text


def p_text(p: float | None) -> str:
    """Write a p-value; nothing where there is none.

    Examples
    --------
    >>> p_text(1.0), p_text(0.213), p_text(0.0312), p_text(1e-7)
    ('p = 1', 'p = 0.21', 'p = 0.031', 'p < 0.001')
    """
    if p is None:
        return ""
    if p < 0.001:
        return "p < 0.001"
    return "p = 1" if p > 0.995 else f"p = {p:.2f}" if p >= 0.1 else f"p = {p:.3f}"


def error_text(error: float) -> str:
    """Write an error with three digits, zeros among them.

    Examples
    --------
    >>> error_text(18.0), error_text(0.05234), error_text(1234.4), error_text(100)
    ('18.0', '0.0523', '1,234', '100')
    """
    return f"{error:,.0f}" if error >= 999.5 else f"{error:#.3g}".removesuffix(".")


def interval_percent(found: Estimate) -> str:
    """Write an interval of fractions in per cent; nothing where there is none."""
    return "" if found.low is None or found.high is None else f"{percent(found.low)} to {percent(found.high)}"


def factor_text(found: DataEfficiency) -> str:
    """Write a data-efficiency factor, or on which side of the measured range it lies."""
    if found.factor is not None:
        return f"{factor_number(found.factor)} ×"
    end = found.limits[1] if found.outside == "below" else found.limits[0]
    return f"{'>' if found.outside == 'below' else '<'} {factor_number(end)} ×"


def factor_interval(found: DataEfficiency, seeds: int) -> str:
    """Write its interval; an end outside the measured range is not given."""
    if found.factor is None:
        return "outside the measured range"
    if seeds < 2:
        return ""
    low = f"< {factor_number(found.limits[0])}" if found.low is None else factor_number(found.low)
    high = f"> {factor_number(found.limits[1])}" if found.high is None else factor_number(found.high)
    return f"{low} to {high}"


def factor_number(factor: float) -> str:
    """Write a factor with two digits, or all before the point.

    Examples
    --------
    >>> factor_number(0.333), factor_number(2.06), factor_number(30), factor_number(1e9)
    ('0.33', '2.1', '30', '> 999')
    """
    if factor > 999:
        return "> 999"
    return f"{factor:.2f}" if factor < 0.995 else f"{factor:.1f}" if factor < 9.95 else f"{factor:.0f}"


def duration(seconds: float) -> str:
    """Write a time in the unit that fits.

    Examples
    --------
    >>> duration(3.21), duration(330), duration(9000)
    ('3.2 s', '5.5 min', '2.5 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{number(seconds / size, 2)} {unit}"
    return f"{number(seconds, 2)} s"


def not_claimed(suite: SuiteReport) -> list[str]:
    """Say what the figures of a suite do not show."""
    seeds = len(suite.seeds)
    unit = "groups" if suite.units_are_groups else "structures"
    said = [
        f"Nothing is said of other datasets, levels of theory, elements, model architectures or sizes than those measured: "
        f"{', '.join(f'{size:,}' for size in suite.sizes)} labels, tested on {suite.test_structures:,} structures of {suite.dataset}.",
    ]
    if seeds < 2:
        said.append("There is one seed, so there are no intervals and no p-values: differences may be chance.")
    elif suite.test_units < 2:
        said.append(
            "The test structures are one group, so there are no intervals and no p-values: another group may differ."
        )
    else:
        said += _of_intervals(
            seeds, f"The {suite.test_units:,} test {unit} stand for {unit} of the same kind, from the same source."
        )
    if not suite.units_are_groups:
        said.append(
            "The test split holds out structures, not groups: other structures of the same group (conformers, isomers) may have been trained on."
        )
    return [
        *said,
        "Breakdowns are many and not corrected: they show where to look, and prove nothing by themselves.",
        f"A data-efficiency factor counts {labels_of(suite)} alone: not the xTB labels, nor longer training. Where it is given as a limit (> or <), "
        "that is on which side the means lie, and says nothing of how sure that is.",
        "Equal time is read off validation curves of runs whose learning rate was planned for their full length. It carries no interval, and "
        "is only as good as the machine was quiet.",
        "Classes are not to be compared with each other: they paid for different labels, or pay at inference.",
    ]


def _of_intervals(seeds: int, stand_for: str) -> list[str]:
    said = [
        "An interval covers the truth in 95 of 100 such suites one by one, not all intervals of the page at once. p-values are corrected for the "
        "number of modes at one size, not for the sizes, nor for several suites.",
        f"The {seeds} seeds draw from one pool of structures, so at sizes near the pool's their draws overlap, and differ less than draws "
        f"from a fresh pool would. {stand_for}",
    ]
    if seeds < 5:
        said.append(f"There are only {seeds} seeds: intervals are wide, and rest on few draws.")
    return said
