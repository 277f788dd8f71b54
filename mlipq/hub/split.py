"""Fixed, named splits of a dataset that is not published yet.

Which part a structure falls into depends on its identity (or its group) and the seed alone: not on the order of the dataset,
the machine or the version of any library. Structures are put in the order of a keyed hash, and parts are cut from that.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import RATTLED
from mlipq.store import Dataset, Manifest, open_dataset
from mlipq.store.columns import as_text
from mlipq.store.elements import bits_of
from mlipq.store.holding import holding
from mlipq.store.manifest import MANIFEST, PULLED, Split
from mlipq.store.splits import keyed_order, write_split

HELD_OUT = "test"
"""The part that a split by elements holds out."""
EVERYTHING = "train=0.8,val=0.1,test=0.1"
"""Parts where none are named."""
OTHERS = "pool=rest"
"""Parts of what a split by elements does not hold out, where none are named."""
MAX_PARTS = 100
"""An array with more distinct values does not name parts: it was meant as groups, perhaps."""

_NAME = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*")


def split_dataset(
    folder: Path,
    by: str,
    parts: str = "",
    *,
    name: str = "",
    seed: int = 0,
    elements: Sequence[str] = (),
    within: str = "",
) -> Split:
    """Divide the structures of an unpublished dataset into parts, and keep that beside its shards.

    Parameters
    ----------
    folder
        Of the dataset; its manifest gets the split.
    by
        ``random``; ``group`` (structures of one group stay together); ``elements`` (structures with any of ``elements``
        are the part ``test``, the others are divided at random); or an array with one truth value, whole number or text
        a structure, whose values name the parts (structures without one are in no part).
    parts
        Names and sizes, as ``train=0.8,val=0.1,test=0.1`` (fractions) or ``test=1101,pool=rest`` (structures); by default
        80, 10 and 10 %, and by elements all others are ``pool``. Groups meet the sizes as nearly as whole groups can.
    name
        Of the split; by default ``by``, without what comes before a slash. A split of that name is replaced.
    seed
        Another one gives another split.
    elements
        Symbols, where ``by`` is ``elements``.
    within
        Part of another split, as ``random/pool``: only its structures are divided, at random or by group; no other is in any part.

    Returns
    -------
    Split
        As the manifest has it: file, hash, counts.

    Raises
    ------
    InputError
        If the dataset is published or pulled, such parts cannot be made of it, or they would part rattled copies from their
        parents.

    Examples
    --------
    >>> split_dataset(Path("out"), "random", "test=1101,pool=rest").counts  # doctest: +SKIP
    {'pool': 6000, 'test': 1101}
    """
    _refuse_published(folder)
    name = name or by.rpartition("/")[2].lower()
    if within and within.partition("/")[0] in (name, within):
        raise InputError(
            f"within {within}: name a part of a split, as random/pool, and another name for the new split, as --name settings"
        )
    if within and by not in ("random", "group"):
        raise InputError(f"within {within}: structures of a part are divided at random or by group, not by {by}")
    dataset = open_dataset(folder)
    rows = dataset.select(split=within).rows if within else np.arange(len(dataset))
    identities = dataset["identity"][rows]
    if bool(elements) != (by == "elements"):
        raise InputError("elements are named for a split by elements, and only there: --by elements --elements Fe,Co")
    if by in ("random", "group", "elements"):
        parts = parts or (OTHERS if by == "elements" else EVERYTHING)
        made_by = f"{by}{f' within {within}' if within else ''}, seed {seed}: {parts}"
        _refuse_parted_copies(dataset, by, parts)
    if by == "random":
        chosen = _random(identities, parts, seed)
    elif by == "group":
        chosen = parts_by_group(dataset["group"][rows], parts, seed)
    elif by == "elements":
        chosen = _by_elements(dataset, elements, parts, seed)
        made_by = (
            f"{HELD_OUT} has all structures with {' or '.join(elements)}; the others at random, seed {seed}: {parts}"
        )
    else:
        chosen = _by_array(dataset, by, parts)
        made_by = f"the values of {by}"
    if empty := [part for part in _names_of(parts) if parts and not (chosen == part).any()]:
        raise InputError(
            f"split by {by}: no structure would be in {' and '.join(empty)}; of {len(chosen):,} structures, parts {parts!r} cannot be "
            "made so that each has some. Give other sizes"
        )
    return add_split(folder, name, identities, chosen, made_by)


def add_split(
    folder: Path, name: str, identities: NDArray[np.uint64], parts: Sequence[str] | NDArray, made_by: str
) -> Split:
    """Keep a split beside the shards of an unpublished dataset; one of the same name is replaced.

    Parameters
    ----------
    folder
        Of the dataset.
    name
        Of the split: lower-case letters and digits, with ``.``, ``_`` or ``-`` between.
    identities
        ``(n, 2)`` u8, of structures of the dataset.
    parts
        ``(n,)`` names of the parts they belong to, ``""`` for none.
    made_by
        One sentence for the user: how it was made.

    Raises
    ------
    InputError
        If the dataset is published or pulled, a name is none, or no structure belongs to any part.
    """
    _refuse_published(folder)
    if not _NAME.fullmatch(name):
        raise InputError(
            f"a split is named by lower-case letters and digits, as random or held-out-metals; not {name!r}"
        )
    chosen = np.asarray(parts, dtype=np.str_)
    if not (chosen != "").any():
        raise InputError(f"split {name}: no structure belongs to any part; nothing was written")
    with holding(folder):  # of two splits made at once, neither forgets the other
        manifest = Manifest.read(folder / MANIFEST)
        split = write_split(folder, f"splits/{name}.csv", identities, chosen, made_by)
        manifest.model_copy(update={"splits": {**manifest.splits, name: split}}).write(folder / MANIFEST)
    return split


def _refuse_published(folder: Path) -> None:
    """Splits of a version that others may have are fixed."""
    manifest = Manifest.read(folder / MANIFEST)
    if manifest.version or (folder / PULLED).exists():
        ref = f"{manifest.name}@{manifest.version}"
        raise InputError(
            f"{folder} is the published {ref}, which never changes; split the folder that it was published from, "
            "and publish that as a new version"
        )


def _refuse_parted_copies(dataset: Dataset, by: str, parts: str) -> None:
    """Rattled copies of test structures must not get into training."""
    if f"info/{RATTLED}" in dataset.specs and by != "group" and (by == "random" or len(_names_of(parts)) > 1):
        raise InputError(
            f"{dataset.path} holds rattled copies, and a split by {by} would put copies of one structure into several parts; "
            "copies are in their parent's group: --by group keeps them together"
        )


def _random(identities: NDArray[np.uint64], parts: str, seed: int) -> NDArray[np.str_]:
    """Cut the parts from the structures in the order of their hashes."""
    sizes = _sizes(parts, len(identities))
    chosen = np.full(len(identities), "", dtype="U64")
    digests = [row.tobytes() for row in np.ascontiguousarray(identities, dtype="<u8")]
    order = np.array(keyed_order(digests, seed), dtype=np.int64)
    start = 0
    for part, size in sizes.items():
        chosen[order[start : start + size]] = part
        start += size
    return chosen


def parts_by_group(groups: NDArray, parts: str, seed: int) -> NDArray[np.str_]:
    """Divide structures into parts, those of one group together (see :func:`split_dataset`).

    Each group, in the order of their keyed hashes, goes to the part that lacks most structures.

    Parameters
    ----------
    groups
        ``(structures,)`` their groups.
    parts
        Names and sizes, as ``test=0.2,pool=rest``.
    seed
        Another one gives another split.

    Returns
    -------
    NDArray[np.str_]
        ``(structures,)`` names of parts, ``""`` for none.

    Raises
    ------
    InputError
        If parts are misspelt, or ask for more structures than there are.
    """
    lacking = _sizes(parts, len(groups))
    lacking[""] = len(groups) - sum(lacking.values())  # structures that shall be in no part
    names, members, counts = np.unique(groups.astype(np.str_), return_inverse=True, return_counts=True)
    part_of = np.full(len(names), "", dtype="U64")
    for number in keyed_order([name.encode() for name in names.tolist()], seed):
        part = max(lacking, key=lambda part: lacking[part])
        part_of[number] = part
        lacking[part] -= int(counts[number])
    return part_of[members]


def _by_elements(dataset: Dataset, elements: Sequence[str], parts: str, seed: int) -> NDArray[np.str_]:
    """Hold out the structures with any of these elements; divide the others at random."""
    held_out = (dataset["elements"][:] & bits_of(elements)).any(axis=1)
    if not held_out.any():
        raise InputError(f"no structure has any of {', '.join(elements)}")
    if HELD_OUT in _names_of(parts):
        raise InputError(f"the part {HELD_OUT} is what is held out; name the parts of the other structures otherwise")
    chosen = np.full(len(dataset), HELD_OUT, dtype="U64")
    chosen[~held_out] = _random(dataset["identity"][np.flatnonzero(~held_out)], parts, seed)
    return chosen


def _by_array(dataset: Dataset, name: str, parts: str) -> NDArray[np.str_]:
    """Take the values of an array for the names of parts."""
    if parts:
        raise InputError(f"the values of {name} name the parts; leave out --parts")
    spec = dataset.specs.get(name)
    if spec is None or (spec.level, spec.shape) != ("structure", ()) or spec.dtype.startswith("f"):
        found = "there is none" if spec is None else f"it is {spec.dtype} {spec.shape}, one row per {spec.level}"
        raise InputError(
            f"a split is made by random, group, elements, or an array with one truth value, whole number or text a "
            f"structure, as info/config_type; {name!r} is not: {found}"
        )
    values = np.array([as_text(value) for value in dataset[name][:].tolist()], dtype=np.str_)
    if (n_values := len(np.unique(values))) > MAX_PARTS:
        raise InputError(f"{name} has {n_values:,} different values; a split has {MAX_PARTS} parts at most")
    return values


def _names_of(parts: str) -> list[str]:
    return [part.partition("=")[0].strip() for part in parts.split(",")]


def _sizes(parts: str, n: int) -> dict[str, int]:
    """Read ``train=0.8,val=0.1,test=0.1`` or ``test=1101,pool=rest``: structures of each part among ``n``."""
    sizes: dict[str, int] = {}
    rest = ""
    cut = 0.0  # parts given as fractions end where the sums of fractions say, so that no structure is lost to rounding
    for name, text in (
        (name.strip(), text.strip()) for name, _, text in (item.partition("=") for item in parts.split(","))
    ):
        if not name or name in sizes:
            raise InputError(f"parts {parts!r}: each part needs a name of its own, as train=0.8,val=0.1,test=0.1")
        if text == "rest" and not rest:
            rest = name
            sizes[name] = 0
        elif re.fullmatch(r"[0-9]+", text):
            sizes[name] = int(text)
        elif re.fullmatch(r"0?\.[0-9]+|1\.0*", text):
            before, cut = cut, cut + float(text)
            sizes[name] = round(cut * n) - round(before * n)
        else:
            raise InputError(
                f"parts {parts!r}: {text!r} should be a fraction (0.8), a number of structures, or rest (once)"
            )
    left = n - sum(sizes.values())
    if left < 0 or cut > 1 + 1e-9:
        raise InputError(f"parts {parts!r} ask for {n - left:,} structures, but there are {n:,}")
    return {**sizes, rest: left} if rest else sizes
