"""How each mode is drawn, everywhere: one colour, one mark and one kind of line, so that colour alone never tells two apart.

A mode and the same with extra structures have one look: they are never in one figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from markupsafe import Markup

from mlipq.bench.modes import EXTRA


@dataclass(frozen=True)
class Look:
    """Colours on a light and on a dark ground (at least 4.5:1 against either), a mark, and the dashes of the line, empty for a solid one."""

    light: str
    dark: str
    mark: str
    dashes: str = ""

    @property
    def style(self) -> str:
        """As CSS; what is drawn takes ``currentcolor``."""
        return f"color:light-dark({self.light},{self.dark})"


_KNOWN = {
    "energy": Look("#16202a", "#e8edf2", "circle"),
    "charges": Look("#00766c", "#4fc3b5", "square"),
    "moments": Look("#3557b7", "#8fa8f5", "diamond"),
    "atomic-charges": Look("#8a6a00", "#dcb84a", "up"),
    "dft-charges": Look("#a23b72", "#ee8fbd", "down"),
    "gfn1": Look("#b04a00", "#ffb562", "circle", "6 3"),
    "composite": Look("#6a3fb0", "#b99df5", "square", "6 3"),
    "composite-forces": Look("#00739c", "#5cc6e8", "diamond", "6 3"),
    "composite-charges": Look("#2b7a2f", "#7ccf80", "up", "6 3"),
    "composite-moments": Look("#b3261e", "#ff9087", "down", "6 3"),
    "composite-shuffled": Look("#5f6b76", "#a3b0bc", "diamond", "2 3"),
    "all": Look("#c2185b", "#ff86b3", "diamond", "8 2 2 2"),
    "delta": Look("#75513f", "#cfa893", "up", "8 2 2 2"),
    "shuffled": Look("#5f6b76", "#a3b0bc", "square", "2 3"),
    "gaussian": Look("#7b6a50", "#bfae93", "circle", "2 3"),
    "pretrained": Look("#00739c", "#5cc6e8", "down", "8 2 2 2"),
    "pretrained-charges": Look("#2b7a2f", "#7ccf80", "square", "8 2 2 2"),
    "pretrained-moments": Look("#b3261e", "#ff9087", "circle", "8 2 2 2"),
    "pretrained-shuffled": Look("#5f6b76", "#a3b0bc", "up", "2 3"),
    "dipole": Look("#16202a", "#e8edf2", "circle"),
    "gfn1-dipole": Look("#b04a00", "#ffb562", "up", "6 3"),
    "invariant": Look("#16202a", "#e8edf2", "circle"),
    "equivariant": Look("#3557b7", "#8fa8f5", "square"),
}


def look_of(modes: Sequence[str]) -> Callable[[str], Look]:
    """Return the look of a suite's modes: the same in every report; of modes that this version does not know, by their order."""
    unknown = [mode for mode in dict.fromkeys(mode.removesuffix(EXTRA) for mode in modes) if mode not in _KNOWN]
    looks = _KNOWN | dict(zip(unknown, cycle(_KNOWN.values())))
    return lambda mode: looks[mode.removesuffix(EXTRA)]


def mark(look: Look, x: float, y: float, r: float = 4.0) -> Markup:
    """Draw a mark."""
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "up": [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        "down": [(0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
    }.get(look.mark)
    if corners is None:
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(x, y, r)
    points = " ".join(f"{x + r * a:.1f},{y + r * b:.1f}" for a, b in corners)
    return Markup('<polygon points="{}"/>').format(points)


def keyed(mode: str, look: Look) -> Markup:
    """Return the name of a mode behind its line and mark, as rows and legends have it; it may break before a plus sign."""
    name = Markup("<wbr>+").join(mode.split("+"))
    return Markup(
        '<svg class="key" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true" style="{}">'
        '<line class="curve" x1="1" x2="33" y1="7" y2="7" stroke-dasharray="{}"/>{}</svg>{}'
    ).format(look.style, look.dashes, mark(look, 17, 7), name)
