"""Is a dataset what its manifest says, and do its labels add up?"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mlipq.errors import InputError
from mlipq.process import Child, ChildDied, ChildTimeout, Header
from mlipq.store.commit import sha256_file
from mlipq.store.manifest import MANIFEST, PULLED, FileEntry, Manifest, ShardEntry
from mlipq.store.shards.files import shard_suffix
from mlipq.store.shards.shard import MAX_SHARD_BYTES

SECONDS, SECONDS_A_MEGABYTE = 60.0, 10.0
"""What the reader of one shard may take: some hundred times what it takes."""

MEMORY = 4 * MAX_SHARD_BYTES
"""Address space of the reader, bytes."""


def verify_dataset(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
    """Check a dataset folder or a single shard.

    Sizes and hashes come first, and a file with a wrong one is not opened. Shards are read in another process, with limits of
    time and memory: a file that was made to hang or crash the library that reads it is a problem like others.

    Parameters
    ----------
    path
        Folder with a manifest, or one shard file.
    progress
        Called after each shard with the number of shards checked, and of all.

    Returns
    -------
    list[str]
        What is wrong, one line a problem: sizes and hashes of all files; the schema of every shard, its identities, elements and
        sums of orbital charges against its structures; counts, elements, arrays, flags, statistics, reference energies and
        splits in the manifest against the shards. Empty where all is well. Of a version pulled in part, the shards that are
        there are checked, and not what the manifest says of all together.

    Raises
    ------
    InputError
        If there is no dataset at ``path``.
    CheckError
        If the manifest is not one.
    """
    if not path.exists():
        raise InputError(f"{path} cannot be opened: no such file or folder")
    with contextlib.closing(_Reader()) as reader:
        if path.is_file():
            shard_suffix(path)
            return reader.shard_problems(path)
        return list(_dataset_problems(path, Manifest.read(path / MANIFEST), reader, progress))


def _dataset_problems(
    folder: Path, manifest: Manifest, reader: "_Reader", progress: Callable[[int, int], None]
) -> Iterator[str]:
    here = list(manifest.shards)
    if (folder / PULLED).is_file():
        here = [entry for entry in manifest.shards if (folder / entry.file).exists()]
    sound = len(here) == len(manifest.shards)
    others = [*manifest.splits.values(), *manifest.documents]
    for problem in (problem for entry in others for problem in _file_problems(folder, entry)):
        sound = False
        yield problem
    for done, entry in enumerate(here, 1):
        problems = list(_file_problems(folder, entry)) or reader.shard_problems(folder / entry.file, entry)
        sound = sound and not problems
        yield from problems
        progress(done, len(here))
    if sound:
        yield from reader.whole_problems(folder, manifest)


def _file_problems(folder: Path, entry: FileEntry) -> Iterator[str]:
    file = folder / entry.file
    try:
        size = file.stat().st_size if file.is_file() else None
        if size is None:
            yield f"{entry.file}: missing"
        elif size != entry.bytes:
            yield f"{entry.file}: {size} bytes, the manifest says {entry.bytes}"
        elif (found := sha256_file(file)) != entry.sha256:
            yield f"{entry.file}: sha256 {found[:16]}…, the manifest says {entry.sha256[:16]}…"
    except OSError as error:
        yield f"{entry.file}: cannot be read: {error.strerror}"


class _Reader:
    """Reads shards in a child, a new one where the last had to be killed."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def shard_problems(self, file: Path, entry: ShardEntry | None = None) -> list[str]:
        """Return what is wrong with a shard's content."""
        limit = SECONDS + SECONDS_A_MEGABYTE * file.stat().st_size / 1e6
        request = {"file": str(file), "entry": entry.model_dump_json() if entry else ""}
        return self._ask(request, limit, entry.file if entry else file.name)

    def whole_problems(self, folder: Path, manifest: Manifest) -> list[str]:
        """Return what is wrong with what a manifest says of all its shards; each has been read."""
        limit = SECONDS + SECONDS_A_MEGABYTE * sum(split.bytes for split in manifest.splits.values()) / 1e6
        return self._ask({"manifest": manifest.model_dump_json(), "folder": str(folder)}, limit, MANIFEST)

    def _ask(self, request: Header, limit: float, name: str) -> list[str]:
        child = self._child = self._child or _started()
        try:
            problems: list[str] = child.call(request, {}, limit)[0]["problems"]
            return problems
        except ChildTimeout:
            self._child = None
            return [f"{name}: its reader hung and was stopped after {limit:.0f} s; do not open this file"]
        except ChildDied as error:
            self._child = None
            return [f"{name}: its reader crashed ({error}); do not open this file"]

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()


def _started() -> Child:
    try:
        return Child(["-m", "mlipq.store.checking.verify_child"], memory_limit=MEMORY)
    except (ChildTimeout, ChildDied) as error:
        raise InputError(f"the process that reads shards does not start ({error}); run mlipq doctor") from error
