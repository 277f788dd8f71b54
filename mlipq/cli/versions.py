"""The verbs that make dataset versions: ``data publish``, ``data diff``, ``data split``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table
from mlipq.errors import CheckError

if TYPE_CHECKING:
    from mlipq.hub import Difference, Published
    from mlipq.hub.diff import Relabelled

Source = Annotated[Path, argument("Folder of a dataset.", "FOLDER")]
Name = Annotated[str, option("Lower-case letters and digits, with dashes between.", metavar="NAME")]
VersionNumber = Annotated[str, option("As 1.0.0.", "--version", metavar="MAJOR.MINOR.PATCH")]
Licence = Annotated[str, option("SPDX identifier, as CC-BY-4.0.", metavar="ID")]
Citation = Annotated[str, option("What users shall cite.", metavar="TEXT")]
To = Annotated[
    str, option("Folder; or URL, as s3://bucket/path or hf://datasets/me/my-set.", "--to", metavar="FOLDER|URL")
]
Description = Annotated[str, option("A few sentences for the card.", metavar="TEXT")]
Mirrors = Annotated[
    list[str] | None, option("URL below which a copy will be; may be repeated.", "--mirror", metavar="URL")
]
ShardMegabytes = Annotated[float, option("Size of a shard, about; default 32.", "--shard-mb", metavar="<MB>")]
DryRun = Annotated[bool, option("Make everything, write nothing.", "--dry-run")]
Old = Annotated[str, argument("Name, folder, or a manifest's path or URL.", "OLD")]
New = Annotated[str, argument("What to compare with it.", "NEW")]
By = Annotated[str, option("random, group, elements, or an array whose values name the parts.", "--by", metavar="HOW")]
Parts = Annotated[
    str, option("As train=0.8,val=0.1,test=0.1 (the default) or test=1101,pool=rest.", metavar="NAME=SIZE,…")
]
SplitName = Annotated[str, option("Of the split; default how it is made.", "--name", metavar="NAME")]
Seed = Annotated[int, option("Another one gives another split; default 0.")]
Elements = Annotated[str, option("With --by elements: whatever has one of these is held out as test.", metavar="Fe,Co")]

Within = Annotated[str, option("Divide only this part of another split, as random/pool.", metavar="SPLIT/PART")]


def add_verbs(data: typer.Typer) -> None:
    """Register the verbs of this module."""
    published = "mlipq data publish out --name my-set --version 1.0.0 --licence CC-BY-4.0 --citation 'A. Author, 2026'"
    data.command(
        epilog=examples(f"{published} --to datasets", f"{published} --to s3://bucket/datasets --dry-run"),
        short_help="Publish a folder as a version, which never changes afterwards.",
    )(publish)
    data.command(
        epilog=examples("mlipq data diff my-set@1.0.0 my-set@1.1.0", "mlipq data diff out out-made-again"),
        short_help="Structures added, removed, relabelled; exit code 1 where two versions differ.",
    )(diff)
    data.command(
        epilog=examples(
            "mlipq data split out --by random --parts test=1101,pool=rest",
            "mlipq data split out --by group --seed 7 --name groups-7",
            "mlipq data split out --by elements --elements Fe,Co",
            "mlipq data split out --by random --within random/pool --name settings",
        ),
        short_help="Divide an unpublished dataset into fixed, named parts.",
    )(split)


def publish(
    folder: Source,
    name: Name,
    version: VersionNumber,
    licence: Licence,
    citation: Citation,
    to: To,
    description: Description = "",
    mirror: Mirrors = None,
    shard_mb: ShardMegabytes = 32.0,
    dry_run: DryRun = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Publish a dataset: repack its shards, write its card, upload all, read it back, and write the manifest last."""
    from mlipq.cli.progress import TransferBar
    from mlipq.hub import publish as publish_dataset

    with TransferBar("publishing") as bar:
        done = publish_dataset(
            folder,
            name=name,
            version=version,
            licence=licence,
            citation=citation,
            to=to,
            description=description,
            mirrors=mirror or (),
            shard_bytes=round(shard_mb * 1e6),
            dry_run=dry_run,
            progress=bar.at,
        )
    found = _published(done, dry_run)
    if as_json:
        print_json(found)
        return
    title = {
        (True, False): f"dry run: {done.ref} would be {done.where}",
        (False, False): f"{done.ref} published: {done.where}",
    }.get((dry_run, done.was_there), f"{done.ref} was published before, with the same content: {done.where}")
    print_table(title, {**found, "bytes": f"{found['bytes'] / 1e6:,.2f} MB"})


def _published(done: "Published", dry_run: bool) -> dict[str, Any]:
    manifest = done.manifest
    return {
        "dataset": str(done.ref),
        "where": done.where,
        "structures": manifest.n_structures,
        "atoms": manifest.n_atoms,
        "shards": len(manifest.shards),
        "bytes": sum(entry.bytes for entry in manifest.shards),
        "splits": sorted(manifest.splits),
        "manifest_sha256": done.manifest_sha256,
        "bytes_moved": done.bytes_moved,
        "was_there": done.was_there,
        "dry_run": dry_run,
    }


def diff(old: Old, new: New, as_json: bool = JSON_OPTION) -> None:
    """Compare two versions, or labels made again: numbers may differ by the tolerances that the documentation states."""
    from mlipq.cli.progress import ReadingBar
    from mlipq.hub import compare, locate
    from mlipq.store import open_dataset

    one, other = open_dataset(locate(old)), open_dataset(locate(new))
    with ReadingBar("comparing") as bar:
        found = compare(one, other, bar.at)
    if as_json:
        step = None if found.step is None else found.step.name.lower()
        print_json({"old": old, "new": new, **asdict(found), "step": step})
    else:
        print_table(f"{old} → {new}", _difference(found))
    if found.step is not None:
        raise typer.Exit(CheckError.exit_code)


def _difference(found: "Difference") -> dict[str, Any]:
    named = {
        f"{what} {how}": ", ".join(getattr(of, how))
        for what, of in (("arrays", found.arrays), ("splits", found.splits))
        for how in ("added", "removed", "changed", "extended")
    }
    return {
        "structures in both": found.kept,
        "added": _counted(found.added, found.examples_added),
        "removed": _counted(found.removed, found.examples_removed),
        **{name: _relabelled(change) for name, change in found.relabelled.items()},
        **named,
        "words changed": ", ".join(found.words),
        "version": "nothing changed" if found.step is None else f"at least a {found.step.name.lower()} step",
    }


def _relabelled(change: "Relabelled") -> str:
    what = f"by up to {change.largest:.2g} (tolerance {change.tolerance:g}), in " if change.largest else ""
    return f"relabelled {what}{_counted(change.structures, change.examples)}"


def _counted(structures: int, identities: list[str]) -> str:
    if not structures:
        return ""
    more = " …" if structures > len(identities) else ""
    return f"{counted(structures, 'structure')}: {' '.join(identities)}{more}"


def split(
    folder: Source,
    by: By,
    parts: Parts = "",
    name: SplitName = "",
    seed: Seed = 0,
    elements: Elements = "",
    within: Within = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Divide the structures of an unpublished dataset into parts; the same command gives the same parts everywhere."""
    from mlipq.hub import split_dataset

    symbols = [symbol.strip() for symbol in elements.split(",") if symbol.strip()]
    made = split_dataset(folder, by, parts, name=name, seed=seed, elements=symbols, within=within)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        print_table(f"{folder / made.file}", {"made by": made.made_by, "structures": made.counts})
