"""The verbs ``cache list``, ``cache add`` and ``cache clear``: datasets as memory-mapped arrays in the cache folder."""

import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli.dataset import DatasetPath
from mlipq.cli.options import examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table
from mlipq.errors import InputError

if TYPE_CHECKING:
    from mlipq.store import CachedDataset

SHOWN_KEY = 12
"""Digits of a key that are shown; any number of them that tells entries apart is enough."""

Which = Annotated[
    list[str] | None,
    typer.Argument(help="Key, name, or folder of the dataset.", metavar="[KEY|DATASET]...", show_default=False),
]
Everything = Annotated[bool, option("All of them.", "--all")]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    cache = typer.Typer(
        help="Datasets as memory-mapped arrays in the cache folder, for fast random access.\n\n"
        "Dataset.materialise() puts them there; they stay until they are cleared. MLIPQ_CACHE names another folder.",
        short_help="List, add and clear datasets kept as memory-mapped arrays.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    cache.command("list", short_help="What is in the cache.", epilog=examples("mlipq cache list"))(show)
    cache.command(short_help="Put a dataset into the cache.", epilog=examples("mlipq cache add out"))(add)
    cache.command(
        short_help="Remove datasets from the cache.",
        epilog=examples("mlipq cache clear out", "mlipq cache clear --all"),
    )(clear)
    app.add_typer(cache, name="cache")


def show(as_json: bool = JSON_OPTION) -> None:
    """List the datasets in the cache, the one used last first."""
    from mlipq import resources
    from mlipq.store import cached_datasets

    entries = cached_datasets()
    if as_json:
        print_json({"cache": str(resources.cache()), "datasets": [_record(entry) for entry in entries]})
        return
    title = f"{resources.cache()}: {counted(len(entries), 'dataset')}, {_size(sum(entry.bytes for entry in entries))}"
    print_table(title, {entry.key[:SHOWN_KEY]: _description(entry) for entry in entries})


def add(dataset: DatasetPath, as_json: bool = JSON_OPTION) -> None:
    """Put a dataset into the cache, ahead of its first use; one that is there already stays as it is."""
    from mlipq.cli.progress import Bar, duration
    from mlipq.store import cached_datasets, open_dataset

    opened = open_dataset(dataset)
    started = time.monotonic()
    with Bar("materialising") as bar:
        bar.begin("materialising", len(opened))

        def progress(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started, 1e-9)
            left = duration((total - done) / rate) if rate else "?"
            bar.show(f"{done:,} of {total:,} structures, {rate:,.0f} structures/s, {left} left", done)

        key = opened.materialise(progress).cache_key
    entry = next(entry for entry in cached_datasets() if entry.key == key)
    if as_json:
        print_json(_record(entry))
    else:
        print(f"{dataset}: {counted(entry.structures, 'structure')}, {_size(entry.bytes)} in {entry.folder}")


def clear(which: Which = None, everything: Everything = False, as_json: bool = JSON_OPTION) -> None:
    """Remove datasets from the cache, and whatever killed processes left there. The datasets themselves stay."""
    from mlipq.store import cached_datasets, remove_cached

    if bool(which) == everything:
        raise InputError("name a dataset, or a key that mlipq cache list shows, to be removed; or give --all alone")
    entries = cached_datasets()
    removed = {entry.key: entry for text in which or [] for entry in _chosen(text, entries)}
    if everything:
        removed = {entry.key: entry for entry in entries}
    remove_cached(removed)
    freed = sum(entry.bytes for entry in removed.values())
    if as_json:
        print_json({"removed": list(removed), "bytes": freed})
    else:
        print(f"{counted(len(removed), 'dataset')} removed from the cache, {_size(freed)} freed")


def _chosen(text: str, entries: "list[CachedDataset]") -> "list[CachedDataset]":
    """Return the entries that a name, a path, a key, or the start of one key means."""
    from mlipq.store import open_dataset

    path = str(Path(text).absolute())
    meant = [entry for entry in entries if text in {entry.key, entry.name} - {""} or path == entry.made_from]
    if not meant and Path(path).exists():  # moved since
        key = open_dataset(path).cache_key
        meant = [entry for entry in entries if entry.key == key]
    if meant:
        return meant
    begun = [entry for entry in entries if entry.key.startswith(text)]
    if len(begun) != 1:
        raise InputError(f"{text!r} is the start of {counted(len(begun), 'key')}; see what there is:  mlipq cache list")
    return begun


def _record(entry: "CachedDataset") -> dict[str, Any]:
    return {**asdict(entry), "folder": str(entry.folder), "last_used": _when(entry.last_used)}


def _description(entry: "CachedDataset") -> str:
    if not entry.whole:
        return f"{_size(entry.bytes)}, damaged: it will be made anew when it is next used"
    used = f"used {_when(entry.last_used)}"
    return ", ".join([counted(entry.structures, "structure"), _size(entry.bytes), used, entry.name or entry.made_from])


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
