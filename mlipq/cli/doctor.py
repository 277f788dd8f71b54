"""The verb ``doctor``: is this machine ready to label?"""

import os
import platform
import time
from importlib.metadata import version
from typing import Any

import typer

from mlipq.cli.output import JSON_OPTION, print_json, print_table

TIMED_ATOMS = 62
"""About the median of tmQM, where the BLAS decides the speed."""


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(epilog="Example:  MLIPQ_BLAS=stock mlipq doctor")(doctor)


def doctor(as_json: bool = JSON_OPTION) -> None:
    """Check this machine: which BLAS, how fast, does a reference molecule come out right? Exit code 1 if not."""
    import mlipq
    from mlipq.labeling.child import ChildStartError
    from mlipq.labeling.runner import core_count

    rows: dict[str, Any] = {
        "mlipq": mlipq.__version__,
        "tblite": version("tblite"),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "cores": core_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
    }
    try:
        rows |= _labeling()
        problem = ""
    except ChildStartError as error:
        problem = str(error)
    verdict = f"not ready: {problem}" if problem else "ready to label"
    if as_json:
        print_json({**rows, "ready": not problem, "problem": problem})
    else:
        print_table(f"mlipq doctor: {verdict}", rows)
    if problem:
        raise typer.Exit(1)


def _labeling() -> dict[str, Any]:
    """Start labeling children, with the BLAS that would be used and with the stock one, and time both."""
    from mlipq.labeling.child import LabelingChild
    from mlipq.labeling.job import Limits
    from mlipq.xtb import Gfn1

    child = LabelingChild(Gfn1(), Limits())
    greeting = child.start()
    seconds = _seconds(child)
    child.close()
    stock = LabelingChild(Gfn1(), Limits(), {"MLIPQ_BLAS": "stock"})
    stock_seconds = _seconds(stock)
    stock.close()
    return {
        "BLAS": f"{greeting['blas']} {greeting['blas_path']}".strip(),
        "warning": greeting["warning"],
        "reference molecule": f"thiophene {greeting['energy']:.9f} eV, right; {1e3 * greeting['seconds']:.1f} ms",
        f"{TIMED_ATOMS} atoms": f"{1e3 * seconds:.0f} ms a single point; tblite's stock BLAS {1e3 * stock_seconds:.0f} ms",
        "proof of speed": f"{stock_seconds / seconds:.1f} times the stock BLAS",
    }


def _seconds(child: Any) -> float:
    """Time one single point of an alkane of :data:`TIMED_ATOMS` atoms, best of three."""
    from mlipq.structures.structure import Structure

    structure = _alkane((TIMED_ATOMS - 2) // 3)
    assert isinstance(structure, Structure)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        child.label(structure)
        times.append(time.perf_counter() - started)
    return min(times)


def _alkane(carbons: int) -> Any:
    """Make a zigzag alkane with tetrahedral angles, C–C 1.53 Å and C–H 1.09 Å."""
    import numpy as np

    from mlipq.structures.structure import Structure, rounded

    rise, run = 1.53 * np.cos(np.arccos(-1 / 3) / 2), 1.53 * np.sin(np.arccos(-1 / 3) / 2)
    chain = np.array([[i * run, (i % 2) * rise, 0.0] for i in range(-1, carbons + 1)])
    atoms = [(6, chain[i]) for i in range(1, carbons + 1)]
    ends = ((1, 0), (carbons, carbons + 1))
    atoms += [(1, chain[inner] + (chain[outer] - chain[inner]) * 1.09 / 1.53) for inner, outer in ends]
    for i in range(1, carbons + 1):
        away = -np.sign(chain[i - 1][1] - chain[i][1])
        for side in (1, -1):
            atoms.append((1, chain[i] + 1.09 * np.array([0.0, away * 0.5774, side * 0.8165])))
    numbers = np.array([z for z, _ in atoms], dtype=np.uint8)
    return Structure(numbers, rounded(np.array([position for _, position in atoms])), 0, 1)
