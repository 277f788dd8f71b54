"""Extended XYZ: one file that ASE reads, and with it NequIP and much else; compressed where its name ends in ``.gz``.

Every array stands there under its name with ``/`` as ``_``; the chosen energy and forces also under the standard keys.
"""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ase import Atoms
from numpy.typing import NDArray

from mlipq.store.commit import committing
from mlipq.store.exporters.exporter import PROGRESS_EVERY, Exporter, Progress
from mlipq.store.exporters.frames import frame_text
from mlipq.store.exporters.labels import Labels
from mlipq.store.packing import atoms_at
from mlipq.store.reader.dataset import Dataset

Frame = Callable[[Atoms, float | None, NDArray | None], str]
"""Makes the text of one structure of its energy and its forces."""


def write(dataset: Dataset, path: Path, labels: Labels, progress: Progress) -> int:
    """Write all structures."""
    return write_frames(dataset, path, labels, progress, frame_text)


def write_frames(
    dataset: Dataset, path: Path, labels: Labels, progress: Progress, frame: Frame, first: str = ""
) -> int:
    """Write ``first``, then each structure as ``frame`` makes it; return the structures written."""
    done = 0
    with committing(path) as raw, _compressed(raw, path) as file:
        file.write(first.encode())
        for table in dataset.tables():
            for row in range(len(table)):
                file.write(frame(atoms_at(table, row), *labels.of(table, row)).encode())
                done += 1
                if done % PROGRESS_EVERY == 0:
                    progress(done, len(dataset))
            labels.count_gaps(table)
    progress(done, len(dataset))
    return done


@contextmanager
def _compressed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        yield cast(BinaryIO, packed)


EXPORTER = Exporter("extended XYZ for ASE, NequIP and others", write, suffix=".extxyz", energy="one")
