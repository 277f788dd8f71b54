"""The three steps of labeling by hand, ``plan``, ``partition`` and ``finish``, and ``status``."""

import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli import options, summary
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.labeling.arrays import ArrayJob
    from mlipq.labeling.folder import OutputFolder, Plan
    from mlipq.labeling.job import Limits
    from mlipq.labeling.status import Status

Array = Annotated[
    str | None,
    options.option("Print a batch script that labels what is missing as an array job.", metavar="slurm|pbs"),
]
Tasks = Annotated[
    int | None,
    options.option(
        "Of the array job, at most; default what the site allows, of five minutes at least.", metavar="<int>"
    ),
]
LIST_TEXT = 200
"""Characters of a list of partitions that people are shown."""

Numbers = Annotated[str, options.argument("Partitions, as 17-24 or 3,5,9-12.", "NUMBERS")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    steps = options.examples("mlipq plan molecules.extxyz.gz -o out", "mlipq partition out 0-9", "mlipq finish out")
    app.command(
        epilog=options.examples(
            "mlipq plan molecules.extxyz.gz -o out",
            "mlipq plan molecules.extxyz.gz -o out --array slurm > job.sh",
            "mlipq plan out --array slurm > rest.sh",
        ),
        short_help="Read, check and pack structures; step 1 of labeling by hand.",
    )(plan)
    app.command(
        epilog=options.examples("mlipq partition out 17-24", "mlipq partition out $SLURM_ARRAY_TASK_ID"),
        short_help="Label some partitions of a plan; step 2.",
    )(partition)
    app.command(epilog=steps, short_help="Check all shards, write the manifest; step 3.")(finish)
    app.command(epilog=options.examples("mlipq status out"), short_help="What is done, missing and failed.")(status)


def plan(
    ctx: typer.Context,
    inputs: options.Inputs,
    output: options.Output = None,
    charge: options.Charge = None,
    charge_key: options.ChargeKey = None,
    multiplicity: options.Multiplicity = None,
    spin_key: options.SpinKey = None,
    reference: options.Reference = None,
    ignore_pbc: options.IgnorePbc = False,
    shard_format: options.Format = None,
    labeler: options.Labeler = None,
    accuracy: options.Accuracy = None,
    electronic_temperature: options.Temperature = None,
    array: Array = None,
    tasks: Tasks = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Read, check and pack structures into partitions; the first step of labeling by hand.

    With --array a batch script for SLURM or PBS is printed on standard output, and all else on standard error. Of a folder
    that was planned before, it labels what is missing:  mlipq plan out --array slurm > rest.sh
    """
    from mlipq.labeling.finish import spans

    _require_array(array, tasks)
    folder, planned, limits = _planned(inputs, ctx.params)
    made = _array_job(folder, planned, limits, array, tasks) if array else None
    if as_json:
        print_json({"output": str(folder.path), **planned.model_dump(), **({"array": vars(made)} if made else {})})
        return
    with redirect_stdout(sys.stderr if made else sys.stdout):
        print_table(f"planned in {folder.path}", summary.plan_rows(planned))
        if made:
            _print_submission(made)
        else:
            missing = spans(folder.missing(planned))
            partitions = f"mlipq partition {folder.path} {missing}; " if missing else ""
            print(f"Next:  {partitions}mlipq finish {folder.path}")
    if made:
        print(made.script, end="")


def _require_array(array: str | None, tasks: int | None) -> None:
    """Refuse what makes no array job, before anything is planned."""
    from mlipq.labeling.arrays import SUBMIT

    if array is not None and array not in SUBMIT:
        raise InputError(f"--array: should be {' or '.join(SUBMIT)}, got {array!r}")
    if tasks is not None and array is None:
        raise InputError("--tasks: of what? Name a scheduler too:  --array slurm")
    if tasks is not None and tasks < 1:
        raise InputError(f"--tasks: should be at least 1, got {tasks}")


def _planned(inputs: list[str], parameters: dict[str, Any]) -> tuple["OutputFolder", "Plan", "Limits"]:
    """Plan, or read the plan of a folder that was planned before."""
    from mlipq.cli.job_progress import JobProgress
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.plan import make_plan
    from mlipq.labeling.sources import find_sources

    if options.is_planned(inputs, parameters["output"]):
        folder = OutputFolder(Path(inputs[0]))
        limits, _ = options.running_of(folder.path, parameters)
        return folder, folder.plan(), limits
    job, base = options.job_of(inputs, parameters)
    folder = OutputFolder(base / job.output)
    with JobProgress() as progress:
        return folder, make_plan(find_sources(job, base), job, folder, progress.planning), job.limits


def _array_job(
    folder: "OutputFolder", planned: "Plan", limits: "Limits", scheduler: str, tasks: int | None
) -> "ArrayJob":
    """Make the array job of what is missing."""
    from mlipq.labeling.arrays import array_job
    from mlipq.labeling.partition import labeler_settings

    labeler_settings(folder, planned)  # refuses software that labels otherwise, before a thousand tasks do
    missing = [planned.partitions[index] for index in folder.missing(planned)]
    return array_job(folder, missing, scheduler, tasks, limits)


def _print_submission(made: "ArrayJob") -> None:
    job = f"Array job: {counted(len(made.tasks), 'task')} for {counted(made.partitions, 'missing partition')}"
    print(f"{job}; the script is on standard output. Check its lines for your site, then:")
    print("\n".join(f"  {line}" for line in made.submit))


def partition(
    ctx: typer.Context,
    folder: options.Folder,
    numbers: Numbers,
    time_limit: options.TimeLimit = None,
    cost_factor: options.CostFactor = None,
    memory_limit: options.MemoryLimit = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Label some partitions of a plan, one after the other on one core; what is done is skipped."""
    from mlipq.cli.job_progress import JobProgress
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.partition import PartitionTask, labeler_settings
    from mlipq.labeling.runner import run_serially

    output = OutputFolder(folder)
    planned = output.plan()
    limits, _ = options.running_of(folder, ctx.params)
    wanted = _numbers(numbers, len(planned.partitions))
    labeler_settings(output, planned)  # refuses software that labels otherwise
    tasks = [PartitionTask(folder.resolve(), index, limits) for index in wanted]
    with JobProgress() as progress:
        todo = [task.index for task in tasks if not task.done()]
        if todo:
            progress.planned(planned, todo, "")
        finished = [outcome for _, outcome in run_serially(tasks, progress.progress)]
        for warning in sorted({outcome["warning"] for outcome in finished} - {""}):
            progress.warn(warning)
    if as_json:
        print_json({"labelled": [outcome["index"] for outcome in finished], "were_done": sorted({*wanted} - {*todo})})
    else:
        print(f"{counted(len(finished), 'partition')} labelled; {len(wanted) - len(todo):,} done before")


def finish(folder: options.Folder, strict: options.Strict = False, as_json: bool = JSON_OPTION) -> None:
    """Check all shards and write the manifest and the failure ledger; the last step of labeling by hand."""
    from mlipq.labeling.finish import finish as finish_job
    from mlipq.labeling.folder import OutputFolder

    output = OutputFolder(folder)
    manifest = finish_job(output)
    summary.print_summary(output, manifest, as_json)
    if strict and manifest.failures:
        raise typer.Exit(1)


def status(folder: options.Folder, as_json: bool = JSON_OPTION) -> None:
    """Say what is done, missing and failed, from the files alone; exit code 3 while something is missing."""
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.status import status_of

    found = status_of(OutputFolder(folder))
    if as_json:
        print_json({"output": str(folder), **vars(found)})
    else:
        _print_status(str(folder), found)
    if not found.finished:
        raise typer.Exit(3)


def _print_status(output: str, found: "Status") -> None:
    from mlipq.cli.progress import duration
    from mlipq.labeling.finish import spans

    left = f", some {duration(found.core_seconds_left)} left" if found.missing else ""
    rows = {
        "partitions": f"{found.done:,} of {found.partitions:,} done",
        "missing": _shortened(spans(found.missing)),
        "structures": f"{found.labelled:,} labelled of {found.structures:,} planned",
        "failed": found.failed,
        "bytes": found.bytes,
        "core time": f"{duration(found.core_seconds)} so far{left}",
        "finished": "yes" if found.finished else "no",
    }
    print_table(output, rows)
    if found.missing:
        print(f"Next:  mlipq label {output}")
        print(f"or, as an array job:  mlipq plan {output} --array slurm > job.sh")
    elif not found.finished:
        print(f"Next:  mlipq finish {output}")


def _shortened(text: str) -> str:
    """Cut a list that no one would read to its end; all of it stands in the JSON."""
    return text if len(text) <= LIST_TEXT else text[:LIST_TEXT].rpartition(",")[0] + ", …"


def _numbers(text: str, count: int) -> list[int]:
    """Read ``17-24`` or ``3,5,9-12``."""
    if not count:
        raise InputError(
            "the plan has no partitions: every structure was rejected in reading; go on with:  mlipq finish"
        )
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise InputError(f"partitions {text!r}: expected numbers such as 17-24 or 3,5,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"partitions {part}: the first number of a range is the smaller one, as {last}-{first}")
        if last >= count:
            there = f"the plan has {counted(count, 'partition')}, " + (f"0 to {count - 1}" if count > 1 else "number 0")
            raise InputError(f"partitions {part}: {there}")
        numbers.extend(range(first, last + 1))
    return sorted(set(numbers))
