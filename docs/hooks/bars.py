"""Horizontal bars with whiskers as inline SVG; colours and fonts are the page's, so it is at home in light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW = 46
"""Height of one contestant, in px: a line of text above its bar."""
THICK = 14


@dataclass(frozen=True)
class Bar:
    """One contestant.

    Parameters
    ----------
    name
        Who.
    value, least, most
        Length of the bar, and ends of its whisker.
    text
        The value as it is written.
    """

    name: str
    value: float
    least: float
    most: float
    text: str


def chart(title: str, bars: Sequence[Bar]) -> str:
    """Return a figure with one bar below the other; widths are percentages, so that it fits a phone as it does a screen."""
    widest = max(bar.most for bar in bars) or 1.0
    rows = "".join(_row(bar, ROW * number, 100 / widest) for number, bar in enumerate(bars))
    words = "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    return (
        f'<figure class="bars"><figcaption>{escape(title)}</figcaption>'
        f'<svg role="img" aria-label="{escape(f"{title}: {words}")}" width="100%" height="{ROW * len(bars)}">'
        f"{rows}</svg></figure>"
    )


def _row(bar: Bar, top: int, scale: float) -> str:
    middle = top + 22 + THICK / 2
    least, most = (f"{scale * end:.2f}%" for end in (bar.least, bar.most))
    own = ' class="own"' if bar.name.startswith("mlipq") else ""
    whisker = (
        f'<line x1="{least}" x2="{most}" y1="{middle}" y2="{middle}"/>'
        + "".join(f'<line x1="{x}" x2="{x}" y1="{middle - 4}" y2="{middle + 4}"/>' for x in (least, most))
        if bar.most > bar.least
        else ""
    )
    return (
        f"<g{own}>"
        f'<text x="0" y="{top + 15}">{escape(bar.name)}</text>'
        f'<text x="100%" y="{top + 15}" text-anchor="end">{escape(bar.text)}</text>'
        f'<rect x="0" y="{top + 22}" width="{scale * bar.value:.2f}%" height="{THICK}" rx="2"/>'
        f"{whisker}</g>"
    )
