"""Structures of another project's format into a dataset: checked, each kept once, packed into shards, counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from ase import Atoms

import mlipq
from mlipq.errors import InputError
from mlipq.hub.importers.importer import Importer, formats_named_so, importer_of
from mlipq.hub.importers.sources import SourceFile, find_files, fingerprint
from mlipq.store import Manifest, Table, pack, read_shard, write_shard
from mlipq.store.commit import committing_folder, refuse_taken
from mlipq.store.failures import FAILURES, Failure, write_failures
from mlipq.store.manifest import MANIFEST, Conflict, Provenance
from mlipq.store.seen import Seen
from mlipq.store.statistics import summarise
from mlipq.store.tally import Tally
from mlipq.structures import ReadOptions, ReferenceSpec, Rejected, Structure, from_atoms

SHARD_ATOMS = 250_000
"""A shard closes with this many atoms, some 10 MB with forces: they are held in memory until it is written."""

Progress = Callable[[int, float], None]
"""Called with the number of structures read, and how much of the input they are, from 0 to 1."""


def import_dataset(
    paths: Path | Sequence[Path],
    source_format: str,
    out: Path,
    level_of_theory: str = "",
    progress: Progress = lambda read, done: None,
) -> Manifest:
    """Make a dataset of files in another project's format; nothing stands under ``out`` before all of it is there.

    What is wrong with single structures goes to ``failures.csv``. Of equal structures the first is kept; where their
    labels differ, the manifest lists them among its conflicts.

    Parameters
    ----------
    paths
        Files, or folders of them.
    source_format
        One of :data:`mlipq.formats.IMPORTERS`.
    out
        A folder that does not exist yet, or is empty; its parent must be there.
    level_of_theory
        How the labels were computed, for formats whose files do not say; else it must be empty.
    progress
        Called every hundred structures.

    Returns
    -------
    Manifest
        As written to ``manifest.json``.

    Raises
    ------
    InputError
        If there is no such format, a file is missing, damaged or of another format, holds no usable structure, or ``out`` is taken.
    IncompleteError
        If the disk is full.
    """
    refuse_taken(out)
    importer = importer_of(source_format)
    references = _stated(importer, level_of_theory)
    files = find_files([paths] if isinstance(paths, Path) else paths, importer)
    with committing_folder(out) as folder, Seen(folder) as seen:
        reading = _Reading(importer, references, seen, progress)
        tally = Tally()
        found = summarise(
            _written(folder, reading.structures(files), references, tally), partial(_again, folder, tally)
        )
        if not tally.entries:
            raise InputError(_nothing(files, reading.failures))
        manifest = Manifest(
            **tally.fields(),
            **vars(found),
            level_of_theory=_joined_levels(references, tally),
            failures=dict(write_failures(folder / FAILURES, reading.failures)),
            conflicts=reading.conflicts,
            duplicates=reading.duplicates,
            provenance=_provenance(source_format, files),
        )
        manifest.write(folder / MANIFEST)
    return manifest


@dataclass
class _Reading:
    """The structures of an import, and what was met on the way."""

    importer: Importer
    references: tuple[ReferenceSpec, ...]
    seen: Seen
    progress: Progress
    failures: list[Failure] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    duplicates: int = 0

    def structures(self, files: Sequence[SourceFile]) -> Iterator[Structure]:
        """Read all files; each structure comes once."""
        for item in self._items(files):
            if isinstance(item, Rejected):
                self.failures.append(Failure.of(item))
            elif self._is_new(item):
                yield item

    def _items(self, files: Sequence[SourceFile]) -> Iterator[Structure | Rejected]:
        options = ReadOptions(references=self.references)
        whole, before, read = max(1, sum(file.bytes for file in files)), 0, 0
        for file in files:
            with _damage_named(file.path, self.importer):
                for index, (atoms, done) in enumerate(self.importer.read(file.path)):
                    if isinstance(atoms, Atoms):
                        yield from_atoms(atoms, options, file.name, index)
                    else:
                        yield Rejected(file.name, index, "", atoms.error, atoms.message)
                    read += 1
                    if read % 100 == 0:
                        self.progress(read, (before + done * file.bytes) / whole)
            before += file.bytes
        self.progress(read, 1.0)

    def _is_new(self, structure: Structure) -> bool:
        identity = structure.identity()
        first = self.seen.add(identity, structure)
        if first is None:
            return True
        self.duplicates += 1
        if first.differing:
            self.conflicts.append(
                Conflict(
                    identity=identity.hex(),
                    kept=f"{first.source_file} frame {first.source_index}",
                    dropped=f"{structure.source_file} frame {structure.source_index}",
                    labels=first.differing,
                )
            )
        return False


def _written(
    folder: Path, structures: Iterable[Structure], references: Sequence[ReferenceSpec], tally: Tally
) -> Iterator[Table]:
    """Pack structures into shards, write these, and yield each."""
    (folder / "shards").mkdir()
    specs = [replace(reference.array_spec(), optional=False) for reference in references]  # as a shard gives them back
    for number, batch in enumerate(_batches(structures)):
        there = {name for structure in batch for name in structure.reference}
        table = pack(batch, {spec.name: spec for spec in specs if spec.name.partition("/")[2] in there})
        file = f"shards/part-{number:05d}.zarr.zip"
        tally.add(file, *write_shard(folder / file, table, {}), table)
        yield table


def _batches(structures: Iterable[Structure]) -> Iterator[list[Structure]]:
    batch: list[Structure] = []
    atoms = 0
    for structure in structures:
        if batch and atoms + len(structure) > SHARD_ATOMS:
            yield batch
            batch, atoms = [], 0
        batch.append(structure)
        atoms += len(structure)
    if batch:
        yield batch


def _again(folder: Path, tally: Tally, names: Sequence[str]) -> Iterator[Table]:
    for entry in tally.entries:
        yield read_shard(folder / entry.file, names)


@contextmanager
def _damage_named(path: Path, importer: Importer) -> Iterator[None]:
    """Turn whatever a format's libraries raise on bytes that they do not expect into one error that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        fitting = [name for name in formats_named_so(path) if importer_of(name) is not importer]
        hint = f" Its name is like those of --format {' or '.join(fitting)}" if fitting else ""
        raise InputError(
            f"{path}: cannot be read as {importer.title} ({reason}); is it complete, and of this format?{hint}"
        ) from error


def _stated(importer: Importer, level_of_theory: str) -> tuple[ReferenceSpec, ...]:
    """Return the references with a level of theory each: the format's, or the one that the user states."""
    silent = any(not reference.level_of_theory for reference in importer.references)
    if silent and not level_of_theory:
        raise InputError(
            f"files of {importer.title} do not say how their labels were computed; say it, as in --level-of-theory PBE0/def2-TZVP"
        )
    if level_of_theory and not silent:
        levels = ", ".join(dict.fromkeys(reference.level_of_theory for reference in importer.references))
        raise InputError(f"the labels of {importer.title} are {levels}; leave out --level-of-theory {level_of_theory}")
    return tuple(
        replace(reference, level_of_theory=reference.level_of_theory or level_of_theory)
        for reference in importer.references
    )


def _joined_levels(references: Sequence[ReferenceSpec], tally: Tally) -> str:
    """The levels of theory of the labels that occur, in the format's order."""
    there = {spec.name for spec in tally.arrays()}
    levels = (reference.level_of_theory for reference in references if f"reference/{reference.name}" in there)
    return ", ".join(dict.fromkeys(levels))


def _nothing(files: Sequence[SourceFile], failures: Sequence[Failure]) -> str:
    classes = ", ".join(f"{error} {n:,}" for error, n in Counter(failure.error for failure in failures).items())
    first = f"; none can be used ({classes}); the first: {failures[0].message}" if failures else ""
    return f"{files[0].path}{' and others' if len(files) > 1 else ''}: no structure in it{first}"


def _provenance(source_format: str, files: Sequence[SourceFile]) -> Provenance:
    software = {"mlipq": mlipq.__version__, "numpy": version("numpy"), "ase": version("ase")}
    source: dict[str, object] = {
        "files": len(files),
        "first_file": files[0].name,
        "bytes": sum(file.bytes for file in files),
        "sha256": fingerprint(files),
    }
    return Provenance(software=software, settings={"import": {"format": source_format, **source}})
