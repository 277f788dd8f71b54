"""Complexes in the plane of two principal components, a panel an encoder, coloured by what their metals are: SVG in HTML."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mlipq.bench.latent.periodic import GROUP, PERIOD
from mlipq.bench.latent.results import EncoderRecord, Metals

_PANEL, _MARGIN = 340, 10  # in units of the viewBox

_VIRIDIS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (222, 213, 46)])
"""Told apart by colour-blind readers, and ordered; its end is darker than the original's, to be seen on white."""
_PERIODS = {4: "#0072b2", 5: "#e69f00", 6: "#cc79a7"}
"""Okabe and Ito's."""


@dataclass(frozen=True)
class Colouring:
    """What points are coloured by.

    Attributes
    ----------
    title
        For the figure.
    classes
        Label and colour of each class, in order.
    class_of
        From symbol of the metal and its d electrons to the place in ``classes``.
    """

    title: str
    classes: Sequence[tuple[str, str]]
    class_of: Callable[[str, float], int]


def _shade(share: float) -> str:
    channels = [np.interp(share, np.linspace(0, 1, len(_VIRIDIS)), column) for column in _VIRIDIS.T]
    return "#" + "".join(f"{round(channel):02x}" for channel in channels)


COLOURINGS: Mapping[str, Colouring] = {
    "group": Colouring(
        "group of the metal",
        [(str(group), _shade((group - 3) / 9)) for group in range(3, 13)],
        lambda metal, _: GROUP[atomic_numbers[metal]] - 3,
    ),
    "period": Colouring(
        "period of the metal",
        [(str(period), colour) for period, colour in _PERIODS.items()],
        lambda metal, _: PERIOD[atomic_numbers[metal]] - 4,
    ),
    "d_electrons": Colouring(
        "electrons in its d shell, by GFN1-xTB",
        [(str(count), _shade(count / 10)) for count in range(11)],
        lambda _, count: min(max(round(count), 0), 10),
    ),
}
"""By the name of the figure."""


def figures(metals: Metals) -> dict[str, str]:
    """Draw the complexes as each encoder sees them.

    Parameters
    ----------
    metals
        As read from ``metals.json``.

    Returns
    -------
    dict[str, str]
        By colouring, HTML: panels side by side, as many as there is room for, and a legend. The style of the report has what makes it
        look well; panels are white on a dark page too, since the colours are for white.
    """
    return {name: _figure(metals, colouring) for name, colouring in COLOURINGS.items()}


def _figure(metals: Metals, colouring: Colouring) -> str:
    classes = [colouring.class_of(metal, count) for metal, count in zip(metals.metals, metals.d_electrons, strict=True)]
    panels = "".join(_panel(encoder, metals.metals, classes, colouring) for encoder in metals.encoders)
    legend = "".join(
        f'<li><svg class="dot" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" style="color:{colour}">'
        f'<circle cx="6" cy="6" r="6"/></svg>{label}</li>'
        for label, colour in colouring.classes
    )
    return f'<div class="metals"><div class="panels">{panels}</div><ul class="legend">{legend}</ul></div>'


def _panel(encoder: EncoderRecord, metals: Sequence[str], classes: Sequence[int], colouring: Colouring) -> str:
    points = _scaled(np.array(encoder.points))
    strokes = []
    for place, (_, colour) in enumerate(colouring.classes):
        own = points[[of_point == place for of_point in classes]]
        if len(own):  # lines of no length with round ends: the shortest way to write dots
            dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in own)
            strokes.append(f'<path d="{dots}" stroke="{colour}"/>')
    middles = {metal: np.median(points[[own == metal for own in metals]], axis=0) for metal in sorted(set(metals))}
    symbols = "".join(f'<text x="{x:.0f}" y="{y:.0f}">{symbol}</text>' for symbol, (x, y) in middles.items())
    first, second = (f"{100 * share:.0f} %" for share in encoder.explained)
    name, title = escape(encoder.name), escape(colouring.title)
    return (
        f"<figure><figcaption>{name} <small>{first} + {second} of the variance</small></figcaption>"
        f'<svg class="plane" viewBox="0 0 {_PANEL} {_PANEL}" role="img" '
        f'aria-label="Complexes by two principal components of the features of {name}; colour: {title}">'
        f"{''.join(strokes)}{symbols}</svg></figure>"
    )


def _scaled(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points that fill a panel, one unit as long in both directions, the second axis upwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    inside = _PANEL - 2 * _MARGIN
    scale = inside / max(float((high - low).max()), 1e-9)
    return np.asarray(_PANEL / 2 + (points - (low + high) / 2) * scale * np.array([1, -1]))
