"""The verbs that look at a dataset: ``info``, ``verify``, ``export``."""

import csv
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mlipq.cli.output import JSON_OPTION, print_json, print_table
from mlipq.errors import CheckError, InputError

Dataset = Annotated[Path, typer.Argument(help="Folder of a dataset, or one shard.", show_default=False)]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(epilog="Example:  mlipq info out --failures")(info)
    app.command(epilog="Example:  mlipq verify out")(verify)
    app.command(epilog="Example:  mlipq export out --to extxyz -o all.extxyz")(export)


def info(
    dataset: Dataset,
    failures: Annotated[bool, typer.Option("--failures", help="List the structures that failed, and why.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Describe a dataset: what it holds, how it was made, what is flagged."""
    if failures:
        _print_failures(dataset, as_json)
        return
    from mlipq.store import open_dataset

    opened = open_dataset(dataset)
    manifest = opened.manifest
    if as_json and manifest is not None:
        print_json(manifest.model_dump(mode="json"))
        return
    arrays = {
        name: f"{spec.level}, {spec.unit or '–'}: {spec.description}"
        for name, spec in opened.specs.items()
        if "/" in name
    }
    if manifest is None:
        rows: dict[str, Any] = {"structures": len(opened)}
    else:
        rows = {
            "structures": f"{manifest.n_structures:,} with {manifest.n_atoms:,} atoms",
            "elements": " ".join(manifest.elements),
            "level of theory": manifest.level_of_theory,
            "shards": f"{len(manifest.shards):,}, {sum(entry.bytes for entry in manifest.shards) / 1e6:,.2f} MB",
            "failed": manifest.failures,
            "flagged": manifest.quality,
            "SCF rungs": manifest.scf_attempts,
            "duplicates": manifest.duplicates,
            "conflicts": len(manifest.conflicts),
            "outliers": [
                f"{outlier.identity} ({outlier.array}, z = {outlier.z_score:.0f})" for outlier in manifest.outliers[:5]
            ],
            "made with": manifest.provenance.software,
        }
    if as_json:
        print_json({**rows, "arrays": arrays})
        return
    print_table(str(dataset), rows)
    print_table("labels", arrays)


def _print_failures(dataset: Path, as_json: bool) -> None:
    ledger = dataset / "failures.csv"
    if not ledger.is_file():
        raise InputError(
            f"{dataset}: no failures.csv here; it is written when a labeling job finishes (mlipq finish {dataset})"
        )
    with ledger.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        name = f" ({row['name']})" if row["name"] else ""
        print(f"{row['source_file'] or 'memory'} frame {row['source_index']}{name}: {row['error']}: {row['message']}")
    print(f"{len(rows):,} structures failed; the ledger is {ledger}")


def verify(dataset: Dataset, as_json: bool = JSON_OPTION) -> None:
    """Check a dataset: hashes, schema, and that orbital charges add up. Exit code 1 if anything is wrong."""
    from mlipq.store import Manifest, open_dataset
    from mlipq.store.verify import verify_dataset

    problems = verify_dataset(dataset)
    structures = 0 if problems else len(open_dataset(dataset))
    if as_json:
        print_json({"dataset": str(dataset), "problems": problems, "structures": structures})
    if problems:
        raise CheckError("\n".join([f"{dataset}: {len(problems)} problems", *(f"  {problem}" for problem in problems)]))
    if not as_json:
        shards = len(Manifest.read(dataset / "manifest.json").shards) if dataset.is_dir() else 1
        print(f"{dataset}: {shards} shards and {structures:,} structures are what the manifest says, and add up")


def export(
    dataset: Dataset,
    to: Annotated[Literal["extxyz", "zarr", "h5"], typer.Option(help="Format.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File (extxyz; .gz compresses) or folder (zarr, h5).", show_default=False),
    ],
    energy: Annotated[
        str | None, typer.Option(help="Array written as `energy`, as gfn1/energy.", show_default=False)
    ] = None,
    forces: Annotated[
        str | None, typer.Option(help="Array written as `forces`, as gfn1/forces.", show_default=False)
    ] = None,
) -> None:
    """Write a dataset in another format."""
    from mlipq.store import export as export_dataset
    from mlipq.store import open_dataset

    opened = open_dataset(dataset)
    export_dataset(opened, output, to, energy, forces)
    print(f"{len(opened):,} structures written to {output}")
