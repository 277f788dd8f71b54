"""Which files of a version are wanted, and where each of them is."""

import re
from collections.abc import Sequence

from mlipq.errors import InputError
from mlipq.hub.transfer.locations import beside, pointed_to
from mlipq.store import Manifest, ShardEntry
from mlipq.store.manifest import FileEntry

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def shard_numbers(shards: Sequence[int] | str | None, manifest: Manifest) -> list[int]:
    """Return numbers of shards, ascending, from a list or a text as ``"0-3,7"``; all where nothing is said.

    Raises
    ------
    InputError
        If the text is something else, or there is no such shard.
    """
    n = len(manifest.shards)
    if shards is None:
        return list(range(n))
    if isinstance(shards, str):
        found = [_RANGE.fullmatch(part.strip()) for part in shards.split(",")]
        if None in found:
            raise InputError(f"shards are numbers and ranges, as 0-3,7, not {shards!r}")
        bounds = [(int(part[1]), int(part[2] or part[1])) for part in found if part]
    else:
        bounds = [(number, number) for number in shards]
    odd = next(
        (f"{first}-{last}" if last > first else str(first) for first, last in bounds if not 0 <= first <= last < n),
        None,
    )
    if odd is not None:
        raise InputError(f"there is no shard {odd}: {manifest.ref} has {n}, numbered from 0 to {n - 1}")
    return sorted({number for first, last in bounds for number in range(first, last + 1)})


def wanted_files(manifest: Manifest, numbers: Sequence[int]) -> list[FileEntry]:
    """Return what is pulled with these shards: themselves, splits and documents."""
    return [*manifest.splits.values(), *manifest.documents, *(manifest.shards[number] for number in numbers)]


def sources_of(manifest_location: str, entry: FileEntry) -> list[str]:
    """Return the locations of a file, the first to be tried first.

    Raises
    ------
    CheckError
        If the manifest points to where it must not.
    """
    urls = entry.urls if isinstance(entry, ShardEntry) else []
    return [pointed_to(manifest_location, url) for url in urls] or [beside(manifest_location, entry.file)]
