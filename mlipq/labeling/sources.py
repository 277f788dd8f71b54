"""Where a job's structures come from: files, datasets, or atoms in memory."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ase import Atoms

from mlipq.errors import CheckError, InputError
from mlipq.labeling.folder import PlannedInput
from mlipq.labeling.job import Choice, Job, ReferenceField
from mlipq.schema import ArraySpec
from mlipq.store import Dataset, open_dataset, sha256_file, structure_at
from mlipq.store.splits import keyed_order
from mlipq.structures import InputFile, ReadOptions, Rejected, Structure, find_inputs, from_atoms, read_structures


class Source(Protocol):
    """One input of a plan."""

    @property
    def specs(self) -> dict[str, ArraySpec]:
        """Arrays that its structures bring beside atoms, charge and spin, by full name."""
        ...

    def fingerprint(self) -> PlannedInput | None:
        """What tells whether the input has changed; ``None`` where only reading it can tell."""
        ...

    def structures(self) -> Iterator[Structure | Rejected]:
        """Read it once, in order."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A file that ASE can read."""

    file: InputFile
    options: ReadOptions

    @property
    def specs(self) -> dict[str, ArraySpec]:
        return _reference_specs(self.options)

    def fingerprint(self) -> PlannedInput:
        return _fingerprint(self.file.source_file, self.file.path)

    def structures(self) -> Iterator[Structure | Rejected]:
        return read_structures(self.file, self.options)


@dataclass(frozen=True)
class DatasetSource:
    """An mlipq dataset, or some of its structures: its arrays are copied through."""

    file: InputFile
    labeler: str
    choice: Choice | None = None

    @property
    def specs(self) -> dict[str, ArraySpec]:
        specs = self._open().specs
        own = f"{self.labeler}/"
        if any(name.startswith(own) for name in specs):
            raise InputError(
                f"{self.file.path}: already labelled by {self.labeler}; label the structures it was made from"
            )
        return {name: spec for name, spec in specs.items() if "/" in name and not name.startswith("info/")}

    def fingerprint(self) -> PlannedInput:
        path = self.file.path / "manifest.json" if self.file.path.is_dir() else self.file.path
        return _fingerprint(self.file.source_file, path)

    def structures(self) -> Iterator[Structure | Rejected]:
        chosen = self.chosen()
        with _damage_is_input_error():
            for table in self._open().tables():
                for row, words in enumerate(table.arrays["identity"]):
                    if chosen is None or words.tobytes() in chosen:
                        yield structure_at(table, row)

    def chosen(self) -> set[bytes] | None:
        """Return the identities of the structures to be labelled; ``None`` for all of them.

        Raises
        ------
        InputError
            If the dataset has no such split or part, or fewer structures.
        """
        if self.choice is None:
            return None
        with _damage_is_input_error():
            dataset = self._open()
            if self.choice.split is not None:
                dataset = dataset.select(split=self.choice.split)
            digests = [words.tobytes() for words in dataset["identity"][:]]
        number = self.choice.number or len(digests)
        if number > len(digests):
            of = f" in {self.choice.split}" if self.choice.split else ""
            raise InputError(
                f"{self.file.path}: {number:,} structures are to be labelled, but it has {len(digests):,}{of}"
            )
        return {digests[row] for row in keyed_order(digests, self.choice.seed)[:number]}

    def _open(self) -> Dataset:
        with _damage_is_input_error():
            return open_dataset(self.file.path)


@contextmanager
def _damage_is_input_error() -> Iterator[None]:
    try:
        yield
    except CheckError as error:
        raise InputError(str(error)) from error


@dataclass(frozen=True)
class MemorySource:
    """Atoms objects, as handed to :func:`mlipq.label`."""

    atoms: Iterable[Atoms]
    options: ReadOptions

    @property
    def specs(self) -> dict[str, ArraySpec]:
        return _reference_specs(self.options)

    def fingerprint(self) -> None:
        return None

    def structures(self) -> Iterator[Structure | Rejected]:
        for index, atoms in enumerate(self.atoms):
            yield from_atoms(atoms, self.options, "", index)


def _reference_specs(options: ReadOptions) -> dict[str, ArraySpec]:
    return {spec.name: spec for spec in (reference.array_spec() for reference in options.references)}


def _fingerprint(source_file: str, path: Path) -> PlannedInput:
    status = path.stat()
    return PlannedInput(
        source_file=source_file, bytes=status.st_size, mtime_ns=status.st_mtime_ns, sha256=sha256_file(path)
    )


def unchanged(planned: PlannedInput, source: Source) -> PlannedInput | None:
    """Return the input's fingerprint, from the plan where size and time agree: hashing terabytes again takes hours."""
    if isinstance(source, FileSource):
        status = source.file.path.stat()
        if (status.st_size, status.st_mtime_ns) == (planned.bytes, planned.mtime_ns):
            return planned
    return source.fingerprint()


def find_sources(job: Job, base: Path) -> list[Source]:
    """Find everything that a job's inputs mean.

    Parameters
    ----------
    job
        The job.
    base
        Folder that relative paths count from: the job file's, or the working directory.

    Raises
    ------
    InputError
        If any input is missing, empty, unreadable or holds no structures; all of them are listed.
    """
    alike = itertools.groupby(job.inputs, key=lambda spec: (spec.reference, spec.choose))
    sources: list[Source] = []
    problems: list[str] = []
    for (reference, choice), group in alike:
        try:
            for file in find_inputs([spec.path for spec in group], base):
                sources.append(_source(file, job, reference, choice))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return sources


def _source(file: InputFile, job: Job, reference: dict[str, ReferenceField], choice: Choice | None) -> Source:
    if file.kind == "dataset":
        source = DatasetSource(file, job.labeler.name, choice)
        source.chosen()  # raises where it cannot be
        return source
    if choice is not None:
        raise InputError(f"{file.path}: structures are chosen from a dataset, and this is a file; leave out choose")
    return FileSource(file, job.read_options(reference))
