"""The catalogue: which dataset versions there are, and the SHA-256 of each one's manifest.

It is one JSON file. Each version's files lie in ``<name>/<version>/`` beside it, or, where they do not, below its ``base_url``.
"""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, NonNegativeInt, model_validator

from mlipq import resources
from mlipq.errors import InputError
from mlipq.hub.refs import DatasetRef, Version
from mlipq.hub.transfer.download import read_bytes
from mlipq.hub.transfer.locations import beside, canonical, scheme, shown
from mlipq.hub.transfer.remote import TransferError
from mlipq.hub.transfer.transport import Transport
from mlipq.store import Manifest, commit_json, strict_json
from mlipq.store.manifest import MANIFEST, Sha256

CATALOGUE_SETTING = "MLIPQ_CATALOGUE"
"""Environment variable that names another catalogue, by path or URL."""
CATALOGUE = "catalogue.json"
"""Name of a catalogue's file."""
MOST_BYTES = 64_000_000
"""A catalogue that is larger is not read."""

_RESTORE = f"Restore it, or let {CATALOGUE_SETTING} name the path or URL of another one."


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CatalogueEntry(_Record):
    """What the catalogue says of one version: enough to choose it, and the hash that its manifest must have."""

    manifest_sha256: Sha256
    structures: NonNegativeInt
    atoms: NonNegativeInt
    bytes: NonNegativeInt
    shards: NonNegativeInt
    elements: list[str]
    level_of_theory: str
    licence: str
    description: str
    main_energy: str = ""
    """Array that a potential learns where the user names none, as ``reference/pbe0_energy``."""

    @classmethod
    def of(cls, manifest: Manifest, manifest_sha256: str, main_energy: str = "") -> Self:
        """Describe a version by its manifest; ``main_energy`` is kept where the manifest lists such an array."""
        return cls(
            manifest_sha256=manifest_sha256,
            structures=manifest.n_structures,
            atoms=manifest.n_atoms,
            bytes=sum(entry.bytes for entry in manifest.shards),
            shards=len(manifest.shards),
            elements=manifest.elements,
            level_of_theory=manifest.level_of_theory,
            licence=manifest.licence,
            description=manifest.description,
            main_energy=main_energy if main_energy in {spec.name for spec in manifest.arrays} else "",
        )


class Catalogue(_Record):
    """Versions by name and version, and where they are."""

    format_version: Literal[1] = 1
    base_url: str = ""
    datasets: dict[str, dict[str, CatalogueEntry]] = {}

    @model_validator(mode="after")
    def _names_are_references(self) -> Self:
        for ref in (f"{name}@{version}" for name, versions in self.datasets.items() for version in versions):
            try:
                DatasetRef.parse(ref)
            except InputError as error:
                raise ValueError(str(error)) from error
        return self

    def refs(self) -> list[DatasetRef]:
        """Return all versions, by name, the latest of each first."""
        return [
            DatasetRef(name, version)
            for name in sorted(self.datasets)
            for version in sorted(map(Version.parse, self.datasets[name]), reverse=True)
        ]

    def find(self, ref: DatasetRef) -> tuple[DatasetRef, CatalogueEntry]:
        """Return a version's full reference and its entry; without a version in ``ref``, the latest.

        Raises
        ------
        InputError
            If the catalogue has no such name or version; the message says which it has.
        """
        versions = self.datasets.get(ref.name, {})
        if not versions:
            known = ", ".join(sorted(self.datasets)) or "none"
            raise InputError(f"the catalogue has no dataset {ref.name!r}; those it has: {known}. See: mlipq data list")
        version = ref.version or max(map(Version.parse, versions))
        if str(version) not in versions:
            known = ", ".join(str(other) for other in sorted(map(Version.parse, versions)))
            raise InputError(f"the catalogue has no {ref}; versions of {ref.name} that it has: {known}")
        return DatasetRef(ref.name, version), versions[str(version)]

    def with_entry(self, ref: DatasetRef, manifest: Manifest, manifest_sha256: str) -> Self:
        """Return the catalogue with one version more, whose main energy is that of the version before.

        Raises
        ------
        InputError
            If ``ref`` has no version, or the catalogue has it with another manifest: versions never change.
        """
        if ref.version is None:
            raise InputError(f"expected a name and a version, as qm7-gfn1@1.0.0, got {ref}")
        versions = self.datasets.get(ref.name, {})
        there = versions.get(str(ref.version))
        if there is not None and there.manifest_sha256 != manifest_sha256:
            raise InputError(
                f"the catalogue has {ref} already, with another manifest (sha256 {there.manifest_sha256[:16]}…, not "
                f"{manifest_sha256[:16]}…); a version never changes: publish the next one"
            )
        before = there or versions.get(max(versions, key=Version.parse, default=""))
        main_energy = before.main_energy if before else ""
        entry = CatalogueEntry.of(manifest, manifest_sha256, main_energy)
        return self.model_copy(update={"datasets": {**self.datasets, ref.name: {**versions, str(ref.version): entry}}})

    @classmethod
    def parse(cls, data: bytes, name: str) -> Self:
        """Read a catalogue from the bytes of its file, which messages call ``name``.

        Raises
        ------
        CheckError
            If it is not JSON, or a field is missing, unknown or wrong.
        """
        return strict_json.record(cls, data, f"{name} is not a valid catalogue", _RESTORE)

    def write(self, path: Path) -> None:
        """Write the catalogue atomically, as JSON with sorted keys."""
        commit_json(path, self.model_dump(mode="json"))


def catalogue_location() -> str:
    """Return where the catalogue is: the path or URL that ``MLIPQ_CATALOGUE`` names, else the file that comes with mlipq."""
    return canonical(os.environ.get(CATALOGUE_SETTING) or str(resources.catalogue()))


def load_catalogue(location: str | None = None) -> Catalogue:
    """Read the catalogue.

    Parameters
    ----------
    location
        Path or URL of the file; by default :func:`catalogue_location`.

    Raises
    ------
    InputError, TransferError
        If it cannot be had.
    CheckError
        If it is not valid.
    """
    location = canonical(location) if location is not None else catalogue_location()
    try:
        with Transport(location) as transport:
            data = read_bytes(transport.open(location), MOST_BYTES)
    except TransferError as error:
        said = f"the catalogue does not come: {error}. {CATALOGUE_SETTING} names the path or URL of another one"
        raise (TransferError(said) if scheme(location) else InputError(said)) from None
    return Catalogue.parse(data, shown(location))


def manifest_location(catalogue: Catalogue, location: str, ref: DatasetRef) -> str:
    """Return where a version's manifest is: beside the catalogue, which is at ``location``, or below its ``base_url``.

    Raises
    ------
    InputError
        If the version is in neither place: not yet published.
    """
    file = f"{ref.name}/{ref.version}/{MANIFEST}"
    here = beside(location, file)
    if scheme(location) == "" and Path(here).is_file():
        return here
    if catalogue.base_url:
        return canonical(f"{catalogue.base_url.rstrip('/')}/{file}")
    if scheme(location):
        return here
    raise InputError(
        f"{ref} is not yet published: the catalogue {location} says no address, and {here} is not there. "
        f"To build it, run its recipe in datasets/{ref.name} of mlipq's repository; or set {CATALOGUE_SETTING} to the path or URL "
        "of a catalogue that has it"
    )
