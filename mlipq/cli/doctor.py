"""The verb ``doctor``: is this machine, or a cluster, ready to label?"""

import os
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlipq.cli.options import Cluster, Output, Scheduler, cluster_of, examples
from mlipq.cli.output import JSON_OPTION, print_json, print_table
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.labeling.child import LabelingChild
    from mlipq.labeling.clusters import Profile

LOGS = "mlipq-doctor-logs"
"""Where jobs of a queue leave theirs."""


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    epilog = examples(
        "mlipq doctor", "MLIPQ_BLAS=stock mlipq doctor", "mlipq doctor --cluster slurm.yaml -o /shared/work"
    )
    app.command(epilog=epilog, short_help="Is this machine ready to label, and how fast is it?")(doctor)


def doctor(
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    output: Output = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Check this machine: which BLAS, how fast, does a reference molecule come out right? Exit code 1 if not.

    With --cluster or --scheduler, check a cluster from its workers' seats: is the folder really shared, are versions equal, is scratch
    writable, do clocks agree, does the reference molecule come out right there?
    """
    place = cluster_of(cluster, scheduler)
    if place is None:
        if output is not None:
            raise InputError(
                "-o is the folder that a cluster's workers share; name the cluster by --cluster or --scheduler"
            )
        _this_machine(as_json)
    else:
        _cluster(place, output or Path(), as_json)


def _cluster(place: "Profile", folder: Path, as_json: bool) -> None:
    from mlipq.labeling.clusters import open_cluster
    from mlipq.labeling.clusters.examination import examine_cluster

    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; name with -o one that all workers share")
    with open_cluster(place, folder.resolve() / LOGS) as opened:
        found = examine_cluster(opened, folder)
    wrong = {worker: [f.check for f in findings if not f.right] for worker, findings in found.items()}
    wrong = {worker: checks for worker, checks in wrong.items() if checks}
    if as_json:
        print_json({"ready": not wrong, "workers": {worker: list(map(asdict, all_)) for worker, all_ in found.items()}})
    else:
        for worker, findings in found.items():
            verdict = f"not ready: {', '.join(wrong[worker])}" if worker in wrong else "ready to label"
            print_table(f"{worker}: {verdict}", {finding.check: finding.said for finding in findings})
    if wrong:
        raise typer.Exit(1)


def _this_machine(as_json: bool) -> None:
    import mlipq
    from mlipq import resources
    from mlipq.labeling.child import ChildStartError
    from mlipq.labeling.clusters.local import core_count

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
