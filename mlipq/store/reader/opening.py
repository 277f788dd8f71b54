"""Opening a dataset: a folder, a pulled folder that lacks some shards, or one shard file."""

import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from shlex import quote

from mlipq.errors import InputError
from mlipq.schema import STRUCTURE_ARRAYS, ArraySpec
from mlipq.store.manifest import MANIFEST, PULLED, Manifest, read_listed
from mlipq.store.reader.dataset import Dataset
from mlipq.store.reader.rows import ShardRows
from mlipq.store.reader.splits import Splits
from mlipq.store.shards.files import open_shard


def open_dataset(path: str | Path, *, shards: Iterable[int] | None = None) -> Dataset:
    """Open a dataset: a folder with ``manifest.json``, or one shard file.

    Of a version that was pulled in part, the shards that are there are opened, and a ``UserWarning`` says which are missing
    (see :attr:`Dataset.missing`).

    Parameters
    ----------
    path
        The folder or the file (``.zarr.zip``, ``.h5``).
    shards
        Numbers of the shards to open, from 0 in the order of the manifest; all by default.

    Raises
    ------
    InputError
        If there is nothing there, or a folder without a manifest, or there is no such shard.
    CheckError
        If the manifest or the shard is not valid.

    Examples
    --------
    >>> ds = open_dataset("out/")  # doctest: +SKIP
    >>> ds[17].info["gfn1_energy"], ds["gfn1/energy"][:100].mean()  # doctest: +SKIP
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} cannot be opened: no such file or folder")
    if path.is_dir():
        return _open_folder(path, shards)
    if shards is not None:
        raise InputError(f"{path} is one shard; shards are chosen where a folder with a manifest is opened")
    with open_shard(path) as shard:
        return Dataset(ShardRows([path], [len(shard)], shard.specs), path, [path])


def specs_of(manifest: Manifest) -> dict[str, ArraySpec]:
    """Return the specifications of a dataset's arrays by name."""
    listed = {spec.name: spec for spec in manifest.arrays}
    always = {spec.name: spec for spec in STRUCTURE_ARRAYS if not spec.optional and spec.name not in listed}
    return {**listed, **always}  # where every structure was refused, the manifest may list no arrays


def chosen_shards(manifest: Manifest, shards: Iterable[int] | None) -> list[int]:
    """Return the numbers of the shards to open, ascending.

    Raises
    ------
    InputError
        If the manifest lists no shard of such a number.
    """
    n = len(manifest.shards)
    numbers = sorted(set(range(n) if shards is None else shards))
    odd = [number for number in numbers if number not in range(n)]
    if odd:
        raise InputError(f"there is no shard {odd[0]}: the manifest lists {n}, numbered from 0")
    return numbers


def _open_folder(folder: Path, shards: Iterable[int] | None) -> Dataset:
    manifest = Manifest.read(folder / MANIFEST)
    numbers = chosen_shards(manifest, shards)
    absent: list[int] = []
    if (folder / PULLED).is_file():  # anywhere else a shard that is not there is an error, when it is read
        absent = [number for number in numbers if not (folder / manifest.shards[number].file).is_file()]
    if absent:
        warnings.warn(_what_is_missing(folder, manifest, absent), stacklevel=3)
    here = {*numbers} - {*absent}
    shown = [entry for number, entry in enumerate(manifest.shards) if number in here]
    missing = [entry for number, entry in enumerate(manifest.shards) if number not in here]
    files = [folder / entry.file for entry in shown]
    rows = ShardRows(files, [entry.n_structures for entry in shown], specs_of(manifest))
    splits = Splits(manifest.splits, partial(read_listed, folder))
    return Dataset(rows, folder, files, manifest.model_copy(update={"shards": shown}), missing, splits)


def _what_is_missing(folder: Path, manifest: Manifest, absent: list[int]) -> str:
    """Say which shards are missing, and how to get them."""
    numbers = ", ".join(map(str, absent[:10])) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
    structures = sum(manifest.shards[number].n_structures for number in absent)
    return (
        f"{folder}: {len(absent)} of {len(manifest.shards)} shards are not here (numbers {numbers}), and with them "
        f"{structures:,} of {manifest.n_structures:,} structures. Only the others are shown; to get them all: "
        f"mlipq data pull {quote(manifest.ref)}, or the URL that it was pulled from"
    )
