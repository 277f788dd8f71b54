"""The manifest: what a dataset holds, checked against one model whenever it is read."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

import numpy as np
from ase.data import chemical_symbols
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from mlipq.errors import CheckError, InputError
from mlipq.schema import ArraySpec
from mlipq.store.commit import commit_json, sha256_file
from mlipq.store.names import is_array_name
from mlipq.store.table import Table

MANIFEST = "manifest.json"
"""Name of the manifest in a dataset's folder."""


def _inside(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts or re.search(r"[\\\0]|^[A-Za-z]:", file):
        raise ValueError("a file of a dataset is named relative to its folder and stays inside it")
    return file


def _named(spec: ArraySpec) -> ArraySpec:
    if not is_array_name(spec.name):
        raise ValueError(f"array {spec.name!r} is not in the schema; others are named <source>/<name>")
    return spec


InsideFile = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
IdentityHex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class FileEntry(_Record):
    """A file of the dataset; ``file`` is relative to the manifest's folder, with forward slashes."""

    file: InsideFile
    bytes: NonNegativeInt
    sha256: Sha256


class ShardEntry(FileEntry):
    """One shard file; relative ``urls`` resolve against the manifest, and where there are none it lies beside it."""

    urls: list[str] = []
    n_structures: NonNegativeInt
    n_atoms: NonNegativeInt
    elements: list[str]

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
    arrays: list[Annotated[ArraySpec, AfterValidator(_named)]]
    statistics: dict[str, ArrayStatistics] = {}
    reference_energies: dict[str, ReferenceEnergies] = {}
    quality: dict[str, NonNegativeInt] = {}
    scf_attempts: dict[str, NonNegativeInt] = {}
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
        _refuse_repeats("file", [entry.file for entry in files])
        _refuse_repeats("array", [spec.name for spec in self.arrays])
        return self

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
            return cls.model_validate_json(path.read_bytes(), strict=True)
        except FileNotFoundError as error:
            hint = "it is no dataset, or its job is not finished (see: mlipq status)"
            raise InputError(f"{path} cannot be opened: {error.strerror}; {hint}") from None
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from error
        except ValidationError as error:
            fields = [f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()[:5]]
            raise CheckError(f"{path} is not a valid manifest: {'; '.join(fields)}. Restore the file.") from error

    def write(self, path: Path) -> None:
        """Write the manifest atomically, as JSON with sorted keys: equal manifests give equal bytes."""
        commit_json(path, self.model_dump(mode="json"))


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise ValueError(f"{what} {repeated[0]} is listed twice")
