"""Labeling as an array job: share the missing partitions out among tasks, and write the scheduler's batch script."""

import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mlipq import resources
from mlipq.errors import InputError
from mlipq.labeling.finish import spans
from mlipq.labeling.folder import OutputFolder, PlannedPartition
from mlipq.labeling.job import Limits
from mlipq.store import unwritable

SUBMIT = {
    "slurm": (
        "job=$(sbatch --parsable job.sh)",
        "sbatch --dependency=afterany:$job --output={log} --wrap={wrapped}",
    ),
    "pbs": ("job=$(qsub job.sh)", "qsub -W depend=afterany:$job -j oe -o {logs} -- {command}"),
}
"""By scheduler, how to submit the array job, and then what finishes the dataset however the tasks ended."""

TASK_SECONDS = 300.0
"""Predicted seconds that a task has at least, where there are so many: a task starts Python and proves its child first, and
administrators ask for tasks of more than a few minutes."""
TASKS = 1001
"""The most tasks of an array where the site does not say: SLURM's default of MaxArraySize. Its largest index is one less."""
SLACK = 3.0
"""Walltime over the predicted time of the longest task: cores differ from ours, and a structure that hangs takes a minute or more."""
WALLTIME_STEP = 600
"""Walltime is rounded up to so many seconds, after as many for the start."""
MEMORY = 3 << 30
"""Bytes of address space of the labeling child, where the job does not say."""
PARENT_MEMORY = 1 << 30
"""Bytes that its parent needs beside it."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\]')
"""What the lines of a batch script that are for the scheduler have no way to quote."""


def most_tasks(scheduler: str) -> int:
    """Return how many tasks an array job may have here: MaxArraySize where this is a SLURM cluster, else :data:`TASKS`."""
    if scheduler == "slurm" and shutil.which("scontrol"):
        try:
            config = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=30).stdout
        except (OSError, subprocess.TimeoutExpired):
            return TASKS
        if found := re.search(r"^MaxArraySize\s*=\s*([1-9]\d*)\s*$", config, re.MULTILINE):
            return int(found[1])
    return TASKS


def share_out(partitions: Sequence[PlannedPartition], tasks: int) -> list[list[int]]:
    """Share partitions out among tasks that take about equally long.

    All are laid out on a line, each as long as it is predicted to take, and the line is cut into equal parts; a partition
    belongs to the part that its middle lies in. So no task takes longer than the mean and one partition.

    Parameters
    ----------
    partitions
        What is to be done, in order.
    tasks
        At most so many; fewer where partitions are longer than such a part.

    Returns
    -------
    list of list of int
        The partitions of each task by their numbers, none of them empty.
    """
    if not partitions:
        return []
    ends = np.cumsum([partition.seconds for partition in partitions])
    middles = ends - np.diff(ends, prepend=0.0) / 2
    parts = np.minimum(middles / ends[-1] * tasks, tasks - 1).astype(int)
    return [
        [partition.index for partition, _ in group]
        for _, group in groupby(zip(partitions, parts, strict=True), key=lambda pair: pair[1])
    ]


@dataclass(frozen=True)
class ArrayJob:
    """A batch script, and what to do with it."""

    script: str
    submit: list[str]
    """Commands that submit it, as ``job.sh``, and a job after it that finishes the dataset."""
    partitions: int
    """How many it labels."""
    tasks: list[str]
    """Those of each task, as the command line takes them."""


def array_job(
    folder: OutputFolder,
    partitions: Sequence[PlannedPartition],
    scheduler: str,
    tasks: int | None = None,
    limits: Limits | None = None,
) -> ArrayJob:
    """Make a batch script that labels partitions as an array job; its template is ``pipelines/arrays/SCHEDULER.sh``.

    Parameters
    ----------
    folder
        Output folder of the job; gets a folder for the logs of the tasks, which schedulers do not make.
    partitions
        What is to be done.
    scheduler
        A key of :data:`SUBMIT`.
    tasks
        At most so many tasks. By default as many as the site allows and last :data:`TASK_SECONDS`.
    limits
        What one structure may use.

    Returns
    -------
    ArrayJob
        The script, and how to submit it.

    Raises
    ------
    InputError
        If nothing is to be done, or the folder's name has characters that batch scripts cannot quote.
    """
    path = str(folder.path.resolve())
    if _UNSAFE.search(path):
        raise InputError(f"{path!r}: a batch script cannot name this folder; use one without quotes and backslashes")
    if not partitions:
        raise InputError(f"{path}: no partition is missing, nothing is to be done; go on with:  mlipq finish {path}")
    limits = limits or Limits()
    memory = limits.memory or MEMORY
    seconds = {partition.index: partition.seconds for partition in partitions}
    total = sum(seconds.values())
    shares = share_out(partitions, tasks or min(most_tasks(scheduler), max(1, int(total / TASK_SECONDS))))
    longest = max(sum(seconds[index] for index in share) for share in shares)
    logs, command = _logs(folder), _command("finish", path)
    finishing = {
        "logs": shlex.quote(f"{logs}/"),
        "log": shlex.quote(f"{logs.replace('%', '%%')}/finish-%j.log"),
        "command": command,
        "wrapped": shlex.quote(command),
    }
    made = ArrayJob(
        script="",
        submit=[line.format(**finishing) for line in SUBMIT[scheduler]],
        partitions=len(partitions),
        tasks=[spans(share) for share in shares],
    )
    script = _template(scheduler).render(
        vars(made),
        folder=path,
        logs=logs,
        partition=_command("partition", path),
        again=_command("plan", path, "--array", scheduler),
        core_hours=total / 3600,
        longest=_clock(longest),
        walltime=_clock(ceil(SLACK * longest / WALLTIME_STEP + 1) * WALLTIME_STEP),
        gigabytes=ceil((memory + PARENT_MEMORY) / (1 << 30)),
        limits=f"--memory-limit {memory >> 20}MB {_time_limit(limits)}",
    )
    return replace(made, script=script)


def _template(scheduler: str) -> Template:
    environment = Environment(  # noqa: S701 - no HTML; what a shell reads is quoted by shlex
        loader=FileSystemLoader(resources.pipelines() / "arrays"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"{scheduler}.sh")


def _command(*arguments: str) -> str:
    """Write a command of this mlipq: nodes may have another one on their path, or none."""
    program = Path(sysconfig.get_path("scripts")) / "mlipq"
    return shlex.join([str(program) if program.exists() else "mlipq", *arguments])


def _time_limit(limits: Limits) -> str:
    return f"--time-limit {limits.seconds:g}" if limits.seconds else f"--cost-factor {limits.cost_factor:g}"


def _logs(folder: OutputFolder) -> str:
    """Make the folder of logs: without it, SLURM ends its tasks without a word."""
    try:
        folder.logs.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(folder.logs, error) from None
    return str(folder.logs.resolve())


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
