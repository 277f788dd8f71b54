"""Options that several verbs share, and the keys of a job that they set."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.labeling.clusters import Profile
    from mlipq.labeling.job import Job, Limits


def option(text: str, *names: str, metavar: str | None = None) -> Any:
    """Make an option whose default stands in its help text."""
    return typer.Option(*names, help=text, metavar=metavar, show_default=False)


def argument(text: str, metavar: str) -> Any:
    """Make an argument."""
    return typer.Argument(help=text, metavar=metavar, show_default=False)


Inputs = Annotated[list[str], argument("Files, folders, globs or datasets; or one job.yaml.", "INPUT")]
Output = Annotated[Path | None, option("Output folder.", "--output", "-o", metavar="FOLDER")]
Folder = Annotated[Path, argument("Output folder of a job.", "FOLDER")]
Charge = Annotated[int | None, option("Total charge where the file gives none; default 0.")]
ChargeKey = Annotated[str | None, option("Field that holds the total charge; default charge, total_charge, …")]
Multiplicity = Annotated[
    str | None, option("2S+1 where the file gives none, or lowest; default lowest.", metavar="<int>|lowest")
]
SpinKey = Annotated[
    str | None,
    option(
        "Field that holds the multiplicity, KEY:2S if it counts unpaired electrons; default spin_multiplicity, …",
        metavar="KEY[:2S]",
    ),
]
Reference = Annotated[
    list[str] | None,
    option(
        "Keep a label of the input, as pbe0_energy=energy:energy:eV:PBE0; may be repeated.",
        metavar="NAME=FIELD:KIND:UNIT:LEVEL_OF_THEORY",
    ),
]
IgnorePbc = Annotated[bool, option("Drop the cell of periodic structures (molecules in a box).", "--ignore-pbc")]
Format = Annotated[str | None, option("Of the shards; default zarr.", "--format", metavar="zarr|h5")]
Labeler = Annotated[str | None, option("Method: GFN1-xTB, or PBE/def2-SVP by PySCF; default gfn1.", metavar="gfn1|pbe")]
Accuracy = Annotated[float | None, option("tblite's accuracy, smaller is tighter; default 1.0.")]
Temperature = Annotated[float | None, option("In K; default 300.")]
Cluster = Annotated[
    str | None,
    option(
        "Where to run: a cluster profile, as slurm.yaml; default this machine, or as the job says.", metavar="PROFILE"
    ),
]
Scheduler = Annotated[str | None, option("A Dask scheduler that runs already, as tls://host:8786.", metavar="ADDRESS")]
Workers = Annotated[int | None, option("Processes; default one a core.")]
TimeLimit = Annotated[
    float | None, option("Seconds that any structure may take; default by its size, at least 60.", metavar="<seconds>")
]
CostFactor = Annotated[
    float | None, option("Times its predicted cost that a structure may take; default 30.", metavar="<number>")
]
MemoryLimit = Annotated[
    str | None,
    option("Address space of each process, as 8GB; default the memory over the cores.", metavar="<size>"),
]
Model = Annotated[Path, argument("Folder of a run, or .mlipq file.", "RUN|FILE.mlipq")]
Weights = Annotated[str | None, option("Of a run: best, last or ema; default best.", metavar="best|last|ema")]
Strict = Annotated[bool, option("Exit with 1 if any structure failed.", "--strict")]


def examples(*commands: str) -> str:
    """Make the end of a verb's help; backspace keeps its lines as they are."""
    return "\b\n" + "\n".join(["Examples:" if len(commands) > 1 else "Example:", *(f"  {text}" for text in commands)])


_JOB_KEYS = {
    "output": "output",
    "charge": "charge.default",
    "charge_key": "charge.key",
    "multiplicity": "spin.default",
    "spin_key": "spin.key",
    "reference": "reference",
    "ignore_pbc": "ignore_pbc",
    "shard_format": "format",
    "labeler": "labeler.name",
    "accuracy": "labeler.accuracy",
    "electronic_temperature": "labeler.electronic_temperature",
    "workers": "workers",
    "time_limit": "limits.seconds",
    "cost_factor": "limits.cost_factor",
    "memory_limit": "limits.memory",
}
"""Parameter of a verb to the key of a job that it sets."""
_RUNNING = {"workers", "time_limit", "cost_factor", "memory_limit"}
"""What may change from one run of a job to the next: the dataset does not depend on it."""


def is_planned(inputs: list[str], output: Path | None) -> bool:
    """True where the one input is the output folder of a job, to go on with."""
    return len(inputs) == 1 and output is None and (Path(inputs[0]) / "plan.json").exists()


def job_of(inputs: list[str], parameters: Mapping[str, Any]) -> tuple["Job", Path]:
    """Make a job of the command line, or of the YAML that it names with the command line on top.

    Parameters
    ----------
    inputs
        What to label.
    parameters
        All parameters of the verb, by name.

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

    content, names = _content(parameters), _names(parameters)
    files = [Path(path) for path in inputs if path.endswith((".yaml", ".yml"))]
    if files and len(inputs) > 1:
        raise InputError(f"{files[0]}: a job file names its inputs itself; give it alone:  mlipq label {files[0]}")
    if files:
        if "output" in content:
            content["output"] = str(Path(content["output"]).absolute())
        return load_job(files[0], content, names), files[0].parent
    if "output" not in content:
        raise InputError("where to? Name an output folder:  mlipq label FILES -o out")
    return make_job({**content, "inputs": inputs}, "command line", names), Path()


def cluster_of(cluster: str | None, scheduler: str | None) -> "Profile | None":
    """Return the cluster that the options name, if they name one.

    Raises
    ------
    InputError
        If they name two, or one that cannot be.
    """
    from mlipq.labeling.clusters import read_profile, scheduler_at

    if cluster and scheduler:
        raise InputError("--cluster and --scheduler both say where to run; give one of them")
    if scheduler:
        return scheduler_at(scheduler)
    return read_profile(cluster) if cluster else None


def running_of(folder: Path, parameters: Mapping[str, Any]) -> tuple["Limits", int | None]:
    """Return limits and workers for a job that was planned before: they alone may be set anew.

    Raises
    ------
    InputError
        If one is out of range, or any other setting was given.
    """
    from mlipq.labeling.job import make_job

    fixed = [_option(name) for name in _given(parameters) if name not in _RUNNING]
    if fixed:
        raise InputError(
            f"{folder} was planned before and goes on as its plan.json says: leave out {', '.join(fixed)}; "
            "or name the inputs again, and another output folder with -o"
        )
    content = {"inputs": [str(folder)], "output": str(folder), **_content(parameters)}
    job = make_job(content, "command line", _names(parameters))
    return job.limits, job.workers


def _given(parameters: Mapping[str, Any]) -> list[str]:
    """Parameters that set a key of a job and were not left at their defaults."""
    values = {name: parameters.get(name) for name in _JOB_KEYS}
    return [name for name, value in values.items() if not any(value is left for left in (None, False, ()))]


def _names(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {_JOB_KEYS[name]: _option(name) for name in _given(parameters)}


def _option(parameter: str) -> str:
    return "--" + parameter.removeprefix("shard_").replace("_", "-")


def _content(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a job that the parameters set, nested as in its YAML."""
    content: dict[str, Any] = {}
    for name in _given(parameters):
        value = parameters[name]
        if name == "reference":
            value = _references(value)
        elif name == "output":
            value = str(value)
        section, dot, field = _JOB_KEYS[name].partition(".")
        if dot:
            content.setdefault(section, {})[field] = value
        else:
            content[section] = value
    return content


def _references(texts: list[str]) -> dict[str, dict[str, str]]:
    from mlipq.structures import ReferenceSpec

    references: dict[str, dict[str, str]] = {}
    for fields in (asdict(ReferenceSpec.parse(text)) for text in texts):
        name = fields.pop("name")
        if name in references:
            raise InputError(f"--reference {name}: given twice; each label needs its own name")
        references[name] = fields
    return references
