"""The verb ``bench``."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli.options import Cluster, Scheduler, argument, cluster_of, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.bench.latent.suite import MetalsSuite
    from mlipq.bench.plan import BenchRun
    from mlipq.bench.report.build import SuiteReport
    from mlipq.bench.report.comparisons import Comparison
    from mlipq.bench.suite import Suite
    from mlipq.labeling.clusters import Profile

SuiteName = Annotated[str, argument("YAML of a suite, or one that comes with mlipq: quick, qm7 …", "SUITE")]
Output = Annotated[Path | None, option("Folder of the suite; default runs/NAME.", "--output", "-o", metavar="FOLDER")]
Seeds = Annotated[int | None, option("How many; default as the suite says.")]
Sizes = Annotated[str | None, option("Of training, as 100,300; default as the suite says.", metavar="N,N,…")]
Modes = Annotated[str | None, option("As energy,charges; default as the suite says.", metavar="NAME,…")]
Workers = Annotated[int | None, option("Runs at a time; default one a core.")]
DryRun = Annotated[bool, option("Check everything, say what would be trained, and train nothing.", "--dry-run")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(
        epilog=examples(
            "mlipq bench quick",
            "mlipq bench my-suite.yaml --dry-run",
            "mlipq bench qm7 -o runs/qm7 --seeds 5 --workers 2",
            "mlipq bench qm7 --cluster slurm.yaml",
        ),
        short_help="Compare training with and without xTB labels, fairly.",
    )(bench)


def bench(
    suite: SuiteName,
    output: Output = None,
    seeds: Seeds = None,
    sizes: Sizes = None,
    modes: Modes = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Train each mode of a suite at each size and seed, on the same structures, and measure it once on the same test structures.

    Stopped or killed, the same command goes on. With more seeds, sizes or modes, only what is new is trained. The report is
    report.html in the folder.
    """
    from mlipq.bench.latent.suite import looks_at_metals, read_metals_suite
    from mlipq.bench.suite import find_suite, read_suite

    overrides = _overrides(seeds, sizes, modes)
    if workers is not None and workers < 1:
        raise InputError(f"--workers: expected 1 or more runs at a time, got {workers}")
    place = cluster_of(cluster, scheduler)
    folder = output or Path("runs") / find_suite(suite).stem
    if not looks_at_metals(suite):
        _bench(read_suite(suite, **overrides), folder, workers, place, dry_run, as_json)
    elif dry_run:
        raise InputError(f"--dry-run: not for {suite}, which is made of suites; make it with one of these")
    else:
        _look_at_metals(read_metals_suite(suite, **overrides), folder, workers, place, as_json)


def _bench(
    suite: "Suite", folder: Path, workers: int | None, place: "Profile | None", dry_run: bool, as_json: bool
) -> None:
    from mlipq.bench.launch import check_suite, run_suite
    from mlipq.cli.bench_progress import BenchProgress

    with BenchProgress() as progress:
        if dry_run:
            todo = check_suite(suite, folder, progress)
        else:
            run_suite(suite, folder, workers, watcher=progress, cluster=place)
    if dry_run:
        _print_plan(suite.title, folder, todo, as_json)
    else:
        _print_results(folder, progress.did_nothing, as_json)


def _look_at_metals(
    suite: "MetalsSuite", folder: Path, workers: int | None, place: "Profile | None", as_json: bool
) -> None:
    from mlipq.bench.latent.comparison import score_rows
    from mlipq.bench.latent.launch import run_metals
    from mlipq.bench.report import build_report, write_report
    from mlipq.bench.report.texts import p_text
    from mlipq.cli.bench_progress import BenchProgress

    with BenchProgress() as progress:
        metals = run_metals(suite, folder, workers, watcher=progress, cluster=place)
    page = folder / "report.html"
    write_report(build_report([folder]), page)
    if as_json:
        print_json({"folder": str(folder), "report": str(page), "scores": [asdict(row) for row in score_rows(metals)]})
        return
    print(f"{metals.title}: {len(metals.metals):,} complexes; in brackets what chance gives")
    for encoder in metals.encoders:
        scores = "  ".join(
            f"{row.grouping} {row.measure} {row.value:.2f} ({row.null_mean:.2f}, {p_text(row.p_holm)})"
            for row in score_rows(metals)
            if row.encoder == encoder.name
        )
        print(f"  {encoder.name:<14}  {scores}")
    print(f"\nFigures, errors and all else: {page}")


def _overrides(seeds: int | None, sizes: str | None, modes: str | None) -> dict[str, Any]:
    """Return the keys of a suite that options replace."""
    overrides: dict[str, Any] = {}
    if seeds is not None:
        if seeds < 1:
            raise InputError(f"--seeds: expected how many, 1 or more, got {seeds}")
        overrides["seeds"] = seeds
    if sizes is not None:
        if not all(size.strip().isdecimal() for size in sizes.split(",")):
            raise InputError(f"--sizes: expected whole numbers, as 100,300, got {sizes!r}")
        overrides["sizes"] = [int(size) for size in sizes.split(",")]
    if modes is not None:
        overrides["modes"] = [mode.strip() for mode in modes.split(",")]
    return overrides


def _print_plan(title: str, folder: Path, todo: "Sequence[BenchRun]", as_json: bool) -> None:
    if as_json:
        runs = [{"kind": run.kind, "id": run.id, "steps": run.config.training.steps} for run in todo]
        print_json({"folder": str(folder), "to_train": runs})
        return
    print(title)
    print(f"{folder}: {counted(len(todo), 'run')} to train" + (", all checked" if todo else "; everything is done"))
    for run in todo:
        print(f"  {run.kind:<12} {run.id}")


def _print_results(folder: Path, did_nothing: bool, as_json: bool) -> None:
    from mlipq.bench.report import build_report, write_report

    whole, page = build_report([folder]), folder / "report.html"
    write_report(whole, page)
    (report,) = whole.suites
    if as_json:
        rows = [
            {"labels_from": one.labels_from, **asdict(comparison)}
            for one in report.classes
            for comparison in one.comparisons
        ]
        found = {"folder": str(folder), "did_nothing": did_nothing, "report": str(page), "unit": report.unit}
        print_json({**found, "comparisons": rows})
        return
    if did_nothing:
        print(f"{folder} is complete; there was nothing to do")
    for line in _table(report):
        print(line)
    print(f"\nFigures, costs and all else: {page}")


_CLASSES = {
    "same": "xTB labels of the same structures",
    "extra": "xTB labels of other structures too",
    "inference": "xTB calculated at inference",
    "none": "no xTB labels",
}


def _table(report: "SuiteReport") -> list[str]:
    """Write the headline table: a row a mode and size, what is not to be compared apart."""
    lines = [
        report.title,
        f"Mean absolute error of {report.target} on {report.test_structures:,} test structures in {report.unit}, mean over "
        f"{counted(len(report.seeds), 'seed')} (least to largest);",
        f"and how much lower it is than that of {report.baseline} with as many labels, with its 95 % interval.",
    ]
    for one in report.classes:
        width = max(map(len, one.modes))
        lines += ["", f"{_CLASSES[one.labels_from]}:", f"{'labels':>8}  {'mode':<{width}}  {'error':<24}lower by"]
        lines += [
            f"{made.size:>8,}  {made.mode:<{width}}  {_error(made):<24}{_reduction(made)}".rstrip()
            for made in sorted(one.comparisons, key=lambda made: (made.size, one.modes.index(made.mode)))
        ]
    return lines


def _error(made: "Comparison") -> str:
    return f"{made.mae:.4g} ({made.mae_low:.4g} to {made.mae_high:.4g})"


def _reduction(made: "Comparison") -> str:
    found = made.reduction
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return f"{_percent(found.value)}, no interval: it takes more seeds"
    return f"{_percent(found.value)} ({_percent(found.low)} to {_percent(found.high)})"


def _percent(share: float) -> str:
    return f"{round(share, 3) + 0.0:.1%}"  # no -0.0 %
