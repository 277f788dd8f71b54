"""The verb ``doctor``: is this machine ready to label?"""

import os
import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import typer

from mlipq.cli.options import examples
from mlipq.cli.output import JSON_OPTION, print_json, print_table

if TYPE_CHECKING:
    from mlipq.labeling.child import LabelingChild


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    epilog = examples("mlipq doctor", "MLIPQ_BLAS=stock mlipq doctor")
    app.command(epilog=epilog, short_help="Is this machine ready to label, and how fast is it?")(doctor)


def doctor(as_json: bool = JSON_OPTION) -> None:
    """Check this machine: which BLAS, how fast, does a reference molecule come out right? Exit code 1 if not."""
    import mlipq
    from mlipq import resources
    from mlipq.labeling.child import ChildStartError
    from mlipq.labeling.runner import core_count

    rows: dict[str, Any] = {
        "mlipq": mlipq.__version__,
        "tblite": version("tblite"),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "cores": core_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "samples": str(resources.samples()),
        "job files": str(resources.pipelines()),
    }
    try:
        rows |= _labeling()
        problem = ""
    except ChildStartError as error:
        problem = str(error)
    if as_json:
        print_json({**rows, "ready": not problem, "problem": problem})
    else:
        print_table(f"mlipq doctor: {f'not ready: {problem}' if problem else 'ready to label'}", rows)
        print(f"Try it:  mlipq label {resources.samples()} -o demo")
    if problem:
        raise typer.Exit(1)


def _labeling() -> dict[str, Any]:
    """Start labeling children, with the BLAS that would be used and with the stock one, and time both."""
    from mlipq.labeling.child import LabelingChild
    from mlipq.labeling.job import Limits
    from mlipq.xtb import Gfn1

    child = LabelingChild(Gfn1(), Limits())
    stock_child = LabelingChild(Gfn1(), Limits(), {"MLIPQ_BLAS": "stock"})
    greeting = child.start()
    seconds, stock_seconds = _seconds(child), _seconds(stock_child)
    for each in (child, stock_child):
        each.close()
    return {
        "BLAS": f"{greeting['blas']} {greeting['blas_path']}".strip(),
        "warning": greeting["warning"],
        "reference molecule": f"thiophene {greeting['energy']:.9f} eV, right; {1e3 * greeting['seconds']:.1f} ms",
        "speed": f"C60 in {1e3 * seconds:.0f} ms; with tblite's stock BLAS {1e3 * stock_seconds:.0f} ms, "
        f"{stock_seconds / seconds:.1f} times as long",
    }


def _seconds(child: "LabelingChild") -> float:
    """Time a single point of C60, about the size where the BLAS decides the speed; best of three."""
    from ase.build import molecule

    from mlipq.structures import ReadOptions, Structure, from_atoms

    fullerene = from_atoms(molecule("C60"), ReadOptions())
    assert isinstance(fullerene, Structure)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        child.label(fullerene)
        times.append(time.perf_counter() - started)
    return min(times)
