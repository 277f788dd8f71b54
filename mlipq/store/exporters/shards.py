"""A dataset's arrays in shards of one format, with a manifest: a dataset again."""

from functools import partial
from pathlib import Path

from mlipq.store.exporters.exporter import Progress
from mlipq.store.exporters.labels import Labels
from mlipq.store.manifest import MANIFEST, Manifest, Split
from mlipq.store.reader.dataset import Dataset
from mlipq.store.shards.files import open_shard, write_shard
from mlipq.store.splits import write_split
from mlipq.store.statistics import summarise
from mlipq.store.tally import Tally


def write_dataset(dataset: Dataset, folder: Path, labels: Labels, progress: Progress, suffix: str) -> int:
    """Write every array in shards of this format, one for each that holds structures, and the manifest and splits.

    The manifest of a whole dataset says what it said, but for name and version: those are of files with other bytes. That
    of a selection, or of a single shard, counts its own.
    """
    (folder / "shards").mkdir()
    tally = Tally()
    done = 0
    for file, table in zip(dataset.files, dataset.tables(), strict=True):
        if len(table):
            name = f"shards/part-{len(tally.entries):05d}{suffix}"
            tally.add(name, *write_shard(folder / name, table, _attributes(file)), table)
            labels.count_gaps(table)
        done += len(table)
        progress(done, len(dataset))
    own = {"shards": tally.entries, "documents": [], "name": "", "version": ""}
    manifest = _manifest(dataset, tally).model_copy(update=own)
    splits = _write_splits(dataset, manifest, folder)
    manifest.model_copy(update={"splits": splits}).write(folder / MANIFEST)
    return done


def _attributes(file: Path) -> dict:
    """What the shard says of itself, where it is on this machine."""
    if not file.is_file():
        return {}
    with open_shard(file) as shard:
        return shard.attributes


def _manifest(dataset: Dataset, tally: Tally) -> Manifest:
    whole = dataset.manifest
    if whole and not dataset.missing and len(dataset) == whole.n_structures:
        return whole
    found = summarise(dataset.tables(), partial(dataset.tables))
    counted = Manifest(**{**tally.fields(), "arrays": list(dataset.specs.values())}, **vars(found))
    if whole is None:
        return counted
    carried = {"licence", "citation", "level_of_theory", "provenance", "splits"}
    return counted.model_copy(update={name: getattr(whole, name) for name in carried})


def _write_splits(dataset: Dataset, manifest: Manifest, folder: Path) -> dict[str, Split]:
    """Write the splits with the parts of these structures alone."""
    if not manifest.splits:
        return {}
    identities = dataset["identity"][:]
    return {
        name: write_split(folder, split.file, identities, dataset.split(name).of(identities), split.made_by)
        for name, split in manifest.splits.items()
    }
