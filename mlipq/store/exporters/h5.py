"""HDF5: a dataset whose shards are ``.h5`` files, its arrays exactly equal."""

from pathlib import Path

from mlipq.store.exporters.exporter import Exporter, Progress
from mlipq.store.exporters.labels import Labels
from mlipq.store.exporters.shards import write_dataset
from mlipq.store.reader.dataset import Dataset


def write(dataset: Dataset, folder: Path, labels: Labels, progress: Progress) -> int:
    """Write all structures."""
    return write_dataset(dataset, folder, labels, progress, ".h5")


EXPORTER = Exporter("a dataset in HDF5", write, suffix="", energy="kept")
