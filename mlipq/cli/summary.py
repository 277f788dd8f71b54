"""What a job says at its end, and what it would take."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipq.cli.output import counted, print_json, print_table

if TYPE_CHECKING:
    from mlipq.cli.job_progress import JobProgress
    from mlipq.labeling.folder import OutputFolder, Plan
    from mlipq.labeling.job import Job
    from mlipq.store import Manifest


def plan_rows(planned: "Plan") -> dict[str, Any]:
    """What was planned, for a table."""
    return {
        "structures": planned.n_structures,
        "atoms": sum(partition.n_atoms for partition in planned.partitions),
        "partitions": len(planned.partitions),
        **_reading_rows(planned),
    }


def print_estimate(job: "Job", base: Path, progress: "JobProgress", as_json: bool, workers: int | None = None) -> None:
    """Print what a job would take, on so many workers where it is not this machine that does the work."""
    from mlipq.cli.progress import duration
    from mlipq.labeling.estimate import estimate

    planned, found = estimate(job, base, progress.planning, workers)
    if found.warning:
        progress.warn(found.warning)
    if as_json:
        print_json({**vars(found), "counts": planned.counts, "structures": planned.n_structures})
        return
    timed = counted(found.timed, "structure") + " of yours" if found.timed else "a reference molecule"
    rows = {
        **plan_rows(planned),
        "core-hours": f"{found.core_seconds / 3600:.2g}, as this machine takes for {timed}",
        "wall time": f"{duration(found.wall_seconds)} on {counted(found.workers, 'worker')}",
        "shards": f"{found.shards:,}, about {_megabytes(found.bytes)}",
        "disk": f"about {_megabytes(found.disk_bytes)} in {found.files:,} files and folders",
        "BLAS": found.blas,
    }
    print_table("dry run: nothing was written", rows)


def print_summary(
    folder: "OutputFolder",
    manifest: "Manifest",
    as_json: bool,
    did_nothing: bool = False,
    set_aside: Sequence[str] = (),
) -> None:
    """Print what a finished job made, and which workers were set aside in making it."""
    summary = _summary(folder, manifest)
    if as_json:
        print_json({**summary, "did_nothing": did_nothing, "set_aside": list(set_aside)})
        return
    if did_nothing:
        print(f"{folder.path} is already labelled; there was nothing to do")
    print_table(str(folder.path), _summary_rows(summary, folder.plan()))
    for reason in set_aside:
        print(f"Worker set aside:       {reason}")
    if manifest.failures:
        print(f"Why structures failed:  mlipq info {folder.path} --failures")
    if manifest.n_structures:
        print(f"Use it in Python:       ds = mlipq.open_dataset({str(folder.path)!r}); ds[0]")
    else:
        print("No structure was labelled")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.{1 if size < 1e7 else 0}f} MB"


def _summary(folder: "OutputFolder", manifest: "Manifest") -> dict[str, Any]:
    planned = folder.plan()
    sidecars = list(folder.sidecars(planned))
    return {
        "output": str(folder.path),
        "structures": manifest.n_structures,
        "atoms": manifest.n_atoms,
        "elements": len(manifest.elements),
        "failed": dict(sorted(manifest.failures.items())),
        "flagged": dict(sorted(manifest.quality.items())),
        "scf_attempts": dict(sorted(manifest.scf_attempts.items())),
        "outliers": len(manifest.outliers),
        "counts": planned.counts,
        "unmapped_labels": planned.unmapped,
        "unread_charge_or_spin": planned.unread,
        "shards": len(manifest.shards),
        "bytes": sum(entry.bytes for entry in manifest.shards),
        "single_point_seconds": round(sum(sidecar.seconds for sidecar in sidecars), 3),
        "blas": sorted({sidecar.blas for sidecar in sidecars}),
    }


def _summary_rows(summary: dict[str, Any], planned: "Plan") -> dict[str, Any]:
    from mlipq.cli.progress import duration

    labeling = f"{duration(summary['single_point_seconds'])} of single points; BLAS: {', '.join(summary['blas'])}"
    size = f"{summary['bytes'] / 1e6:,.2f} MB"
    if summary["atoms"]:
        size += f", {summary['bytes'] / summary['atoms']:,.0f} bytes an atom"
    return {
        "structures": f"{summary['structures']:,} labelled, {summary['atoms']:,} atoms, {summary['elements']} elements",
        "failed": summary["failed"],
        "flagged": summary["flagged"],
        "SCF rungs": {f"#{rung}": count for rung, count in summary["scf_attempts"].items()},
        "energy outliers": summary["outliers"],
        **_reading_rows(planned),
        "shards": f"{summary['shards']:,}, {size}",
        "labeling": labeling if summary["blas"] else "",
    }


def _reading_rows(planned: "Plan") -> dict[str, Any]:
    """What reading the inputs met that the user should know of."""
    counts = planned.counts
    unmapped = f"{', '.join(planned.unmapped)} (kept under info/; see --reference)" if planned.unmapped else ""
    return {
        "rattled copies": counts.get("rattled", 0),
        "rejected in reading": counts["rejected"],
        "duplicates left out": counts["duplicates"],
        "of them conflicting": counts["conflicts"],
        "charge not given": f"{counts['charge_default']:,} took the default" if counts["charge_default"] else "",
        "spin not given": f"{counts['spin_default']:,} took the default" if counts["spin_default"] else "",
        "labels not mapped": unmapped,
        "charge or spin?": f"{', '.join(planned.unread)} were not read (see --charge-key, --spin-key)"
        if planned.unread
        else "",
    }
