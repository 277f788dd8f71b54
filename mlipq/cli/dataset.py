"""The verbs that look at a dataset: ``info`` and ``verify``."""

import csv
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table, printable
from mlipq.errors import CheckError, InputError

if TYPE_CHECKING:
    from mlipq.schema import ArraySpec
    from mlipq.store import Manifest

LISTED = 5
"""Conflicts and outliers; the manifest has them all."""

DatasetPath = Annotated[Path, argument("Folder of a dataset, or one shard.", "DATASET")]
DatasetName = Annotated[
    str, argument("Folder of a dataset, one shard, or a published dataset's name, as qm7-gfn1@1.0.0.", "DATASET")
]
Failures = Annotated[bool, option("List the structures that failed, and why.", "--failures")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(
        epilog=examples(
            "mlipq info out", "mlipq info qm7-gfn1@1.0.0", "mlipq info out --failures", "mlipq info out --json"
        ),
        short_help="What a dataset holds, how it was made, what failed.",
    )(info)
    app.command(
        epilog=examples("mlipq verify out", "mlipq verify qm7-gfn1"),
        short_help="Check hashes, schema, labels, and what the manifest says.",
    )(verify)


def info(dataset: DatasetName, failures: Failures = False, as_json: bool = JSON_OPTION) -> None:
    """Describe a dataset: what it holds, how it was made, what is flagged. Of a published one no shard is pulled for that."""
    from mlipq.hub import locate
    from mlipq.store import open_dataset

    path = locate(dataset, shards=())
    if failures:
        _print_failures(path, as_json)
        return
    with warnings.catch_warnings(action="ignore"):  # that shards are missing is said below
        opened = open_dataset(path)
    manifest = opened.manifest and opened.manifest.model_copy(
        update={"shards": [*opened.manifest.shards, *opened.missing]}
    )
    structures = manifest.n_structures if manifest else len(opened)
    if as_json:
        whole = manifest.model_dump(mode="json") if manifest else {}
        arrays = [{"name": spec.name, **spec.attributes()} for spec in opened.specs.values()]
        missing = [entry.file for entry in opened.missing]
        print_json(
            {
                "dataset": dataset,
                "path": str(path),
                "structures": structures,
                "missing": missing,
                "arrays": arrays,
                **whole,
            }
        )
        return
    here = f"{len(opened.files):,} of {counted(len(manifest.shards), 'shard')}" if manifest and opened.missing else ""
    print_table(str(dataset), {**_description(manifest), "pulled": here} if manifest else {"structures": structures})
    print()
    print_table("labels", _arrays(opened.specs, manifest))


def _description(manifest: "Manifest") -> dict[str, Any]:
    return {
        "description": manifest.description,
        "version": manifest.version,
        "licence": manifest.licence,
        "structures": f"{manifest.n_structures:,} with {manifest.n_atoms:,} atoms",
        "elements": " ".join(manifest.elements),
        "level of theory": manifest.level_of_theory,
        "shards": f"{len(manifest.shards):,}, {sum(entry.bytes for entry in manifest.shards) / 1e6:,.2f} MB",
        "splits": _first([f"{name} ({_text_of(split.counts)})" for name, split in manifest.splits.items()]),
        "failed": manifest.failures,
        "flagged": manifest.quality,
        "SCF rungs": {f"#{rung}": count for rung, count in manifest.scf_attempts.items()},
        "duplicates": manifest.duplicates,
        "conflicts": _first(
            [f"{c.kept} kept, {c.dropped} left out: {', '.join(c.labels)}" for c in manifest.conflicts]
        ),
        "energy outliers": _first([f"{o.identity}, z = {o.z_score:.0f}" for o in manifest.outliers]),
        "made with": manifest.provenance.software,
        "citation": manifest.citation,
    }


def _first(items: list[str]) -> str:
    more = f"; and {len(items) - LISTED:,} more in manifest.json" if len(items) > LISTED else ""
    return "; ".join(items[:LISTED]) + more


def _text_of(counts: dict[str, int]) -> str:
    return ", ".join(f"{part} {n:,}" for part, n in counts.items())


def _arrays(specs: "dict[str, ArraySpec]", manifest: "Manifest | None") -> dict[str, str]:
    """Labels one a row, with how many structures have them where not all do; what else the input carried on one row together."""
    rows = {}
    for spec in specs.values():
        if "/" in spec.name and not spec.name.startswith("info/"):
            numbers = f" ({' × '.join(map(str, spec.shape))})" if spec.shape else ""
            unit = f" in {spec.unit}" if spec.unit else ""
            theory = f", {spec.level_of_theory}" if spec.level_of_theory else ""
            some = _some(spec, manifest) if manifest else ""
            rows[spec.name] = f"per {spec.level}{numbers}{unit}: {spec.description}{theory}{some}"
    others = sorted(name.removeprefix("info/") for name in specs if name.startswith("info/"))
    return {**rows, "info/": ", ".join(others)}


def _some(spec: "ArraySpec", manifest: "Manifest") -> str:
    """How many structures, or atoms, have a label, where not all do."""
    statistics = manifest.statistics.get(spec.name)
    whole = manifest.n_structures if spec.level == "structure" else manifest.n_atoms
    if not manifest.statistics or not spec.dtype.startswith("f") or not (size := math.prod(spec.shape)):
        return ""
    there = statistics.count // size if statistics else 0
    return f"; {there:,} of {counted(whole, spec.level)} have it" if there < whole else ""


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
        where = f"{row['source_file'] or 'memory'} frame {row['source_index']}{name}"
        print(printable(f"{where}: {row['error']}: {row['message']}"))
    print(f"{counted(len(rows), 'structure')} failed; the ledger is {ledger}")


def verify(dataset: DatasetName, as_json: bool = JSON_OPTION) -> None:
    """Check a dataset: hashes, schema, labels, and what the manifest says of them. Exit code 1 if anything is wrong."""
    from mlipq.cli.progress import ShardBar
    from mlipq.hub import locate
    from mlipq.store import open_dataset
    from mlipq.store.checking.verify import verify_dataset

    path = locate(dataset)
    with ShardBar("checking") as bar:
        problems = verify_dataset(path, bar.at)
    opened = None if problems else open_dataset(path)
    structures = len(opened) if opened is not None else 0
    if as_json:
        print_json({"dataset": dataset, "problems": problems, "structures": structures})
        if problems:
            raise typer.Exit(CheckError.exit_code)
    elif problems:
        title = f"{dataset}: {counted(len(problems), 'problem')}"
        raise CheckError("\n".join([title, *(f"  {problem}" for problem in problems)]))
    elif opened is not None:
        what = f"{counted(len(opened.files), 'shard')} with {counted(structures, 'structure')}"
        expected = "as the manifest says" if opened.manifest else "intact"
        print(f"{dataset}: {what}, {expected}; the charges add up")
