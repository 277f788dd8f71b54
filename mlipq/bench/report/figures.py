"""Figures as SVG: learning curves, reductions with their intervals, and small ones of these by bins; no script draws anything.

Every text goes through :class:`markupsafe.Markup`'s ``format``, which escapes it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlipq.bench.report.breakdowns import Bin, Cell
from mlipq.bench.report.comparisons import Comparison
from mlipq.bench.report.palette import Look, mark
from mlipq.bench.report.texts import error_text, percent
from mlipq.hub.inspect.charts import ticks
from mlipq.hub.inspect.texts import number

WIDTH, HEIGHT = 400.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 10.0, 20.0, 38.0
_DODGE = 5.0
"""Between marks of several modes at one size, so that whiskers do not hide each other."""

Looks = Callable[[str], Look]


@dataclass(frozen=True)
class _Frame:
    """Where values are drawn: ``x`` and ``y`` turn them into places."""

    x: Callable[[float], float]
    y: Callable[[float], float]


def learning_curves(comparisons: Sequence[Comparison], unit: str, labels: str, baseline: str, looks: Looks) -> Markup:
    """Draw test errors by number of labels, both logarithmic: lines through the means, bands from the least to the largest seed."""
    sizes = sorted({made.size for made in comparisons})
    lowest, highest = min(made.mae_low for made in comparisons), max(made.mae_high for made in comparisons)
    low, high = _logarithm(lowest * 0.93), _logarithm(highest * 1.07)
    frame = _Frame(_across(sizes), lambda value: _up(_logarithm(value), low, high))
    lines = []
    for mode, own in _by_mode(comparisons):
        look = looks(mode)
        x = [frame.x(made.size) for made in own]
        upper = [f"{a:.1f},{frame.y(made.mae_high):.1f}" for a, made in zip(x, own)]
        lower = [f"{a:.1f},{frame.y(made.mae_low):.1f}" for a, made in zip(x, own)]
        middle = [f"{a:.1f},{frame.y(made.mae):.1f}" for a, made in zip(x, own)]
        titled = [_titled(mark(look, a, frame.y(made.mae)), _in_words(made, unit)) for a, made in zip(x, own)]
        lines.append(
            Markup(
                '<g style="{}"><polygon class="band" points="{}"/>'
                '<polyline class="curve" points="{}" stroke-dasharray="{}"/>{}</g>'
            ).format(look.style, " ".join(upper + lower[::-1]), " ".join(middle), look.dashes, Markup("").join(titled))
        )
    lines.sort(key=lambda line: looks(baseline).style in line)  # the baseline on top
    marks = [(value, number(value)) for value in _logarithmic_ticks(lowest, highest)]
    axes = _size_axis(sizes, labels, frame) + _value_axis(marks, frame)
    return _chart(f"Test MAE, {unit}", f"Test MAE in {unit} by number of {labels}", axes + Markup("").join(lines))


def reductions(comparisons: Sequence[Comparison], labels: str, baseline: str, looks: Looks) -> Markup:
    """Draw by how many per cent errors are below the baseline's, by number of labels, with 95 % intervals."""
    shown = [made for made in comparisons if made.reduction is not None]
    sizes = sorted({made.size for made in comparisons})
    low, high = _reach([_ends(made) for made in shown])
    frame = _Frame(_across(sizes, margin=34), lambda percent: _up(percent, low, high))
    modes = _by_mode(shown)
    drawn = []
    for place, (mode, own) in enumerate(modes):
        look, shift = looks(mode), _DODGE * (place - (len(modes) - 1) / 2)
        for made in own:
            x = frame.x(made.size) + shift * min(1.0, 60 / (_DODGE * max(len(modes), 1)))
            drawn.append(
                Markup('<g style="{}">{}</g>').format(
                    look.style, _titled(_whisker(look, x, _ends(made), frame), _in_words(made, ""))
                )
            )
    axes = _size_axis(sizes, labels, frame) + _percent_axis(low, high, frame)
    return _chart(
        f"MAE below that of {baseline}, %",
        f"MAE in per cent below that of {baseline}, by number of {labels}",
        axes + Markup("").join(drawn),
    )


def reach_of(rows: Iterable[Sequence[Cell | None]]) -> tuple[float, float]:
    """Return the ends of the axis, in per cent, that figures of all these bins share."""
    return _reach([_cell_ends(cell) for row in rows for cell in row if cell is not None])


def by_bins(
    mode: str, bins: Sequence[Bin], cells: Sequence[Cell | None], reach: tuple[float, float], looks: Looks
) -> Markup:
    """Draw a mode's reductions bin by bin, from left to right, with 95 % intervals; small, for several side by side."""
    width, left, right, top, bottom = 190.0, 30.0, 186.0, 8.0, 112.0
    low, high = reach
    step = (right - left) / len(bins)
    frame = _Frame(
        lambda place: left + (place + 0.5) * step,
        lambda value: bottom - _share(value, low, high) * (bottom - top),
    )
    drawn = [_value_axis([(tick, number(tick)) for tick in ticks(low, high)], frame, (left, right), strong=0.0)]
    for place, (one, cell) in enumerate(zip(bins, cells, strict=True)):
        if cell is not None:
            whisker = _whisker(looks(mode), frame.x(place), _cell_ends(cell), frame)
            words = f"{one.label}: {percent(cell.reduction.value)} % below the baseline"
            drawn.append(Markup('<g style="{}">{}</g>').format(looks(mode).style, _titled(whisker, words)))
    for x, anchor, one in ((left, "start", bins[0]), (right, "end", bins[-1])):
        drawn.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, bottom + 12, anchor, one.label))
    label = f"{mode}: MAE below the baseline's, in per cent, in bins from low to high"
    return Markup('<svg class="chart small" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        width, bottom + 16, label, Markup("").join(drawn)
    )


def _by_mode(comparisons: Sequence[Comparison]) -> list[tuple[str, list[Comparison]]]:
    modes = dict.fromkeys(made.mode for made in comparisons)
    return [(mode, sorted((m for m in comparisons if m.mode == mode), key=lambda m: m.size)) for mode in modes]


def _ends(made: Comparison) -> tuple[float, float, float]:
    """The reduction and the ends of its interval, in per cent."""
    found = made.reduction
    if found is None:
        raise ValueError(f"{made.mode} has no reduction")
    return _three(found.value, found.low, found.high)


def _cell_ends(cell: Cell) -> tuple[float, float, float]:
    return _three(cell.reduction.value, cell.reduction.low, cell.reduction.high)


def _three(value: float, low: float | None, high: float | None) -> tuple[float, float, float]:
    return 100 * value, 100 * (value if low is None else low), 100 * (value if high is None else high)


def _reach(found: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Ends of an axis of per cent that holds all intervals and 0; what reaches below −100 is cut off there."""
    low = min([0.0, *(max(ends[1], -100.0) for ends in found)])
    high = max([0.0, *(ends[2] for ends in found)])
    margin = max(0.06 * (high - low), 1.0)
    return low - margin, high + margin


def _across(sizes: Sequence[int], margin: float = 14) -> Callable[[float], float]:
    low, high = math.log(sizes[0]), math.log(sizes[-1])
    left, right = _LEFT + margin, WIDTH - _RIGHT - margin
    if low == high:
        return lambda size: (left + right) / 2
    return lambda size: left + (right - left) * (math.log(size) - low) / (high - low)


def _up(value: float, low: float, high: float) -> float:
    return HEIGHT - _BOTTOM - _share(value, low, high) * (HEIGHT - _TOP - _BOTTOM)


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others; what is outside, at an end."""
    return (min(max(value, low), high) - low) / (high - low)


def _logarithm(error: float) -> float:
    return math.log10(max(error, 1e-9))


def _size_axis(sizes: Sequence[int], labels: str, frame: _Frame) -> Markup:
    base = HEIGHT - _BOTTOM
    texts = [
        Markup(
            '<line class="tick" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
            '<text x="{0:.1f}" y="{3}" text-anchor="middle">{4:,}</text>'
        ).format(frame.x(size), base, base + 4, base + 16, size)
        for size in sizes
    ]
    return Markup(
        '<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>{}<text class="name" x="{}" y="{}">{}</text>'
    ).format(
        _LEFT,
        WIDTH - _RIGHT,
        base,
        base,
        Markup("").join(texts),
        (_LEFT + WIDTH - _RIGHT) / 2,
        HEIGHT - 5,
        f"structures with {labels}, N (validation among them)",
    )


def _value_axis(
    marks: Sequence[tuple[float, str]],
    frame: _Frame,
    ends: tuple[float, float] = (_LEFT, WIDTH - _RIGHT),
    strong: float | None = None,
) -> Markup:
    return Markup("").join(
        Markup(
            '<line class="{0}" x1="{1}" x2="{2}" y1="{3:.1f}" y2="{3:.1f}"/>'
            '<text x="{4}" y="{5:.1f}" text-anchor="end">{6}</text>'
        ).format(
            "axis" if value == strong else "grid",
            *ends,
            frame.y(value),
            ends[0] - 5,
            frame.y(value) + 3.5,
            text,
        )
        for value, text in marks
    )


def _percent_axis(low: float, high: float, frame: _Frame) -> Markup:
    return _value_axis([(tick, number(tick)) for tick in ticks(low, high)], frame, strong=0.0)


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten inside the range; where these are fewer than three, round values between."""
    powers = range(math.floor(_logarithm(low)), math.ceil(_logarithm(high)) + 1)
    found = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return found if len(found) > 2 else ticks(low, high)


def _whisker(look: Look, x: float, ends: tuple[float, float, float], frame: _Frame) -> Markup:
    middle, low, high = (frame.y(end) for end in ends)
    return Markup('<line class="whisker" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>{3}').format(
        x, low, high, mark(look, x, middle, 3.4)
    )


def _titled(drawn: Markup, words: str) -> Markup:
    return Markup("<g>{}<title>{}</title></g>").format(drawn, words)


def _in_words(made: Comparison, unit: str) -> str:
    text = f"{made.mode}, N = {made.size:,}"
    if unit:
        text += f": {error_text(made.mae)} {unit} (seeds {error_text(made.mae_low)} to {error_text(made.mae_high)})"
    if made.reduction is not None:
        text += f": {percent(made.reduction.value)} % below the baseline"
        if made.reduction.low is not None and made.reduction.high is not None:
            text += f" ({percent(made.reduction.low)} to {percent(made.reduction.high)})"
    return text


def _chart(name: str, label: str, inside: Markup) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}"><text class="name start" x="4" y="11">{}</text>{}</svg>'
    ).format(WIDTH, HEIGHT, label, name, inside)
