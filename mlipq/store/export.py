"""A dataset in another format: Zarr, HDF5 or extended XYZ."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import ArraySpec
from mlipq.store.columns import is_missing
from mlipq.store.commit import committing, committing_folder
from mlipq.store.dataset import Dataset
from mlipq.store.extxyz import frame_text
from mlipq.store.files import open_shard, read_shard, shard_suffix, write_shard
from mlipq.store.labels import is_energy, is_forces
from mlipq.store.manifest import MANIFEST, Manifest, ShardEntry
from mlipq.store.packing import REFERENCE, atoms_at
from mlipq.store.table import Table

Format = Literal["extxyz", "zarr", "h5"]
Progress = Callable[[int, int], None]
"""Called with the number of structures done, and of all."""


@dataclass(frozen=True)
class Exported:
    """What was written: all structures, the array that gave extxyz its ``energy``, and how many structures lack it."""

    structures: int
    energy: str | None = None
    without_energy: int = 0


_SUFFIXES = {"zarr": ".zarr.zip", "h5": ".h5"}


def export(
    dataset: Dataset,
    path: str | Path,
    to: Format,
    energy: str | None = None,
    forces: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write a dataset in another format; nothing stands under ``path`` before all of it is there.

    Parameters
    ----------
    dataset
        What to write.
    path
        For ``extxyz`` a file (compressed where it ends in ``.gz``), else a folder that does not exist yet, or is empty.
    to
        ``zarr`` and ``h5`` give a dataset with the same shards, arrays exactly equal. ``extxyz`` gives one file with
        every array under its name with ``/`` as ``_``.
    energy, forces
        For ``extxyz``: the arrays that the standard keys ``energy`` and ``forces`` shall hold. ``energy`` may be left
        out where there is no choice; ``forces`` then are those of the same source.
    progress
        Called after each shard.

    Returns
    -------
    Exported
        What was written.

    Raises
    ------
    InputError
        If several arrays could be the energy and none was named, if a named array is not there or does not fit, or if
        ``path`` is taken.
    """
    path = Path(path)
    if to == "extxyz":
        return _export_extxyz(dataset, path, energy, forces, progress)
    if energy or forces:
        raise InputError(f"energy and forces are chosen for extxyz alone; {to} keeps every array under its own name")
    _export_shards(dataset, path, _SUFFIXES[to], progress)
    return Exported(len(dataset))


def _export_extxyz(
    dataset: Dataset, path: Path, energy: str | None, forces: str | None, progress: Progress
) -> Exported:
    if path.exists():
        raise InputError(f"{path} is there already; name a file that does not exist yet")
    energy = _chosen_energy(dataset.specs, energy)
    forces = _chosen_forces(dataset.specs, energy, forces)
    done = without_energy = 0
    with committing(path) as raw, _compressed(raw, path) as file:
        for table in dataset.tables():
            for row in range(len(table)):
                value = _energy_of(table, row, energy)
                without_energy += energy is not None and value is None
                file.write(frame_text(atoms_at(table, row), value, _forces_of(table, row, forces)).encode("utf-8"))
            done += len(table)
            progress(done, len(dataset))
    return Exported(done, energy, without_energy)


@contextmanager
def _compressed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        yield cast(BinaryIO, packed)


def _energy_of(table: Table, row: int, name: str | None) -> float | None:
    value = None if name is None else float(table.arrays[name][row])
    return None if value is None or np.isnan(value) else value


def _forces_of(table: Table, row: int, name: str | None) -> NDArray | None:
    value = None if name is None else table.arrays[name][table.atoms_of(row)]
    return None if value is None or is_missing(value) else value


def _chosen_energy(specs: dict[str, ArraySpec], name: str | None) -> str | None:
    choices = [spec.name for spec in specs.values() if is_energy(spec)]
    if name is None and len(choices) > 1:
        options = " or ".join(f"--energy {choice}" for choice in choices)
        raise InputError(f"several arrays could be the energy; choose one: {options}")
    if name is None:
        return choices[0] if choices else None
    if name not in choices:
        raise InputError(
            f"{name!r} cannot be the energy; this dataset has {', '.join(choices) or 'none'}. A field of the input becomes "
            "one when it is labelled with --reference"
        )
    return name


def _chosen_forces(specs: dict[str, ArraySpec], energy: str | None, name: str | None) -> str | None:
    if name is None:
        if energy is None:
            return None
        matching = [s.name for s in specs.values() if is_forces(s) and _same_source(s, specs[energy])]
        return matching[0] if len(matching) == 1 else None
    choices = [spec.name for spec in specs.values() if is_forces(spec)]
    if name not in choices:
        raise InputError(f"{name!r} cannot be the forces; this dataset has {', '.join(choices) or 'none'}")
    return name


def _same_source(one: ArraySpec, other: ArraySpec) -> bool:
    """True for the energy and forces of one labeler, or of one level of theory among the references."""
    source = one.name.partition("/")[0]
    same = source == other.name.partition("/")[0]
    return same and (f"{source}/" != REFERENCE or one.level_of_theory == other.level_of_theory)


def _export_shards(dataset: Dataset, path: Path, suffix: str, progress: Progress) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is there already; name a folder that does not exist yet")
    with committing_folder(path) as folder:
        (folder / "shards").mkdir()
        entries, done = [], 0
        for file, name in zip(dataset.files, _shard_names(dataset.files, suffix), strict=True):
            table = read_shard(file)
            with open_shard(file) as shard:
                attributes = shard.attributes
            write_shard(folder / name, table, attributes)
            entries.append(ShardEntry.of(folder, name, table))
            done += len(table)
            progress(done, len(dataset))
        manifest = dataset.manifest or Manifest(shards=[], arrays=list(dataset.specs.values()))
        manifest.model_copy(update={"shards": entries}).write(folder / MANIFEST)


def _shard_names(files: list[Path], suffix: str) -> list[str]:
    """Name the new shards after the old ones, or number them where two would share a name."""
    stems = [file.name.removesuffix(shard_suffix(file)) for file in files]
    if len(set(stems)) < len(stems):
        stems = [f"part-{number:05d}" for number in range(len(stems))]
    return [f"shards/{stem}{suffix}" for stem in stems]
