"""The verbs that look at a dataset: ``info``, ``verify``, ``export``."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table
from mlipq.errors import CheckError, InputError

if TYPE_CHECKING:
    from mlipq.schema import ArraySpec
    from mlipq.store import Manifest

LISTED = 5
"""Conflicts and outliers; the manifest has them all."""

DatasetPath = Annotated[Path, argument("Folder of a dataset, or one shard.", "DATASET")]
Failures = Annotated[bool, option("List the structures that failed, and why.", "--failures")]
To = Annotated[Literal["extxyz", "zarr", "h5"], option("Format.", metavar="extxyz|zarr|h5")]
Target = Annotated[
    Path, option("File (extxyz; .gz compresses) or folder (zarr, h5).", "--output", "-o", metavar="FILE|FOLDER")
]
Energy = Annotated[
    str | None,
    option("Array that extxyz calls energy, as gfn1/energy; needed where there are several.", metavar="ARRAY"),
]
Forces = Annotated[
    str | None, option("Array that extxyz calls forces; default those beside the energy.", metavar="ARRAY")
]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(
        epilog=examples("mlipq info out", "mlipq info out --failures", "mlipq info out --json"),
        short_help="What a dataset holds, how it was made, what failed.",
    )(info)
    app.command(epilog=examples("mlipq verify out"), short_help="Check hashes, schema and sums of charges.")(verify)
    app.command(
        epilog=examples(
            "mlipq export out --to extxyz -o all.extxyz.gz --energy gfn1/energy", "mlipq export out --to h5 -o out-h5"
        ),
        short_help="Write a dataset as extxyz, Zarr or HDF5.",
    )(export)


def info(dataset: DatasetPath, failures: Failures = False, as_json: bool = JSON_OPTION) -> None:
    """Describe a dataset: what it holds, how it was made, what is flagged."""
    if failures:
        _print_failures(dataset, as_json)
        return
    from mlipq.store import open_dataset

    opened = open_dataset(dataset)
    manifest = opened.manifest
    if as_json:
        whole = manifest.model_dump(mode="json") if manifest else {}
        arrays = [{"name": spec.name, **spec.attributes()} for spec in opened.specs.values()]
        print_json({"dataset": str(dataset), "structures": len(opened), "arrays": arrays, **whole})
        return
    print_table(str(dataset), _description(manifest) if manifest else {"structures": len(opened)})
    print()
    print_table("labels", _arrays(opened.specs))


def _description(manifest: "Manifest") -> dict[str, Any]:
    return {
        "structures": f"{manifest.n_structures:,} with {manifest.n_atoms:,} atoms",
        "elements": " ".join(manifest.elements),
        "level of theory": manifest.level_of_theory,
        "shards": f"{len(manifest.shards):,}, {sum(entry.bytes for entry in manifest.shards) / 1e6:,.2f} MB",
        "failed": manifest.failures,
        "flagged": manifest.quality,
        "SCF rungs": {f"#{rung}": count for rung, count in manifest.scf_attempts.items()},
        "duplicates": manifest.duplicates,
        "conflicts": _first(
            [f"{c.kept} kept, {c.dropped} left out: {', '.join(c.labels)}" for c in manifest.conflicts]
        ),
        "energy outliers": _first([f"{o.identity}, z = {o.z_score:.0f}" for o in manifest.outliers]),
        "made with": manifest.provenance.software,
    }


def _first(items: list[str]) -> str:
    more = f"; and {len(items) - LISTED:,} more in manifest.json" if len(items) > LISTED else ""
    return "; ".join(items[:LISTED]) + more


def _arrays(specs: "dict[str, ArraySpec]") -> dict[str, str]:
    """Labels one a row; what else the input carried on one row together."""
    rows = {}
    for spec in specs.values():
        if "/" in spec.name and not spec.name.startswith("info/"):
            numbers = f" ({' × '.join(map(str, spec.shape))})" if spec.shape else ""
            unit = f" in {spec.unit}" if spec.unit else ""
            theory = f", {spec.level_of_theory}" if spec.level_of_theory else ""
            rows[spec.name] = f"per {spec.level}{numbers}{unit}: {spec.description}{theory}"
    others = sorted(name.removeprefix("info/") for name in specs if name.startswith("info/"))
    return {**rows, "info/": ", ".join(others)}


def _print_failures(dataset: Path, as_json: bool) -> None:
    ledger = dataset / "failures.csv"
    if not ledger.is_file():
        raise InputError(
            f"{dataset}: there is no failures.csv here; it stands in the output folder of a labeling job that is finished "
            "(see: mlipq status)"
        )
    with ledger.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        name = f" ({row['name']})" if row["name"] else ""
        print(f"{row['source_file'] or 'memory'} frame {row['source_index']}{name}: {row['error']}: {row['message']}")
    print(f"{counted(len(rows), 'structure')} failed; the ledger is {ledger}")


def verify(dataset: DatasetPath, as_json: bool = JSON_OPTION) -> None:
    """Check a dataset: hashes, schema, and that orbital charges add up. Exit code 1 if anything is wrong."""
    from mlipq.store import open_dataset
    from mlipq.store.verify import verify_dataset

    problems = verify_dataset(dataset)
    opened = None if problems else open_dataset(dataset)
    structures = len(opened) if opened is not None else 0
    if as_json:
        print_json({"dataset": str(dataset), "problems": problems, "structures": structures})
        if problems:
            raise typer.Exit(CheckError.exit_code)
    elif problems:
        title = f"{dataset}: {counted(len(problems), 'problem')}"
        raise CheckError("\n".join([title, *(f"  {problem}" for problem in problems)]))
    elif opened is not None:
        what = f"{counted(len(opened.files), 'shard')} with {counted(structures, 'structure')}"
        expected = "as the manifest says" if opened.manifest else "intact"
        print(f"{dataset}: {what}, {expected}; the charges add up")


def export(
    dataset: DatasetPath,
    to: To,
    output: Target,
    energy: Energy = None,
    forces: Forces = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a dataset in another format; shards of Zarr and HDF5 hold the same arrays, extxyz goes to anything that reads ASE's."""
    from mlipq.cli.progress import Bar
    from mlipq.store import export as export_dataset
    from mlipq.store import open_dataset

    opened = open_dataset(dataset)
    with Bar("writing") as bar:
        bar.begin("writing", len(opened))
        exported = export_dataset(
            opened, output, to, energy, forces, lambda done, total: bar.show(f"{done:,} of {total:,} structures", done)
        )
    total, lacking = exported.structures, exported.without_energy
    if as_json:
        chosen = {"energy": exported.energy, "without_energy": lacking} if exported.energy else {}
        print_json({"output": str(output), "format": to, "structures": total, **chosen})
    else:
        without = f"; {lacking:,} of {counted(total, 'structure')} have no {exported.energy}" if lacking else ""
        print(f"{counted(total, 'structure')} written to {output}{without}")
