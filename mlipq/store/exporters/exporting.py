"""A dataset in another project's format."""

from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import InputError
from mlipq.store.commit import committing_folder, refuse_taken
from mlipq.store.exporters.exporter import Exporter, Progress, exporter_of
from mlipq.store.exporters.labels import Labels, chosen_labels
from mlipq.store.reader.dataset import Dataset


@dataclass(frozen=True)
class Exported:
    """What was written: structures, the array that is the energy, how many structures lack it, and what else to know."""

    structures: int
    energy: str | None = None
    without_energy: int = 0
    remark: str = ""


def export(
    dataset: Dataset,
    path: str | Path,
    to: str,
    energy: str | None = None,
    forces: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write a dataset in another format; nothing stands under ``path`` before all of it is there.

    Parameters
    ----------
    dataset
        What to write; a selection gives its structures alone.
    path
        A file that does not exist yet, or, for formats of several files, a folder that does not exist yet or is empty.
    to
        One of :data:`mlipq.formats.EXPORTERS`: ``extxyz`` (also NequIP), ``mace``, ``fairchem``, ``parquet``, ``zarr``,
        ``h5``; each module of :mod:`mlipq.store.exporters` says what it writes.
    energy, forces
        The arrays that become *the* energy and forces. ``energy`` may be left out where there is no choice; ``forces``
        then are those of the same source. In ``zarr`` and ``h5`` they keep their names, as all arrays do.
    progress
        Called after each shard.

    Raises
    ------
    InputError
        If there is no such format, several arrays could be the energy and none was named, a named array is not there or
        does not fit, or ``path`` is taken.
    """
    path = Path(path)
    exporter = exporter_of(to)
    labels = _labels(dataset, exporter, to, energy, forces)
    if exporter.suffix:
        if path.exists():
            raise InputError(f"{path} is there already; name a file that does not exist yet")
        written = exporter.write(dataset, path, labels, progress)
    else:
        refuse_taken(path)
        with committing_folder(path) as folder:
            written = exporter.write(dataset, folder, labels, progress)
    return Exported(written, labels.energy, labels.without_energy, labels.remark)


def _labels(dataset: Dataset, exporter: Exporter, to: str, energy: str | None, forces: str | None) -> Labels:
    if exporter.energy == "one" or energy:
        return chosen_labels(dataset.specs, energy, forces)
    if forces:
        raise InputError(f"--forces {forces}: --to {to} takes the forces beside an energy; name it too, with --energy")
    return Labels()
