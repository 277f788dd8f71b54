"""The validation curves of a run, as PNG: one panel a unit, one line a task, both axes logarithmic."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlipq.training.runs.metrics import Row, mean_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's: told apart by colour-blind readers too."""
_PANEL = (5.6, 4.2)  # inches
_ABREAST = 3


def draw_curves(rows: Sequence[Row], title: str, best_step: int | None = None) -> bytes:
    """Draw the validation errors of all tasks by step.

    Parameters
    ----------
    rows
        Of metrics.csv. Columns that are empty throughout are left out; an error of 0 has no place on a logarithmic axis.
    title
        Of the whole figure.
    best_step
        Where a dashed line stands.

    Returns
    -------
    bytes
        A PNG; empty where there is nothing to draw.
    """
    from matplotlib.figure import Figure

    panels = _panels(rows)
    if not panels:
        return b""
    abreast = min(_ABREAST, len(panels))
    down = -(-len(panels) // abreast)
    figure = Figure(figsize=(_PANEL[0] * abreast, _PANEL[1] * down), layout="constrained")
    grid: Any = figure.subplots(down, abreast, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (unit, tasks) in zip(grid.flat, panels.items()):
        _draw(axes, unit, tasks)
        if best_step is not None:
            axes.axvline(max(best_step, 1), color="0.5", linestyle="--", linewidth=1, label=f"best: step {best_step:,}")
        axes.legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def _panels(rows: Sequence[Row]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return the points of each task, step and error, by unit."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        for task, error, unit in mean_errors(row):
            if error:
                panels.setdefault(unit, {}).setdefault(task, []).append((max(row["step"] or 0.0, 1.0), error))
    return panels


def _draw(axes: "Axes", unit: str, tasks: dict[str, list[tuple[float, float]]]) -> None:
    for colour, (task, points) in zip(COLOURS * (1 + len(tasks) // len(COLOURS)), tasks.items()):
        steps, errors = zip(*points)
        axes.plot(steps, errors, color=colour, marker=".", markersize=4, linewidth=1.4, label=task.replace("_", " "))
    axes.set(xscale="log", yscale="log", xlabel="step", ylabel=f"mean absolute error on validation, {unit}")
    axes.grid(which="both", alpha=0.2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_plain)
        axis.set_minor_formatter(_between(axis))


def _plain(value: float, _: float | None = None) -> str:
    return f"{value:,.10g}"


def _between(axis: Any) -> Callable[[float, float], str]:
    """Number what lies between the powers of ten: all of it where the axis spans less than one, else 2 and 5, else nothing."""

    def text(value: float, position: float) -> str:
        low, high = axis.get_view_interval()
        shown = high < 5 * low or (high < 50 * low and f"{value:e}"[0] in "25")
        return _plain(value, position) if shown else ""

    return text
