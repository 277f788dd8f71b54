"""One version of a dataset, built file by file: shards, splits, documents, and the manifest that describes them all."""

import csv
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import InputError
from mlipq.hub.publishing.card import CARD, card
from mlipq.hub.publishing.citation import CITATION, citation_file
from mlipq.hub.publishing.croissant import CROISSANT, croissant
from mlipq.hub.publishing.licence import is_spdx
from mlipq.hub.publishing.repack import repacked
from mlipq.hub.refs import DatasetRef
from mlipq.hub.transfer.locations import scheme, shown
from mlipq.store import Dataset, Manifest, write_shard
from mlipq.store.commit import Json
from mlipq.store.failures import FAILURES
from mlipq.store.manifest import FileEntry
from mlipq.store.splits import read_split
from mlipq.store.tally import Tally

Put = Callable[[FileEntry, Path], None]
"""Takes one file of the version as soon as it is made; when it returns, the file goes."""


@dataclass(frozen=True)
class Release:
    """What a publisher says of a version; the fields are those of :func:`mlipq.hub.publishing.publish`.

    Raises
    ------
    InputError
        If something is missing, or not as it should be.
    """

    name: str
    version: str
    licence: str
    citation: str
    description: str = ""
    mirrors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.version or self.ref.version is None:
            raise InputError("a published dataset has a name and a version: --name my-set --version 1.0.0")
        if not is_spdx(self.licence):
            raise InputError(
                f"a licence is named by its SPDX identifier, as CC-BY-4.0, CC0-1.0 or MIT (see https://spdx.org/licenses; one "
                f"that is not there: LicenseRef-its-name); not {self.licence!r}"
            )
        if not self.citation.strip():
            raise InputError("say what users shall cite: --citation 'A. Author, Journal 1, 2 (2026), doi:10.1000/xyz'")
        for url in self.mirrors:
            if scheme(url) in ("", "file") or shown(url) != url:
                raise InputError(f"mirror {shown(url)}: expected a URL without credentials, query and fragment")

    @property
    def ref(self) -> DatasetRef:
        """Name and version."""
        return DatasetRef.parse(f"{self.name}@{self.version}")

    def urls(self, file: str) -> list[str]:
        """Where a file of the version is, beside the manifest and at the mirrors."""
        folder = f"{self.name}/{self.version}"
        return [file, *(f"{url.rstrip('/')}/{folder}/{file}" for url in self.mirrors)] if self.mirrors else []


def build_version(dataset: Dataset, release: Release, shard_bytes: int, put: Put) -> bytes:
    """Make every file of a version and hand each on; return the manifest, which comes last.

    Equal datasets and releases give equal files, byte for byte, with equal versions of the libraries. Disk space is taken
    for one shard at a time.

    Parameters
    ----------
    dataset
        A folder with a manifest, all of its shards there.
    release
        What the publisher says.
    shard_bytes
        See :func:`~mlipq.hub.publishing.repack.repacked`.
    put
        Takes the files.

    Raises
    ------
    CheckError
        If a shard or a split is not what the dataset's manifest says.
    """
    source = dataset.manifest
    assert source is not None
    with tempfile.TemporaryDirectory(prefix="mlipq-publish-") as name:
        work = Path(name)
        tally = _put_shards(dataset, release, shard_bytes, work, put)
        manifest = source.model_copy(
            update={
                "name": release.name,
                "version": release.version,
                "licence": release.licence,
                "citation": release.citation,
                "description": release.description or source.description,
                "shards": [entry.model_copy(update={"urls": release.urls(entry.file)}) for entry in tally.entries],
                "arrays": tally.arrays(),
                "documents": [],
            }
        )
        for split in manifest.splits.values():
            data = (dataset.path / split.file).read_bytes()
            read_split(data, split)
            _put_bytes(split, data, work, put)
        documents: list[FileEntry] = []
        for file, data in _documents(dataset.path, manifest, documents):
            documents.append(FileEntry(file=file, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
            _put_bytes(documents[-1], data, work, put)
        path = work / "manifest.json"
        Manifest.model_validate(manifest.model_copy(update={"documents": documents}).model_dump()).write(path)
        return path.read_bytes()


def _put_shards(dataset: Dataset, release: Release, shard_bytes: int, work: Path, put: Put) -> Tally:
    assert dataset.manifest is not None
    labeler: Json = dataset.manifest.provenance.settings.get("labeler")  # type: ignore[assignment]
    tally = Tally()
    for number, table in enumerate(repacked(dataset, shard_bytes)):
        file = f"shards/part-{number:05d}.zarr.zip"
        path = work / "shard.zarr.zip"
        n_bytes, sha256 = write_shard(path, table, {"labeler": labeler} if labeler else {})
        tally.add(file, n_bytes, sha256, table)
        put(tally.entries[-1], path)
        path.unlink()
    return tally


def _put_bytes(entry: FileEntry, data: bytes, work: Path, put: Put) -> None:
    path = work / "file"
    path.write_bytes(data)
    put(entry, path)


def _documents(folder: Path, manifest: Manifest, before: list[FileEntry]) -> Iterator[tuple[str, bytes]]:
    """Make what people read; the last one lists those ``before`` it."""
    if manifest.failures and (folder / FAILURES).is_file():
        yield FAILURES, _without_times((folder / FAILURES).read_text(encoding="utf-8"))
    yield CITATION, citation_file(manifest).encode()
    yield CARD, card(manifest).encode()
    yield CROISSANT, croissant(manifest.model_copy(update={"documents": list(before)})).encode()


def _without_times(ledger: str) -> bytes:
    """Return a failure ledger without the seconds that failures took: they differ each time."""
    rows = csv.DictReader(io.StringIO(ledger, newline=""))
    names = [name for name in rows.fieldnames or [] if name != "seconds"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
