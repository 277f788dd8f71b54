"""Charts as SVG, drawn here rather than in the browser: they need no script, scale with the page and take its colours.

Every text goes through :class:`markupsafe.Markup`'s ``format``, which escapes it.
"""

import math

import numpy as np
from markupsafe import Markup

from mlipq.hub.inspect.histogram import Bars, Histogram
from mlipq.hub.inspect.texts import number

WIDTH, HEIGHT = 400, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 16, 34
MOST_BARS = 64


def histogram_chart(values: Histogram, axis: str, logarithmic: bool = False) -> Markup:
    """Draw a histogram; what lies outside it, :func:`outside` says.

    Parameters
    ----------
    values
        At least one.
    axis
        Name and unit of the values.
    logarithmic
        The values are decadic logarithms of what the axis shows.
    """
    bars = _shown(values)
    highest = max(int(bars.heights.max()), 1)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="Histogram of {}: {}">'
        '<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="count" x="{}" y="11">{:,} in the highest bar</text>'
        '<g class="bars">{}</g>{}<text class="name" x="{}" y="{}">{}</text></svg>'
    ).format(
        WIDTH,
        HEIGHT,
        axis,
        in_words(values, logarithmic),
        _LEFT,
        WIDTH - _RIGHT,
        HEIGHT - _BOTTOM,
        HEIGHT - _BOTTOM,
        _LEFT,
        highest,
        _rectangles(bars, highest, logarithmic),
        _axis(bars, logarithmic),
        WIDTH / 2,
        HEIGHT - 3,
        axis,
    )


def outside(values: Histogram) -> str:
    """Say how many values a chart leaves out."""
    bars = _shown(values)
    left_out = bars.below + bars.above
    return f" {left_out:,} of {values.total:,} lie outside the chart." if left_out else ""


def strip(values: Histogram, low: float, high: float, shell: str) -> Markup:
    """Draw a distribution as a mirrored shape over a common axis, with its median and its ends."""
    bars = values.bars(low, high, MOST_BARS)
    highest = max(int(bars.heights.max()), 1)
    centres = bars.start + (np.arange(len(bars.heights)) + 0.5) * bars.width
    half = 9 * np.sqrt(bars.heights / highest)
    filled = np.flatnonzero(bars.heights)
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
    x = [_across(centre, low, high) for centre in centres[first:last].tolist()]
    upper = [f"{a:.1f},{10 - h:.1f}" for a, h in zip(x, half[first:last].tolist(), strict=True)]
    lower = [f"{a:.1f},{10 + h:.1f}" for a, h in zip(x, half[first:last].tolist(), strict=True)]
    return Markup(
        '<svg class="strip shell-{}" viewBox="0 0 200 20" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="zero" x1="{:.1f}" x2="{:.1f}" y1="0" y2="20"/><line class="reach" x1="{:.1f}" x2="{:.1f}" y1="10" y2="10"/>'
        '<polygon points="{}"/><line class="median" x1="{:.1f}" x2="{:.1f}" y1="2" y2="18"/></svg>'
    ).format(
        shell.strip() or "all",
        _across(0.0, low, high),
        _across(0.0, low, high),
        _across(values.minimum, low, high),
        _across(values.maximum, low, high),
        " ".join(upper + lower[::-1]),
        *[_across(values.quantile(0.5), low, high)] * 2,
    )


def _across(value: float, low: float, high: float) -> float:
    return 200 * min(max((value - low) / (high - low), 0.0), 1.0)


def _shown(values: Histogram) -> Bars:
    """The bars of nine in ten values, and of as much on either side: a few that lie far away do not flatten the rest."""
    low, high = values.quantile(0.05), values.quantile(0.95)
    reach = high - low
    return values.bars(max(values.minimum, low - reach), min(values.maximum, high + reach), MOST_BARS)


def _rectangles(bars: Bars, highest: int, logarithmic: bool) -> Markup:
    wide, tall = (WIDTH - _LEFT - _RIGHT) / len(bars.heights), HEIGHT - _TOP - _BOTTOM
    rectangles = []
    for place in np.flatnonzero(bars.heights).tolist():
        count = int(bars.heights[place])
        height = max(count / highest * tall, 1.2)  # a bar of one among millions is still to be seen
        left = bars.start + place * bars.width
        rectangles.append(
            Markup('<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"><title>{}: {:,}</title></rect>').format(
                _LEFT + place * wide,
                HEIGHT - _BOTTOM - height,
                max(wide - 0.8, 0.6),
                height,
                _interval(left, left + bars.width, logarithmic),
                count,
            )
        )
    return Markup("").join(rectangles)


def _axis(bars: Bars, logarithmic: bool) -> Markup:
    texts = []
    for tick in ticks(bars.start, bars.stop, whole=logarithmic):
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (tick - bars.start) / (bars.stop - bars.start)
        anchor = "start" if x < _LEFT + 14 else "end" if x > WIDTH - _RIGHT - 14 else "middle"
        shown = number(10**tick) if logarithmic else number(tick)
        texts.append(
            Markup('<line class="tick" x1="{0:.2f}" x2="{0:.2f}" y1="{1}" y2="{2}"/>').format(
                x, HEIGHT - _BOTTOM, HEIGHT - _BOTTOM + 4
            )
            + Markup('<text x="{:.2f}" y="{}" text-anchor="{}">{}</text>').format(
                x, HEIGHT - _BOTTOM + 15, anchor, shown
            )
        )
    return Markup("").join(texts)


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return round values from ``low`` to ``high``, about five of them; whole numbers if asked for."""
    rough = (high - low) / 5
    if not (math.isfinite(rough) and rough > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    step = max(1.0, round(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _interval(low: float, high: float, logarithmic: bool) -> str:
    if logarithmic:
        low, high = 10**low, 10**high
    return f"{number(low)} to {number(high)}"


def in_words(values: Histogram, logarithmic: bool = False) -> str:
    """Say what a chart shows, for those who do not see it and those who want numbers."""

    def shown(value: float) -> str:
        return number(10**value) if logarithmic else number(value)

    low, middle, high = (values.quantile(share) for share in (0.05, 0.5, 0.95))
    return (
        f"median {shown(middle)}; nine in ten lie from {shown(low)} to {shown(high)}, "
        f"all from {shown(values.minimum)} to {shown(values.maximum)}"
    )
