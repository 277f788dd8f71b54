"""Zarr: a dataset whose shards are ``.zarr.zip`` files, its arrays exactly equal."""

from pathlib import Path

from mlipq.store.exporters.exporter import Exporter, Progress
from mlipq.store.exporters.labels import Labels
from mlipq.store.exporters.shards import write_dataset
from mlipq.store.reader.dataset import Dataset


def write(dataset: Dataset, folder: Path, labels: Labels, progress: Progress) -> int:
    """Write all structures."""
    return write_dataset(dataset, folder, labels, progress, ".zarr.zip")


EXPORTER = Exporter("a dataset in Zarr", write, suffix="", energy="kept")
