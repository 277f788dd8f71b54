"""The curves are a PNG whose lines hold what metrics.csv holds."""

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from mlipq.training.runs.curves import draw_curves

ROWS = [
    {
        "step": step,
        "energy_mae_meV": 9000 / step,
        "gfn1_energy_mae_meV": 4000 / step,
        "forces_mae_meV/Å": 800 / step**0.5,
        "dipole_mae_e·Å": None,
        "seconds": step,
    }
    for step in (10, 100, 1000)
]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, as matplotlib has them."""
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *given, **named: (drawn.append(self), save(self, *given, **named))
    )
    return drawn


def test_a_panel_a_unit_and_a_line_a_task(figures):
    draw_curves(ROWS, "runs/qm7", best_step=100)
    panels = [axes for axes in figures[0].axes if axes.lines]
    assert [axes.get_ylabel() for axes in panels] == [
        f"mean absolute error on validation, {unit}" for unit in ("meV", "meV/Å")
    ]
    assert {(axes.get_xscale(), axes.get_yscale(), axes.get_xlabel()) for axes in panels} == {("log", "log", "step")}
    energy, gfn1, best = panels[0].lines
    assert energy.get_xydata() == pytest.approx(np.array([[10, 900], [100, 90], [1000, 9]]))
    assert gfn1.get_ydata() == pytest.approx([400, 40, 4])
    assert best.get_xdata() == pytest.approx([100, 100])
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == [
        "energy",
        "gfn1 energy",
        "best: step 100",
    ]
    assert figures[0].get_suptitle() == "runs/qm7"


@pytest.mark.parametrize("last", [901.0, 950.0, 4000.0, 1e6], ids=["flat", "narrow", "wide", "decades"])
def test_every_axis_has_numbers(figures, last):
    draw_curves([{"step": 10, "energy_mae_meV": 900.0}, {"step": 20, "energy_mae_meV": last}], "runs/qm7")
    figures[0].draw_without_rendering()
    (axes,) = figures[0].axes
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        numbers = [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high]
        assert len([text for text in numbers if text]) >= 2


def test_the_bytes_are_an_image():
    image = matplotlib.image.imread(io.BytesIO(draw_curves(ROWS, "runs/qm7")))
    assert image.shape[0] > 300
    assert image.shape[1] > 2 * 300
    assert len(np.unique(image[..., 0])) > 10


@pytest.mark.parametrize("rows", [[], [{"step": 10, "energy_mae_meV": None}], [{"step": 10, "energy_mae_meV": 0.0}]])
def test_nothing_to_draw(rows):
    assert draw_curves(rows, "runs/qm7") == b""
