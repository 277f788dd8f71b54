"""The contestants: how each is run on a file of structures, and how its energies are read back."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mlipq

ROOT = Path(__file__).parents[2]
"""Of the project: ``python -m benchmarks…`` works from here."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

Energies = list[float | None]


class ContestantError(SystemExit):
    """A contestant ended with an error; the benchmark ends with its message."""


@dataclass(frozen=True)
class Contestant:
    """Something that labels structures.

    Parameters
    ----------
    name
        Key of its row in the results.
    what
        One line for the reader.
    command
        Makes its command line from the input file, the output path and the number of workers.
    read
        Reads its energies in eV, in the order of the input, ``None`` where a structure failed.
    environment
        Variables beside :data:`ONE_THREAD`.
    """

    name: str
    what: str
    command: Callable[[Path, Path, int], list[str]]
    read: Callable[[Path, int], Energies]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, structures: Path, out: Path, workers: int) -> float:
        """Run it in fresh processes; return the seconds from its start to its end.

        Raises
        ------
        ContestantError
            If it ends with an error.
        """
        command = self.command(structures, out, workers)
        environment = {**os.environ, **ONE_THREAD, **self.environment}
        started = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise ContestantError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
        return seconds


def _script(name: str, *options: str, python: str = sys.executable) -> Callable[[Path, Path, int], list[str]]:
    def command(structures: Path, out: Path, workers: int) -> list[str]:
        module = f"benchmarks.labeling.contestants.{name}"
        return [python, "-m", module, str(structures), str(out), "--workers", str(workers), *options]

    return command


def _read_json(out: Path, count: int) -> Energies:
    energies: Energies = json.loads(out.read_text())["energies"]
    assert len(energies) == count
    return energies


def _mlipq_label(structures: Path, out: Path, workers: int) -> list[str]:
    program = Path(sysconfig.get_path("scripts")) / "mlipq"
    return [str(program), "label", str(structures), "-o", str(out), "--workers", str(workers)]


def _read_dataset(out: Path, count: int) -> Energies:
    dataset = mlipq.open_dataset(out)
    energies: Energies = [None] * count
    for index, energy in zip(dataset["source_index"][:], dataset["gfn1/energy"][:], strict=True):
        energies[index] = float(energy)
    return energies


MLIPQ = Contestant("mlipq", "mlipq label FILE -o OUT: all labels, to disk as zarr", _mlipq_label, _read_dataset)
POOL_STOCK = Contestant(
    "ase_pool_stock",
    "ASE's tblite calculator in a multiprocessing pool, tblite as pip installs it",
    _script("ase_pool"),
    _read_json,
)
POOL_FAST = Contestant(
    "ase_pool_fast",
    "the same, with the BLAS that mlipq loads",
    _script("ase_pool", "--blas", "fast"),
    _read_json,
)
BARE = Contestant(
    "bare_loops",
    "bare tblite loops with the BLAS that mlipq loads, nothing written",
    _script("bare_loops"),
    _read_json,
)
XTB = Contestant(
    "xtb",
    "the xtb program, one process a structure",
    _script("xtb_program"),
    _read_json,
    {"OMP_STACKSIZE": "1G"},
)


def dxtb(python: str) -> Contestant:
    """dxtb, run by the Python of its own environment."""
    return Contestant(
        "dxtb",
        "dxtb with libcint in a pool of processes, forces by autograd",
        _script("dxtb_pool", python=python),
        _read_json,
    )


def contestants(dxtb_python: str) -> tuple[list[Contestant], dict[str, str]]:
    """Return all contestants that are here, and why others are not, by name."""
    here, absent = [MLIPQ, POOL_STOCK, POOL_FAST, BARE], {}
    if shutil.which("xtb"):
        here.append(XTB)
    else:
        absent["xtb"] = "not on PATH (Debian: apt-get install xtb)"
    if shutil.which(dxtb_python):
        here.append(dxtb(dxtb_python))
    else:
        absent["dxtb"] = "no environment for it: --dxtb-python, or make bench-labeling"
    return here, absent


def software(names: list[str], dxtb_python: str) -> dict[str, str]:
    """Return the versions of the peers that do not live in this environment."""
    found = {}
    if "xtb" in names:
        output = subprocess.run(["xtb", "--version"], capture_output=True, text=True).stdout
        version = re.search(r"xtb version (\S+)", output)
        found["xtb"] = version[1] if version else "unknown"
    if "dxtb" in names:
        packages = ("dxtb", "torch", "tad-libcint")
        program = f"from importlib.metadata import version; print(*map(version, {packages}))"
        output = subprocess.run([dxtb_python, "-c", program], capture_output=True, text=True, check=True).stdout
        found |= dict(zip(packages, output.split(), strict=True))
    return found
