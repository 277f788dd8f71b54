"""The manifest: what a dataset holds, checked against one model whenever it is read."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from ase.data import chemical_symbols
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from mlipq.errors import CheckError, InputError
from mlipq.schema import ArraySpec
from mlipq.store import strict_json
from mlipq.store.commit import commit_json, sha256_file
from mlipq.store.shards.shard import MAX_SHARD_BYTES
from mlipq.store.shards.validation import spec_problems
from mlipq.store.table import Table

MANIFEST = "manifest.json"
"""Name of the manifest in a dataset's folder."""

PULLED = "pulled.json"
"""Name of the file in a folder that a version was pulled to: its shards may be partly missing."""


MAX_MANIFEST_BYTES = 1 << 26
"""Larger ones are not read; a shard takes some 300 bytes of it."""

_IDENTITY_BYTES = 16
"""Of each structure, and no compressor makes them fewer."""
_ATOM_BYTES = 25
"""Of each atom in memory: its number and its position."""
_SPLIT_LINE_BYTES = 98
"""Of each structure in a split at most: an identity, the name of a part, a comma, the end of the line."""


def _inside(file: str) -> str:
    odd = len(file.encode()) > 255 or not file.isprintable() or re.search(r"\\|^[A-Za-z]:", file)
    if odd or any(not part or part.startswith(".") for part in file.split("/")):
        raise ValueError("a file of a dataset is named relative to its folder and stays inside it, in no hidden folder")
    if _folded(file) in (MANIFEST, PULLED):
        raise ValueError(f"{file} is not one of the files that a manifest lists")
    return file


def _folded(file: str) -> str:
    """Return a name as file systems see it that tell neither case nor ways to write an accent apart."""
    return unicodedata.normalize("NFC", file).casefold()


def _storable(spec: ArraySpec) -> ArraySpec:
    problems = spec_problems(spec)
    if problems:
        raise ValueError("; ".join(problems))
    return spec


def _elements(symbols: list[str]) -> list[str]:
    if symbols != [symbol for symbol in chemical_symbols[1:] if symbol in symbols]:
        raise ValueError("elements are listed by their symbols, each once, by atomic number")
    return symbols


InsideFile = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
IdentityHex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class FileEntry(_Record):
    """A file of the dataset; ``file`` is relative to the manifest's folder, with forward slashes."""

    file: InsideFile
    bytes: Annotated[int, Field(ge=0, lt=1 << 40)]
    sha256: Sha256


class ShardEntry(FileEntry):
    """One shard file; relative ``urls`` resolve against the manifest, and where there are none it lies beside it."""

    urls: list[str] = []
    n_structures: NonNegativeInt
    n_atoms: NonNegativeInt
    elements: Annotated[list[str], AfterValidator(_elements)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        identities, atoms = self.n_structures * _IDENTITY_BYTES, self.n_atoms * _ATOM_BYTES
        if self.n_structures > self.n_atoms or identities > self.bytes or max(identities, atoms) > MAX_SHARD_BYTES:
            what = f"{self.n_structures:,} structures with {self.n_atoms:,} atoms"
            raise ValueError(f"a shard of {self.bytes:,} bytes cannot hold {what}")
        return self

    @classmethod
    def of(cls, folder: Path, file: str, table: Table) -> Self:
        """Describe the shard ``folder / file``, whose content is ``table``."""
        path = folder / file
        return cls(
            file=file,
            bytes=path.stat().st_size,
            sha256=sha256_file(path),
            n_structures=len(table),
            n_atoms=table.n_atoms,
            elements=[chemical_symbols[z] for z in np.unique(table.arrays["atomic_numbers"])],
        )


class ArrayStatistics(_Record):
    """Of all finite values of one array, components together."""

    count: NonNegativeInt
    mean: float
    std: float
    minimum: float
    maximum: float


class ReferenceEnergies(_Record):
    """Energies of single atoms in eV by element symbol, of one energy array.

    ``fitted`` is the least-squares solution of E ≈ Σ n(Z)·e(Z) over ``structures`` of this dataset, whose compositions
    have rank ``rank``: where that is less than the number of elements, single values are those of the solution of least norm
    and only their sums over compositions mean something. ``isolated`` are energies of neutral single atoms that the dataset
    holds, of the multiplicity that is lowest.
    """

    fitted: dict[str, float] = {}
    structures: NonNegativeInt = 0
    rank: NonNegativeInt = 0
    isolated: dict[str, float] = {}


class Conflict(_Record):
    """The same structure twice with different reference labels; the first was kept. Sources as ``file frame index``."""

    identity: IdentityHex
    kept: str
    dropped: str
    labels: list[str]


class Outlier(_Record):
    """A structure whose value lies far from what its composition says, by a robust z-score."""

    identity: IdentityHex
    array: str
    z_score: float


class Provenance(_Record):
    """What made the dataset: versions of programs and libraries, settings, and a SHA-256 of the plan (inputs' hashes, settings, versions)."""

    software: dict[str, str] = {}
    settings: dict[str, object] = {}
    plan_sha256: Sha256 | Literal[""] = ""


class Split(FileEntry):
    """A fixed split: a CSV file ``identity,part``, how it was made, and the structures of each part."""

    made_by: str = ""
    counts: dict[str, NonNegativeInt]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        structures = sum(self.counts.values())
        if self.bytes > _SPLIT_LINE_BYTES * (structures + 1):
            raise ValueError(f"a split of {structures:,} structures cannot have {self.bytes:,} bytes")
        return self


class Manifest(_Record):
    """Everything that a dataset says of itself. Name, version, licence and citation are empty until publishing.

    Equal datasets give equal manifests: no wall times, no host names.
    """

    format_version: Literal[1] = 1
    name: str = ""
    version: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    level_of_theory: str = ""
    shards: list[ShardEntry]
    arrays: list[Annotated[ArraySpec, AfterValidator(_storable)]]
    statistics: dict[str, ArrayStatistics] = {}
    reference_energies: dict[str, ReferenceEnergies] = {}
    quality: dict[str, NonNegativeInt] = {}
    scf_attempts: dict[str, NonNegativeInt] = {}
    """Structures by the rung of GFN1's SCF ladder that gave the label, and of another method's: ``pbe/0``."""
    failures: dict[str, NonNegativeInt] = {}
    conflicts: list[Conflict] = []
    duplicates: NonNegativeInt = 0
    outliers: list[Outlier] = []
    provenance: Provenance = Provenance()
    splits: dict[str, Split] = {}
    documents: list[FileEntry] = []
    """Card, citation, failure ledger …: what a person reads, pulled and checked with the rest."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        files: list[FileEntry] = [*self.shards, *self.splits.values(), *self.documents]
        _refuse_repeats("file", (_folded(entry.file) for entry in files))
        _refuse_repeats("array", (spec.name for spec in self.arrays))
        # with the slash before every other character, what lies below a name comes right behind it
        for one, next_one in pairwise(sorted(_folded(entry.file).replace("/", "\0") for entry in files)):
            if next_one.startswith(f"{one}\0"):
                one = one.replace("\0", "/")
                raise ValueError(f"{one} is listed as a file, and as a folder of another one")
        return self

    @property
    def ref(self) -> str:
        """``name@version``; empty for what is not published."""
        return f"{self.name}@{self.version}" if self.name and self.version else ""

    @property
    def n_structures(self) -> int:
        """Structures in all shards."""
        return sum(entry.n_structures for entry in self.shards)

    @property
    def n_atoms(self) -> int:
        """Atoms in all shards."""
        return sum(entry.n_atoms for entry in self.shards)

    @property
    def elements(self) -> list[str]:
        """Symbols of all elements, by atomic number."""
        return sorted({symbol for entry in self.shards for symbol in entry.elements}, key=chemical_symbols.index)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a manifest.

        Raises
        ------
        InputError
            If there is no such file.
        CheckError
            If it is not JSON, or a field is missing, unknown or wrong; the message names file and field.
        """
        try:
            if not path.is_file() and path.exists():
                raise InputError(f"{path} is no file")  # of a device or pipe, reading has no end
            with open(path, "rb") as file:
                data = file.read(MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError as error:
            hint = "it is no dataset, or its job is not finished (see: mlipq status)"
            raise InputError(f"{path} cannot be opened: {error.strerror}; {hint}") from None
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from error
        if len(data) > MAX_MANIFEST_BYTES:
            raise CheckError(f"{path} is larger than any manifest, which has {MAX_MANIFEST_BYTES:,} bytes at most")
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> Self:
        """Check a manifest given as the bytes of its file, which messages call ``name``; errors as in :meth:`read`."""
        return strict_json.record(cls, data, f"{name} is not a valid manifest", "Restore the file.")

    def write(self, path: Path) -> None:
        """Write the manifest atomically, as JSON with sorted keys: equal manifests give equal bytes."""
        commit_json(path, self.model_dump(mode="json"))


def read_listed(folder: Path, file: str) -> bytes:
    """Return a small file that the manifest in ``folder`` lists, such as a split.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = folder / file
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}; restore it") from error


def _refuse_repeats(what: str, names: Iterable[str]) -> None:
    met = set()
    for name in names:
        if name in met:
            raise ValueError(f"{what} {name} is listed twice")
        met.add(name)
