"""The verbs that label: ``label``, and its three steps ``plan``, ``partition``, ``finish``; ``status``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli.output import JSON_OPTION, error_console, print_json, print_table
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.cli.progress import JobProgress
    from mlipq.labeling.folder import OutputFolder, Plan
    from mlipq.labeling.job import Job
    from mlipq.store import Manifest

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
Format = Annotated[str | None, typer.Option("--format", help="zarr or h5.", show_default="zarr")]
Accuracy = Annotated[float | None, typer.Option(help="tblite's accuracy; smaller is tighter.", show_default="1.0")]
Temperature = Annotated[float | None, typer.Option("--electronic-temperature", help="In K.", show_default="300")]
Workers = Annotated[int | None, typer.Option(help="Processes.", show_default="one a core", min=1)]
TimeLimit = Annotated[
    float | None, typer.Option(help="Seconds that any structure may take at least.", show_default="60")
]
MemoryLimit = Annotated[
    str | None, typer.Option(help="Address space of each worker's child, as 8GB.", show_default="memory / workers")
]
Retry = Annotated[str | None, typer.Option(help="Failure classes to try again, as timeout,killed.", show_default=False)]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any structure failed.")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(epilog="Example:  mlipq label molecules.extxyz.gz more/*.xyz -o out")(label)
    app.command(epilog="Example:  mlipq plan molecules.extxyz.gz -o out; mlipq partition out 0-9; mlipq finish out")(
        plan
    )
    app.command(epilog="Example:  mlipq partition out 17-24")(partition)
    app.command(epilog="Example:  mlipq finish out")(finish)
    app.command(epilog="Example:  mlipq status out")(status)


def label(
    inputs: Inputs,
    output: Output = None,
    charge: Charge = None,
    charge_key: ChargeKey = None,
    multiplicity: Multiplicity = None,
    spin_key: SpinKey = None,
    reference: Reference = None,
    ignore_pbc: IgnorePbc = False,
    form: Format = None,
    accuracy: Accuracy = None,
    temperature: Temperature = None,
    workers: Workers = None,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    retry: Retry = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Predict time and bytes; write nothing.")] = False,
    strict: Strict = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Label structures with GFN1-xTB, on all cores of this machine; run it again to go on."""
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.run import resume_job, run_job

    limits = _limits(time_limit, memory_limit)
    again = [name.strip() for name in (retry or "").split(",") if name.strip()]
    if len(inputs) == 1 and output is None and (Path(inputs[0]) / "plan.json").exists():
        folder = OutputFolder(Path(inputs[0]))
        with _progress() as progress:
            manifest = resume_job(folder, limits, workers, retry=again, watcher=progress)
    else:
        reading = _reading(charge, charge_key, multiplicity, spin_key, reference, ignore_pbc)
        job, base = _job(inputs, output, reading, _labeler(accuracy, temperature), form, workers, limits)
        folder = OutputFolder(base / job.output)
        if dry_run:
            _print_estimate(job, base, as_json)
            return
        with _progress() as progress:
            manifest = run_job(job, base, retry=again, watcher=progress)
    _print_summary(folder, manifest, progress.did_nothing, as_json)
    if strict and manifest.failures:
        raise typer.Exit(1)


def plan(
    inputs: Inputs,
    output: Output = None,
    charge: Charge = None,
    charge_key: ChargeKey = None,
    multiplicity: Multiplicity = None,
    spin_key: SpinKey = None,
    reference: Reference = None,
    ignore_pbc: IgnorePbc = False,
    form: Format = None,
    accuracy: Accuracy = None,
    temperature: Temperature = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Read, check and pack structures into partitions; the first step of labeling by hand."""
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.plan import make_plan
    from mlipq.labeling.sources import find_sources

    reading = _reading(charge, charge_key, multiplicity, spin_key, reference, ignore_pbc)
    job, base = _job(inputs, output, reading, _labeler(accuracy, temperature), form, None, {})
    folder = OutputFolder(base / job.output)
    with _progress() as progress:
        planned = make_plan(find_sources(job, base), job, folder, progress.planning)
    if as_json:
        print_json(planned.model_dump())
        return
    print_table(f"planned in {folder.path}", _plan_rows(planned))
    print(f"Next:  mlipq partition {folder.path} 0-{len(planned.partitions) - 1}; mlipq finish {folder.path}")


def partition(
    folder: Folder,
    numbers: Annotated[str, typer.Argument(help="Partitions, as 17-24 or 3,5,9-12.", show_default=False)],
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Label some partitions of a plan, one after the other on one core; what is done is skipped."""
    from mlipq.labeling.folder import OutputFolder
    from mlipq.labeling.job import Limits
    from mlipq.labeling.run import PartitionTask
    from mlipq.labeling.runner import run_serially

    output = OutputFolder(folder)
    planned = output.plan()
    wanted = _numbers(numbers, len(planned.partitions))
    limits = Limits(**_limits(time_limit, memory_limit))
    tasks = [PartitionTask(folder.resolve(), index, limits) for index in wanted]
    with _progress() as progress:
        todo = [task.index for task in tasks if not task.done()]
        if todo:
            progress.planned(planned, todo, "")
        finished = [summary for _, summary in run_serially(tasks, progress.progress)]
    for warning in {summary["warning"] for summary in finished} - {""}:
        progress.warn(warning)
    if as_json:
        print_json({"labelled": [summary["index"] for summary in finished], "were_done": sorted({*wanted} - {*todo})})
    else:
        print(f"{len(finished)} partitions labelled, {len(wanted) - len(todo)} were done already")


def finish(folder: Folder, strict: Strict = False, as_json: bool = JSON_OPTION) -> None:
    """Check all shards and write the manifest and the failure ledger; the last step of labeling by hand."""
    from mlipq.labeling.finish import finish as finish_job
    from mlipq.labeling.folder import OutputFolder

    output = OutputFolder(folder)
    manifest = finish_job(output)
    _print_summary(output, manifest, False, as_json)
    if strict and manifest.failures:
        raise typer.Exit(1)


def status(folder: Folder, as_json: bool = JSON_OPTION) -> None:
    """Say what is done, missing and failed, from the files alone; exit code 3 while something is missing."""
    from mlipq.labeling.finish import finished, spans
    from mlipq.labeling.folder import OutputFolder

    output = OutputFolder(folder)
    planned = output.plan()
    missing = output.missing(planned)
    sidecars = list(output.sidecars(planned))
    rows = {
        "partitions": f"{len(sidecars):,} of {len(planned.partitions):,} done",
        "missing": spans(missing),
        "structures": f"{sum(s.n_structures for s in sidecars):,} labelled of {planned.n_structures:,}",
        "failed": sum(len(s.failures) for s in sidecars) + planned.counts["rejected"],
        "bytes": sum(s.bytes for s in sidecars),
        "finished": "yes" if finished(output, planned) else "no",
    }
    if as_json:
        print_json({**rows, "partitions": len(planned.partitions), "done": len(sidecars), "missing": missing})
    else:
        print_table(str(folder), rows)
    if missing:
        raise typer.Exit(3)


def _reading(
    charge: int | None,
    charge_key: str | None,
    multiplicity: str | None,
    spin_key: str | None,
    reference: list[str] | None,
    ignore_pbc: bool,
) -> dict[str, Any]:
    """How structures are read, as keys of a job; only what was given on the command line."""
    from mlipq.structures import ReferenceSpec

    content: dict[str, Any] = {}
    for name, key, default in (("charge", charge_key, charge), ("spin", spin_key, multiplicity)):
        given = {"key": key, "default": default}
        if kept := {field: value for field, value in given.items() if value is not None}:
            content[name] = kept
    if reference:
        specs = [ReferenceSpec.parse(text) for text in reference]
        content["reference"] = {
            s.name: {"field": s.field, "kind": s.kind, "unit": s.unit, "level_of_theory": s.level_of_theory}
            for s in specs
        }
    if ignore_pbc:
        content["ignore_pbc"] = True
    return content


def _labeler(accuracy: float | None, temperature: float | None) -> dict[str, Any]:
    given = {"accuracy": accuracy, "electronic_temperature": temperature}
    return {name: value for name, value in given.items() if value is not None}


def _limits(time_limit: float | None, memory_limit: str | None) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if time_limit is not None:
        limits["seconds"] = time_limit
    if memory_limit is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", memory_limit.strip(), re.IGNORECASE)
        if not match:
            raise InputError(f"--memory-limit {memory_limit}: expected a size such as 8GB")
        limits["memory"] = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
    return limits


def _job(
    inputs: list[str],
    output: Path | None,
    reading: dict[str, Any],
    labeler: dict[str, Any],
    form: str | None,
    workers: int | None,
    limits: dict[str, Any],
) -> tuple["Job", Path]:
    """Make a job of the command line, or of the YAML it names with the command line on top."""
    from mlipq.labeling.job import load_job, make_job

    content = {**reading, "format": form, "workers": workers, "labeler": labeler, "limits": limits}
    content = {name: value for name, value in content.items() if value not in (None, {})}
    if len(inputs) == 1 and inputs[0].endswith((".yaml", ".yml")):
        path = Path(inputs[0])
        if output is not None:
            content["output"] = str(output.absolute())
        return load_job(path, **content), path.parent
    if output is None:
        raise InputError("where to? Name an output folder:  mlipq label FILES -o out")
    return make_job({**content, "inputs": inputs, "output": str(output)}, "command line"), Path()


def _numbers(text: str, count: int) -> list[int]:
    """Read ``17-24`` or ``3,5,9-12``."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise InputError(f"partitions {text!r}: expected numbers such as 17-24 or 3,5,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= count:
            raise InputError(f"partitions {part}: the plan has {count} partitions, 0 to {count - 1}")
        numbers.extend(range(first, last + 1))
    return sorted(set(numbers))


def _progress() -> "JobProgress":
    from mlipq.cli.progress import JobProgress

    return JobProgress(error_console())


def _plan_rows(planned: "Plan") -> dict[str, Any]:
    return {
        "structures": planned.n_structures,
        "atoms": sum(partition.n_atoms for partition in planned.partitions),
        "partitions": len(planned.partitions),
        **_reading_rows(planned),
    }


def _reading_rows(planned: "Plan") -> dict[str, Any]:
    """What reading the inputs met that the user should know of."""
    counts = planned.counts
    return {
        "rejected in reading": counts["rejected"] or "",
        "duplicates left out": counts["duplicates"] or "",
        "of them conflicting": counts["conflicts"] or "",
        "charge not given": f"{counts['charge_default']:,} took the default" if counts["charge_default"] else "",
        "spin not given": f"{counts['spin_default']:,} took the default" if counts["spin_default"] else "",
        "labels not mapped": f"{', '.join(planned.unmapped)} (kept under info/; see --reference)"
        if planned.unmapped
        else "",
    }


def _print_estimate(job: "Job", base: Path, as_json: bool) -> None:
    from mlipq.cli.progress import duration
    from mlipq.labeling.estimate import estimate

    with _progress() as progress:
        planned, found = estimate(job, base, progress.planning)
    if as_json:
        print_json({**found, "counts": planned.counts, "structures": planned.n_structures})
        return
    rows = {
        **_plan_rows(planned),
        "core-hours": f"{found['core_seconds'] / 3600:.2g}",
        "wall time": f"{duration(found['wall_seconds'])} on {found['workers']} workers",
        "shards": f"{found['shards']:,}, about {found['bytes'] / 1e6:,.1f} MB",
        "blas": found["blas"],
    }
    print_table("dry run: nothing was written", rows)


def _summary(folder: "OutputFolder", manifest: "Manifest") -> dict[str, Any]:
    planned = folder.plan()
    sidecars = list(folder.sidecars(planned))
    return {
        "output": str(folder.path),
        "structures": manifest.n_structures,
        "atoms": manifest.n_atoms,
        "elements": len(manifest.elements),
        "failed": manifest.failures,
        "flagged": manifest.quality,
        "scf_attempts": manifest.scf_attempts,
        "outliers": len(manifest.outliers),
        "counts": planned.counts,
        "unmapped_labels": planned.unmapped,
        "shards": len(manifest.shards),
        "bytes": sum(entry.bytes for entry in manifest.shards),
        "single_point_seconds": round(sum(sidecar.seconds for sidecar in sidecars), 3),
        "blas": sorted({sidecar.blas for sidecar in sidecars}),
    }


def _print_summary(folder: "OutputFolder", manifest: "Manifest", did_nothing: bool, as_json: bool) -> None:
    from mlipq.cli.progress import duration

    summary = _summary(folder, manifest)
    if as_json:
        print_json({**summary, "did_nothing": did_nothing})
        return
    if did_nothing:
        print(f"{folder.path} is already labelled; there was nothing to do")
    per_atom = summary["bytes"] / max(manifest.n_atoms, 1)
    seconds = duration(summary["single_point_seconds"])
    rows = {
        "structures": f"{manifest.n_structures:,} labelled, {manifest.n_atoms:,} atoms, {len(manifest.elements)} elements",
        "failed": dict(sorted(manifest.failures.items())),
        "flagged": dict(sorted(manifest.quality.items())),
        "SCF rungs": {f"#{rung}": count for rung, count in sorted(manifest.scf_attempts.items())},
        "energy outliers": summary["outliers"] or "",
        **_reading_rows(folder.plan()),
        "shards": f"{summary['shards']:,}, {summary['bytes'] / 1e6:,.2f} MB, {per_atom:.0f} bytes an atom",
        "labeling": f"{seconds} of single points; BLAS: {', '.join(summary['blas'])}" if summary["blas"] else "",
    }
    print_table(str(folder.path), rows)
    if manifest.failures:
        print(f"Why structures failed:  mlipq info {folder.path} --failures")
    print(f"Use it in Python:       ds = mlipq.open_dataset({str(folder.path)!r}); ds[0]")
