"""Neighbour lists that are found once: files beside the materialised arrays, mapped into memory.

They stand in the dataset's entry in the cache folder, one folder for each cutoff and choice of structures, and go when
``mlipq cache clear`` removes the entry.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError, MlipqError
from mlipq.store import Dataset
from mlipq.store.commit import committing_folder, sync_file
from mlipq.store.table import offsets_from
from mlipq.training.models.batch import BadGeometryError, Neighbours, find_neighbours

LAYOUT = 1
"""Number of the arrangement of the files."""
BLOCK = 1000
"""Structures whose lists are in memory together."""

_OFFSETS, _COLUMNS = "offsets", ("senders", "receivers", "shifts")

Progress = Callable[[int, int], None]
"""Called with the number of structures done, and of all."""


def neighbours_of(
    dataset: Dataset, rows: NDArray[np.int64], cutoff: float, progress: Progress = lambda done, total: None
) -> Neighbours:
    """Return the neighbour lists of some structures, found now or in an earlier run.

    Parameters
    ----------
    dataset
        Materialised.
    rows
        Structures, ascending.
    cutoff
        In Å.
    progress
        Called now and then while they are found.

    Raises
    ------
    InputError
        If two atoms of a structure are at the same place, or a coordinate is not finite; the message names the structure.
    """
    folder = dataset.cache_folder / f"neighbours-{_key(rows, cutoff)}"
    found = _open(folder, len(rows))
    if found is None:
        shutil.rmtree(folder, ignore_errors=True)  # damaged, if there
        try:
            with committing_folder(folder) as temporary:
                _write(temporary, _blocks(dataset, rows, cutoff, progress))
        except MlipqError as error:
            if not isinstance(error.__cause__, OSError):  # it is not about files, but about a structure
                raise
        # another process may have made it meanwhile; else the cache cannot be written to
        found = _open(folder, len(rows))
    return found if found is not None else _joined(list(_blocks(dataset, rows, cutoff, progress)))


def _key(rows: NDArray[np.int64], cutoff: float) -> str:
    content = {
        "layout": LAYOUT,
        "vesin": version("vesin"),
        "cutoff": cutoff,
        "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _blocks(dataset: Dataset, rows: NDArray[np.int64], cutoff: float, progress: Progress) -> Iterator[Neighbours]:
    """Yield the lists of some structures after the other; with shifts, if any of all structures is periodic."""
    names = ["positions", *(name for name in ("cell", "pbc") if name in dataset.specs)]
    periodic = "pbc" in dataset.specs and dataset.batch(rows, ["pbc"])["pbc"].any()
    for start in range(0, max(len(rows), 1), BLOCK):
        block = rows[start : start + BLOCK]
        arrays = dataset.batch(block, names)
        try:
            found = find_neighbours(arrays, cutoff)
        except BadGeometryError as error:
            structure = dataset.structure(block[error.row])
            raise InputError(
                f"{dataset.path}: structure {block[error.row]} ({structure.name}, from {structure.source_file}) {error.problem}"
            ) from None
        if periodic and found.shifts is None:
            found = replace(found, shifts=np.zeros((len(found.senders), 3), dtype=np.int32))
        yield found
        progress(start + len(block), len(rows))


def _joined(blocks: list[Neighbours]) -> Neighbours:
    counts = np.concatenate([np.diff(block.offsets) for block in blocks])
    shifts = [block.shifts for block in blocks if block.shifts is not None]
    return Neighbours(
        offsets_from(counts),
        np.concatenate([block.senders for block in blocks]),
        np.concatenate([block.receivers for block in blocks]),
        np.concatenate(shifts) if shifts else None,
    )


def _write(folder: Path, blocks: Iterable[Neighbours]) -> None:
    """Append block by block to plain files of little-endian numbers; at the end the offsets."""
    counts = []
    with ExitStack() as files:
        opened = {name: files.enter_context(open(folder / name, "xb")) for name in _COLUMNS}
        for block in blocks:
            counts.append(np.diff(block.offsets))
            for name, file in opened.items():
                values = getattr(block, name)
                if values is not None:
                    file.write(np.ascontiguousarray(values, dtype="<i4").data)
    offsets_from(np.concatenate(counts)).astype("<i8").tofile(folder / _OFFSETS)
    for name in (*_COLUMNS, _OFFSETS):
        sync_file(folder / name)


def _open(folder: Path, structures: int) -> Neighbours | None:
    """Map the files; ``None`` where there are none, or one was cut off."""
    try:
        offsets = _mapped(folder / _OFFSETS, "<i8")
        senders, receivers, shifts = (_mapped(folder / name, "<i4") for name in _COLUMNS)
    except OSError:
        return None
    if len(offsets) != structures + 1 or not len(senders) == len(receivers) == offsets[-1]:
        return None
    if len(shifts) not in (0, 3 * len(senders)):
        return None
    return Neighbours(offsets, senders, receivers, shifts.reshape(-1, 3) if len(shifts) else None)


def _mapped(file: Path, dtype: str) -> NDArray:
    if file.stat().st_size == 0:  # which cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.asarray(np.memmap(file, dtype=dtype, mode="r"))
