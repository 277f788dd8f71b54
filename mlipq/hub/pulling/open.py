"""Opening a dataset by name, path or URL: pulled where it is not here, or streamed."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipq import store
from mlipq.hub.catalogue import CatalogueEntry, catalogue_location, load_catalogue
from mlipq.hub.pulling import home
from mlipq.hub.pulling.origin import is_offline, origin_of, pulled_ref
from mlipq.hub.pulling.pull import pull
from mlipq.hub.pulling.streaming import stream_dataset
from mlipq.hub.pulling.wanted import shard_numbers, wanted_files
from mlipq.hub.refs import DatasetRef
from mlipq.hub.transfer.locations import scheme, shown
from mlipq.store import Dataset, Manifest, sha256_file
from mlipq.store.manifest import MANIFEST


def open_dataset(
    where: str | Path,
    *,
    shards: Sequence[int] | str | None = None,
    stream: bool = False,
    offline: bool | None = None,
) -> Dataset:
    """Open a dataset: a folder, a shard, the name of a published version, or the path or URL of a manifest.

    A published version is pulled into the data home, as far as it is not there; from then on it opens without the network.

    Parameters
    ----------
    where
        A folder with ``manifest.json``, or one shard file (``.zarr.zip``, ``.h5``): opened as they are. A name, as
        ``qm7-gfn1@1.0.0`` or, for the latest version, ``qm7-gfn1``; or a URL: pulled.
    shards
        Numbers of the shards to open, from 0, or a text as ``"0-3,7"``; others are not pulled. All by default.
    stream
        True to pull nothing: chunks are read where they are, as they are asked for. For Zarr shards alone.
    offline
        True to use nothing but this computer's own disks; by default what ``MLIPQ_OFFLINE`` says.

    Raises
    ------
    InputError
        If there is no such dataset, or it is not published.
    CheckError
        If what is there, or comes, is not what manifest and catalogue say.
    IncompleteError
        If something did not come; what came is kept, and the same call goes on. Offline, it lists what is missing.

    Examples
    --------
    >>> ds = open_dataset("out/")  # doctest: +SKIP
    >>> ds = open_dataset("qm7-gfn1@1.0.0")  # doctest: +SKIP
    >>> ds = open_dataset("https://host/path/manifest.json", stream=True)  # doctest: +SKIP
    >>> ds[17].info["gfn1_energy"], ds["gfn1/energy"][:100].mean()  # doctest: +SKIP
    """
    off = is_offline(offline)
    path = _as_path(where)
    if stream and (path is None or path.is_dir() or path.name == MANIFEST):
        return stream_dataset(str(where), shards, off)
    if path is None:
        folder = _complete(str(where), shards, off) or pull(where, shards, offline=off).folder
    else:
        folder = path.parent if path.name == MANIFEST else path
    if shards is None:
        return store.open_dataset(folder)
    numbers = shard_numbers(shards, Manifest.read(folder / MANIFEST)) if folder.is_dir() else ()
    return store.open_dataset(folder, shards=numbers)


def locate(where: str | Path, shards: Sequence[int] | None = None) -> Path:
    """Return the path of a dataset: an existing path itself, or the folder that a name or URL was pulled to.

    What was pulled, be it in part, is taken as it is; a version of which nothing is here is pulled first.

    Parameters
    ----------
    where
        As for :func:`open_dataset`.
    shards
        Numbers of those to pull in that case; all by default. Empty for manifest, splits and documents alone.

    Raises
    ------
    InputError, CheckError, IncompleteError
        As :func:`open_dataset`.
    """
    path = _as_path(where)
    if path is not None:
        return path.parent if path.name == MANIFEST else path
    folder = _complete(str(where), (), is_offline(None))
    if folder is not None and (shards is not None or home.shards_here(folder, Manifest.read(folder / MANIFEST))):
        return folder
    return pull(where, shards).folder


@dataclass(frozen=True)
class Listed:
    """One version, as ``mlipq data list`` shows it.

    Parameters
    ----------
    ref
        Name and version.
    entry
        What there is to say of it.
    pulled
        How many of its shards are here; ``None`` where it was not pulled.
    """

    ref: DatasetRef
    entry: CatalogueEntry
    pulled: int | None


def data_list(*, offline: bool | None = None) -> list[Listed]:
    """Return all versions of the catalogue, and those that were pulled from elsewhere.

    Parameters
    ----------
    offline
        True to leave out a catalogue that is not on this computer; by default what ``MLIPQ_OFFLINE`` says.

    Raises
    ------
    InputError, CheckError, IncompleteError
        If the catalogue cannot be read.
    """
    entries: dict[DatasetRef, CatalogueEntry] = {}
    location = catalogue_location()
    if is_offline(offline) and scheme(location):
        warnings.warn(f"offline: {shown(location)} was not asked; here is what was pulled", stacklevel=2)
    else:
        catalogue = load_catalogue(location)
        entries = {ref: catalogue.find(ref)[1] for ref in catalogue.refs()}
    pulled: dict[DatasetRef, int] = {}
    for ref in home.pulled_refs():
        folder = home.folder_of(ref)
        manifest = home.manifest_of(folder)
        if manifest is not None:
            pulled[ref] = home.shards_here(folder, manifest)
            entries.setdefault(ref, CatalogueEntry.of(manifest, sha256_file(folder / MANIFEST)))
    return [Listed(ref, entry, pulled.get(ref)) for ref, entry in entries.items()]


def _as_path(where: str | Path) -> Path | None:
    """Return the path that is meant, where one is: it exists, or could not be a name."""
    if isinstance(where, Path):
        return where
    if scheme(where):
        return None
    path = Path(where)
    if path.exists() or "/" in where or where.endswith((".zarr.zip", ".h5")):
        return path
    return None


def _complete(where: str, shards: Sequence[int] | str | None, offline: bool) -> Path | None:
    """Return the folder of what was pulled, if these shards are all there."""
    pulled = pulled_ref(where) if scheme(where) else None
    origin = None if pulled else origin_of(where, offline)
    ref = pulled or (origin.ref if origin else None)
    if ref is None:
        return None
    folder = home.folder_of(ref)
    manifest = home.manifest_of(folder)
    if manifest is None:
        return None
    if origin and origin.manifest_sha256 not in (None, sha256_file(folder / MANIFEST)):
        return None  # pulling says what is wrong
    wanted = wanted_files(manifest, shard_numbers(shards, manifest))
    return None if home.missing(folder, wanted, hashed=False) else folder
