"""Publishing a version: its files one by one, each read back, and the manifest last."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import InputError
from mlipq.hub.catalogue import CATALOGUE, load_catalogue
from mlipq.hub.diff import check_step, compare
from mlipq.hub.publishing.repack import SHARD_BYTES
from mlipq.hub.publishing.targets import FolderTarget, Target
from mlipq.hub.publishing.version import Release, build_version
from mlipq.hub.refs import DatasetRef
from mlipq.hub.transfer.locations import canonical, scheme, shown
from mlipq.store import Dataset, Manifest, open_dataset
from mlipq.store.holding import holding
from mlipq.store.manifest import FileEntry

LEAST_SHARD_BYTES = 1_000

Progress = Callable[[int, int], None]
"""Called after each file with the bytes that are there, and of all, about."""


@dataclass(frozen=True)
class Published:
    """What :func:`publish` did.

    Parameters
    ----------
    ref
        Name and version.
    where
        The version's folder, or its repository.
    manifest
        Of the version.
    manifest_sha256
        Of its bytes: what a catalogue pins.
    bytes_moved
        Of the files that were not there before.
    was_there
        True where the version had been published before, with the same content.
    """

    ref: DatasetRef
    where: str
    manifest: Manifest
    manifest_sha256: str
    bytes_moved: int
    was_there: bool


def publish(
    source: Path,
    *,
    name: str,
    version: str,
    licence: str,
    citation: str,
    to: str,
    description: str = "",
    mirrors: Sequence[str] = (),
    shard_bytes: int = SHARD_BYTES,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Published:
    """Publish a dataset as a version, which never changes afterwards.

    The version becomes visible at the end, when its manifest is written; until then the same call goes on where an
    interrupted one stopped. Everything that is uploaded is read back and compared with its SHA-256.

    Parameters
    ----------
    source
        Folder of a dataset, such as the output of ``mlipq label``.
    name, version
        As in ``qm7-gfn1@1.0.0``.
    licence
        SPDX identifier, as ``CC-BY-4.0``.
    citation
        What users shall cite, as text.
    to
        A folder, or a URL of a store that fsspec can write to, below which the version becomes ``<name>/<version>/``; or
        ``hf://datasets/<organisation>/<name>``, a repository where the version becomes a commit and a tag. Of a folder with
        a ``catalogue.json``, that gets the version's entry.
    description
        A few sentences for the card; by default those of the dataset's manifest.
    mirrors
        URLs below which copies will be, as ``<url>/<name>/<version>/``; readers try them when the first place fails.
    shard_bytes
        Shards are joined, or cut, to about this size.
    dry_run
        Make everything and write nothing.
    progress
        Called after each file.

    Returns
    -------
    Published
        Where it is, and how much was moved.

    Raises
    ------
    InputError
        If something is missing or not as it should be, the version is there with other content, or its number promises
        less change than there is since the version before it (see :mod:`mlipq.hub.diff`).
    CheckError
        If a shard is damaged, or what was uploaded is read back as something else.
    IncompleteError
        If the place cannot be reached, or is full; the same call goes on.
    """
    release = Release(name, version, licence, citation, description, tuple(mirrors))
    if shard_bytes < LEAST_SHARD_BYTES:
        raise InputError(f"a shard of {shard_bytes:,} bytes is too small; {LEAST_SHARD_BYTES:,} are the least")
    target = target_at(to, release.ref)
    dataset = _whole(source)
    if target.manifest() is None:
        _check_step(dataset, release.ref, target)
    if dry_run:
        return _publish(dataset, release, target, shard_bytes, True, progress)
    with target.held():
        done = _publish(dataset, release, target, shard_bytes, False, progress)
    _add_to_catalogue(to, done)
    return done


def target_at(to: str, ref: DatasetRef) -> Target:
    """Return the place of a version.

    Raises
    ------
    InputError
        If mlipq cannot write there.
    """
    kind = scheme(to)
    if kind == "hf":
        try:
            from mlipq.hub.publishing.huggingface import HuggingFaceTarget
        except ImportError as error:
            raise InputError(f"{to}: {error}. Install what writes there:  pip install 'mlipq[remote]'") from None
        return HuggingFaceTarget(to, ref)
    if kind in ("http", "https"):
        raise InputError(f"{shown(to)}: web servers are not written to; publish to the folder that yours serves")
    base = canonical(to)
    if scheme(base) == "":
        return FolderTarget(Path(base), ref)
    from mlipq.hub.publishing.object_store import ObjectStoreTarget

    return ObjectStoreTarget(base, ref)


def _publish(
    dataset: Dataset, release: Release, target: Target, shard_bytes: int, dry_run: bool, progress: Progress
) -> Published:
    there = target.manifest()
    total = sum(path.stat().st_size for path in dataset.files)
    done = moved = 0
    files: set[str] = set()

    def put(entry: FileEntry, path: Path) -> None:
        nonlocal done, moved
        if there is None and not dry_run and target.put(entry, path):
            moved += entry.bytes
        files.add(entry.file)
        done += entry.bytes
        progress(done, max(done, total))

    data = build_version(dataset, release, shard_bytes, put)
    manifest = Manifest.parse(data, target.where)
    if there is not None and there != data:
        raise InputError(
            f"{target.where} is published already, with other content "
            f"({_differing(Manifest.parse(there, target.where), manifest)}); a version never changes: choose the next one"
        )
    if there is None and not dry_run:
        target.finish(data, files)
        moved += len(data)
    return Published(release.ref, target.where, manifest, hashlib.sha256(data).hexdigest(), moved, there is not None)


def _whole(source: Path) -> Dataset:
    """Open a dataset that has a manifest and all of its shards."""
    dataset = open_dataset(source)
    if dataset.manifest is None:
        raise InputError(f"{source} is one shard; publish the folder that has its manifest.json")
    if dataset.missing:
        raise InputError(f"{source} was pulled in part; pull the rest first:  mlipq data pull {dataset.manifest.name}")
    if not len(dataset):
        raise InputError(f"{source} holds no structures; there is nothing to publish")
    return dataset


def _check_step(dataset: Dataset, ref: DatasetRef, target: Target) -> None:
    """Compare with the version before, where there is one."""
    assert ref.version is not None
    before = [version for version in target.versions() if version < ref.version]
    if before:
        found = compare(_published(target.manifest_of(before[-1])), dataset)
        check_step(before[-1], ref.version, found)


def _published(manifest: str) -> Dataset:
    """Open a version where it is."""
    if scheme(manifest) == "":
        return open_dataset(Path(manifest).parent)
    from mlipq.hub.pulling.open import open_dataset as open_from_afar

    return open_from_afar(manifest, stream=True)


def _differing(there: Manifest, manifest: Manifest) -> str:
    """Name the fields in which a published manifest is another one."""
    return ", ".join(name for name in Manifest.model_fields if getattr(there, name) != getattr(manifest, name))


def _add_to_catalogue(to: str, done: Published) -> None:
    """Add a version to the catalogue of the folder it was published to, where there is one."""
    path = Path(canonical(to)) / CATALOGUE if scheme(to) in ("", "file") else None
    if path is None or not path.is_file():
        return
    with holding(path.parent):
        catalogue = load_catalogue(str(path))
        entered = catalogue.with_entry(done.ref, done.manifest, done.manifest_sha256)
        if entered != catalogue:
            entered.write(path)
