"""Options that several verbs share, and the keys of a job that they set."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.labeling.job import Job

Inputs = Annotated[
    list[str], typer.Argument(help="Files, folders, globs or datasets; or one job.yaml.", show_default=False)
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Output folder.", show_default=False)]
Folder = Annotated[Path, typer.Argument(help="Output folder of a job.", show_default=False)]
Charge = Annotated[int | None, typer.Option(help="Total charge where the file gives none.", show_default="0")]
ChargeKey = Annotated[str | None, typer.Option(help="Field that holds the total charge.", show_default="charge, …")]
Multiplicity = Annotated[str | None, typer.Option(help="2S+1 where the file gives none.", show_default="lowest")]
SpinKey = Annotated[
    str | None,
    typer.Option(
        help="Field that holds the multiplicity; KEY:2S if it counts unpaired electrons.",
        show_default="spin_multiplicity, …",
    ),
]
Reference = Annotated[
    list[str] | None,
    typer.Option(
        help="Keep a label of the input: NAME=FIELD:KIND:UNIT:LEVEL_OF_THEORY, as pbe0_energy=energy:energy:eV:PBE0. May be repeated.",
        show_default=False,
    ),
]
IgnorePbc = Annotated[
    bool, typer.Option("--ignore-pbc", help="Drop the cell of periodic structures (molecules in a box).")
]
Format = Annotated[str | None, typer.Option(help="Of the shards: zarr or h5.", show_default="zarr")]
Accuracy = Annotated[float | None, typer.Option(help="tblite's accuracy; smaller is tighter.", show_default="1.0")]
Temperature = Annotated[float | None, typer.Option(help="Of the electrons, in K.", show_default="300")]
Workers = Annotated[int | None, typer.Option(help="Processes.", show_default="one a core")]
TimeLimit = Annotated[float | None, typer.Option(help="Seconds that any structure may take.", show_default="60")]
MemoryLimit = Annotated[
    str | None, typer.Option(help="Address space of each process, as 8GB.", show_default="memory / workers")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any structure failed.")]

_READING = {
    "charge": "charge.default",
    "charge_key": "charge.key",
    "multiplicity": "spin.default",
    "spin_key": "spin.key",
    "reference": "reference",
    "ignore_pbc": "ignore_pbc",
}
_LABELER = {"accuracy": "labeler.accuracy", "electronic_temperature": "labeler.electronic_temperature"}
_RUNNING = {"workers": "workers", "time_limit": "limits.seconds", "memory_limit": "limits.memory"}
"""The only ones that may change from one run of a job to the next."""
_JOB_KEYS = {**_READING, **_LABELER, **_RUNNING, "format": "format", "output": "output"}
"""Parameter of a verb to key of a job."""


def make_job_of(inputs: list[str], parameters: Mapping[str, Any]) -> tuple["Job", Path]:
    """Make a job of the command line, or of the YAML that it names with the command line on top.

    Parameters
    ----------
    inputs
        What to label.
    parameters
        All parameters of the verb.

    Returns
    -------
    Job, Path
        The job, and the folder that its relative paths count from.

    Raises
    ------
    InputError
        If the job cannot be run as it is described.
    """
    from mlipq.labeling.job import load_job, make_job

    content = _content(parameters)
    names = {key: _option(parameter) for parameter, key in _JOB_KEYS.items() if parameter in _given(parameters)}
    job_files = [path for path in inputs if path.endswith((".yaml", ".yml"))]
    if job_files and len(inputs) > 1:
        raise InputError(f"{job_files[0]}: a job file names its inputs itself; give it alone:  mlipq label {job_files[0]}")
    if job_files:
        path = Path(job_files[0])
        if "output" in content:
            content["output"] = str(Path(content["output"]).absolute())
        return load_job(path, content, names), path.parent
    if "output" not in content:
        raise InputError("where to? Name an output folder:  mlipq label FILES -o out")
    return make_job({**content, "inputs": inputs}, "command line", names), Path()


def limits_of(folder: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of a job that was planned, which alone may be set anew.

    Raises
    ------
    InputError
        If a limit is out of range, or any other setting of the job was given.
    """
    from mlipq.labeling.job import Limits, make_job

    fixed = [name for name in _given(parameters) if name in _JOB_KEYS and name not in _RUNNING]
    if fixed:
        raise InputError(
            f"{folder} is planned already, and goes on as its plan.json says; leave out {', '.join(map(_option, fixed))}, "
            "or name the inputs and another output folder with -o"
        )
    names = {key: _option(parameter) for parameter, key in _RUNNING.items()}
    job = make_job({"inputs": ["planned"], "output": str(folder), **_content(parameters)}, "command line", names)
    return job.limits.model_dump(include=set(Limits.model_fields))


def _given(parameters: Mapping[str, Any]) -> list[str]:
    return [name for name, value in parameters.items() if value not in (None, False, [], ())]
