"""The three steps of labeling by hand, ``plan``, ``partition`` and ``finish``, and ``status``."""

import re
from typing import Annotated

import typer

from mlipq.cli import options, summary
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table
from mlipq.errors import InputError

Numbers = Annotated[str, options.argument("Partitions, as 17-24 or 3,5,9-12.", "NUMBERS")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    steps = options.examples("mlipq plan molecules.extxyz.gz -o out", "mlipq partition out 0-9", "mlipq finish out")
    app.command(epilog=steps, short_help="Read, check and pack structures; step 1 of labeling by hand.")(plan)
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
    as_json: bool = JSON_OPTION,
) -> None:
    """Read, check and pack structures into partitions; the first step of labeling by hand."""
    from mlipq.cli.job_progress import JobProgress
    from mlipq.labeling.finish import spans
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.plan import make_plan
    from mlipq.labeling.sources import find_sources

    job, base = options.job_of(inputs, ctx.params)
    folder = OutputFolder(base / job.output)
    with JobProgress() as progress:
        planned = make_plan(find_sources(job, base), job, folder, progress.planning)
    if as_json:
        print_json({"output": str(folder.path), **planned.model_dump()})
        return
    print_table(f"planned in {folder.path}", summary.plan_rows(planned))
    numbers = [partition.index for partition in planned.partitions]
    partitions = f"mlipq partition {folder.path} {spans(numbers)}; " if numbers else ""
    print(f"Next:  {partitions}mlipq finish {folder.path}")


def partition(
    ctx: typer.Context,
    folder: options.Folder,
    numbers: Numbers,
    time_limit: options.TimeLimit = None,
    memory_limit: options.MemoryLimit = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Label some partitions of a plan, one after the other on one core; what is done is skipped."""
    from mlipq.cli.job_progress import JobProgress
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.partition import PartitionTask
    from mlipq.labeling.runner import run_serially

    output = OutputFolder(folder)
    planned = output.plan()
    limits, _ = options.running_of(folder, ctx.params)
    wanted = _numbers(numbers, len(planned.partitions))
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
    from mlipq.labeling.finish import finished, spans
    from mlipq.labeling.folder import OutputFolder

    output = OutputFolder(folder)
    planned = output.plan()
    missing = output.missing(planned)
    sidecars = list(output.sidecars(planned))
    done = finished(output, planned) is not None
    found = {
        "output": str(folder),
        "partitions": len(planned.partitions),
        "done": len(sidecars),
        "missing": missing,
        "structures": planned.n_structures,
        "labelled": sum(sidecar.n_structures for sidecar in sidecars),
        "failed": sum(len(sidecar.failures) for sidecar in sidecars) + planned.counts["rejected"],
        "bytes": sum(sidecar.bytes for sidecar in sidecars),
        "finished": done,
    }
    if as_json:
        print_json(found)
    else:
        rows = {
            "partitions": f"{found['done']:,} of {found['partitions']:,} done",
            "missing": spans(missing),
            "structures": f"{found['labelled']:,} labelled of {found['structures']:,} planned",
            "failed": found["failed"],
            "bytes": found["bytes"],
            "finished": "yes" if done else f"no; go on with:  mlipq label {folder}",
        }
        print_table(str(folder), rows)
    if not done:
        raise typer.Exit(3)


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
