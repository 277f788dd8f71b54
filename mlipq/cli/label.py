"""The verb ``label``: plan, partition and finish in one, on all cores of this machine or on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli import options, summary
from mlipq.cli.output import JSON_OPTION
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.cli.job_progress import JobProgress
    from mlipq.labeling.clusters import Profile
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.job import Job
    from mlipq.store import Manifest

Retry = Annotated[
    str | None, options.option("Classes of failure to try again, as timeout,killed.", metavar="CLASS,...")
]
DryRun = Annotated[bool, options.option("Predict time and bytes; write nothing.", "--dry-run")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    epilog = options.examples(
        "mlipq label molecules.extxyz.gz 'more/*.xyz' -o out",
        "mlipq label job.yaml",
        "mlipq label job.yaml --cluster slurm.yaml",
        "mlipq label out --labeler pbe -o out-pbe",
        "mlipq label out --retry timeout --time-limit 600",
    )
    app.command(epilog=epilog, short_help="Label structures with GFN1-xTB or PBE, on all cores.")(label)


def label(
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
    cluster: options.Cluster = None,
    scheduler: options.Scheduler = None,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = None,
    cost_factor: options.CostFactor = None,
    memory_limit: options.MemoryLimit = None,
    retry: Retry = None,
    dry_run: DryRun = False,
    strict: options.Strict = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Label structures with GFN1-xTB, or by --labeler pbe with PBE/def2-SVP, on all cores of this machine or on a cluster.

    Run the same command again to go on after an interruption; of a job that was planned, the output folder alone will
    do:  mlipq label out
    """
    from mlipq.cli.job_progress import JobProgress

    again = [name.strip() for name in (retry or "").split(",") if name.strip()]
    planned = len(inputs) == 1 and output is None and (Path(inputs[0]) / "plan.json").exists()
    if dry_run and planned:
        raise InputError(f"{inputs[0]} was planned before, there is nothing to predict; see:  mlipq status {inputs[0]}")
    place = options.cluster_of(cluster, scheduler)
    with JobProgress() as progress:
        if planned:
            folder, manifest = _go_on(Path(inputs[0]), ctx.params, again, progress, place)
        elif dry_run:
            job, base = options.job_of(inputs, ctx.params)
            summary.print_estimate(job, base, progress, as_json, _most_workers(job, base, place))
            return
        else:
            folder, manifest = _begin(inputs, ctx.params, again, progress, place)
    summary.print_summary(folder, manifest, as_json, progress.did_nothing, progress.were_set_aside)
    if strict and manifest.failures:
        raise typer.Exit(1)


def _most_workers(job: "Job", base: Path, place: "Profile | None") -> int | None:
    from mlipq.labeling.clusters import Place, read_profile

    return Place(place or read_profile(job.cluster, base), job.workers).most_workers()


def _go_on(
    path: Path, parameters: dict[str, Any], again: list[str], progress: "JobProgress", place: "Profile | None"
) -> tuple["OutputFolder", "Manifest"]:
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.run import resume_job

    folder = OutputFolder(path)
    limits, workers = options.running_of(path, parameters)
    _warn_of_unknown(again, folder, progress)
    return folder, resume_job(folder, limits, workers, retry=again, watcher=progress, cluster=place)


def _begin(
    inputs: list[str], parameters: dict[str, Any], again: list[str], progress: "JobProgress", place: "Profile | None"
) -> tuple["OutputFolder", "Manifest"]:
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.run import run_job

    job, base = options.job_of(inputs, parameters)
    folder = OutputFolder(base / job.output)
    _warn_of_unknown(again, folder, progress)
    return folder, run_job(job, base, retry=again, watcher=progress, cluster=place)


def _warn_of_unknown(again: list[str], folder: "OutputFolder", progress: "JobProgress") -> None:
    """Say which classes to be tried again no structure failed with: done already, or misspelt."""
    if not again or not folder.plan_file.exists():
        return
    there = {failure.error for sidecar in folder.sidecars(folder.plan()) for failure in sidecar.failures}
    for name in sorted({*again} - there):
        progress.warn(
            f"--retry {name}: no structure failed in labeling with this class; there are: {', '.join(sorted(there)) or 'none'}"
        )
