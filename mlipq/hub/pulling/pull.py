"""Pulling a version: its manifest, splits and documents, and all its shards or some."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import IncompleteError
from mlipq.hub.pulling import home
from mlipq.hub.pulling.origin import Origin, fetch_manifest, is_offline, origin_of
from mlipq.hub.pulling.parallel import Job, Progress, fetch_all
from mlipq.hub.pulling.wanted import shard_numbers, sources_of, wanted_files
from mlipq.hub.refs import DatasetRef
from mlipq.hub.transfer.locations import scheme, shown
from mlipq.hub.transfer.remote import RemoteFile
from mlipq.hub.transfer.transport import Transport
from mlipq.store import Manifest
from mlipq.store.manifest import FileEntry

WORKERS = 4
"""Files that are pulled at once."""


@dataclass(frozen=True)
class Pulled:
    """What was pulled.

    Parameters
    ----------
    ref
        Name and version.
    folder
        Where it is.
    manifest
        Of the whole version.
    shards
        Numbers of those that were asked for, all of which are here now.
    bytes_moved
        How many bytes came, the manifest's not counted.
    """

    ref: DatasetRef
    folder: Path
    manifest: Manifest
    shards: list[int]
    bytes_moved: int


def pull(
    where: str | Path,
    shards: Sequence[int] | str | None = None,
    *,
    workers: int = WORKERS,
    offline: bool | None = None,
    progress: Progress = lambda done, total: None,
) -> Pulled:
    """Pull a dataset version into the data home, or the shards of it that are wanted.

    What is there already, and has the right hash, stays; what was begun goes on; so the same call, killed and repeated, ends with the
    same bytes. Two of them at once do no harm: the second waits for the first. Splits, card and the other documents always come.

    Parameters
    ----------
    where
        A name (``qm7-gfn1``: the latest version; ``qm7-gfn1@1.0.0``), or the path or URL of a manifest or of its folder.
    shards
        Numbers, from 0, or a text as ``"0-3,7"``; all by default.
    workers
        Files that come at once.
    offline
        True to use nothing but this computer's own disks; by default what ``MLIPQ_OFFLINE`` says.
    progress
        Called with the bytes that are there, and those that shall be.

    Raises
    ------
    InputError
        If there is no such dataset or shard, it is not published, or its folder cannot be written to.
    CheckError
        If what the servers have is not what the manifest says, or the manifest not what the catalogue says.
    IncompleteError
        If something did not come; what came is kept, and the same call goes on. Offline, it lists what is missing.

    Examples
    --------
    >>> pull("qm7-gfn1@1.0.0", shards="0-3").folder  # doctest: +SKIP
    """
    off = is_offline(offline)
    origin = origin_of(str(where), off)
    with Transport(origin.location, connections=workers) as transport:
        data, manifest, ref = fetch_manifest(origin, transport)
        numbers = shard_numbers(shards, manifest)
        wanted = wanted_files(manifest, numbers)
        with home.held(ref) as folder:
            home.settle(ref, folder, shown(origin.location), data)
            lacking = home.missing(folder, wanted, hashed=True)
            if lacking and origin.unreachable:
                raise IncompleteError(_what_is_missing(ref, lacking, origin.unreachable))
            jobs = [Job(entry, folder, _sources(origin, entry, transport, off)) for entry in lacking]
            if any(not job.sources for job in jobs):
                raise IncompleteError(_what_is_missing(ref, [job.entry for job in jobs if not job.sources], "offline"))
            moved = fetch_all(ref, jobs, workers, progress)
            home.tidy(folder)
    return Pulled(ref, folder, manifest, numbers, moved)


def _sources(origin: Origin, entry: FileEntry, transport: Transport, offline: bool) -> list[RemoteFile]:
    locations = sources_of(origin.location, entry)
    return [transport.open(location) for location in locations if not offline or scheme(location) == ""]


def _what_is_missing(ref: DatasetRef, lacking: Sequence[FileEntry], why: str) -> str:
    lines = [f"  {entry.file} ({entry.bytes:,} bytes)" for entry in lacking]
    total = sum(entry.bytes for entry in lacking)
    return "\n".join([f"{ref}: {why}; these files, {total:,} bytes in all, are not here:", *lines])
