"""Fixed splits: which part of a dataset a structure belongs to, as a file ``identity,part`` beside the shards."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlipq.errors import CheckError, InputError
from mlipq.store.commit import commit_bytes
from mlipq.store.manifest import Split

HEADER = b"identity,part\n"

_PART = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_LINE = re.compile(f"([0-9a-f]{{32}}),({_PART})\n".encode())


@dataclass(frozen=True, eq=False)
class Parts:
    """The structures of a split and the part of each, in the order of their identities.

    Parameters
    ----------
    identities
        ``(n, 2)`` u8, in the order of their hex digits, each once.
    parts
        ``(n,)`` names of parts.
    """

    identities: NDArray[np.uint64]
    parts: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.parts)

    def of(self, identities: NDArray[np.uint64]) -> NDArray[np.str_]:
        """Return the part of each structure, ``""`` where it belongs to none.

        Parameters
        ----------
        identities
            ``(structures, 2)`` u8, as datasets store them.
        """
        if not len(self):
            return np.full(len(identities), "", dtype=self.parts.dtype)
        known, asked = digests_of(self.identities), digests_of(identities)
        places = np.searchsorted(known, asked).clip(max=len(known) - 1)
        return np.where(known[places] == asked, self.parts[places], "")


def split_bytes(identities: NDArray[np.uint64], parts: ArrayLike) -> bytes:
    """Return the file of a split: a header, then a line a structure in the order of identities; equal splits give equal bytes.

    Parameters
    ----------
    identities
        ``(n, 2)`` u8, each once, in any order.
    parts
        ``(n,)`` names of parts: letters, digits, ``.``, ``_`` and ``-``.

    Raises
    ------
    InputError
        If a structure comes twice, or a name is none.
    """
    names = np.asarray(parts, dtype=np.str_)
    odd = [name for name in np.unique(names).tolist() if not re.fullmatch(_PART, name)]
    if odd:
        raise InputError(
            f"a part is named by up to 64 letters, digits, '.', '_' and '-', as test or train-1; not {odd[0]!r}"
        )
    digests = digests_of(identities)
    order = np.argsort(digests)
    hexes = [digest.ljust(16, b"\0").hex() for digest in digests[order].tolist()]
    repeated = np.flatnonzero(digests[order][1:] == digests[order][:-1])
    if len(repeated):
        raise InputError(f"structure {hexes[repeated[0]]} comes twice; a structure belongs to one part of a split")
    return HEADER + "".join(f"{digest},{name}\n" for digest, name in zip(hexes, names[order], strict=True)).encode()


def write_split(
    folder: Path, file: str, identities: NDArray[np.uint64], parts: NDArray[np.str_], made_by: str
) -> Split:
    """Write a split beside the shards in ``folder``; return what the manifest is to say of it.

    Parameters
    ----------
    file
        Name of the file, relative to ``folder``.
    identities
        ``(n, 2)`` u8, each once, in any order.
    parts
        ``(n,)`` names of the parts they belong to, ``""`` for none.
    made_by
        One sentence for the user: how it was made.

    Raises
    ------
    InputError
        As :func:`split_bytes`.
    """
    inside = parts != ""
    data = split_bytes(identities[inside], parts[inside])
    (folder / file).parent.mkdir(exist_ok=True)
    commit_bytes(folder / file, data)
    counts = dict(sorted(Counter(parts[inside].tolist()).items()))
    return Split(file=file, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), made_by=made_by, counts=counts)


def read_split(data: bytes, split: Split) -> Parts:
    """Read the file of a split.

    Parameters
    ----------
    data
        Its bytes.
    split
        What the manifest says of it.

    Raises
    ------
    CheckError
        If the bytes are not those that the manifest means, or are no split; the message names file and line.
    """
    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (split.bytes, split.sha256):
        raise CheckError(
            f"{split.file}: expected {split.bytes:,} bytes with sha256 {split.sha256[:16]}…, found {len(data):,} with "
            f"{found[:16]}…; the file was changed or damaged: restore it"
        )
    lines = _LINE.findall(data, len(HEADER))
    if not data.startswith(HEADER) or len(data) != len(HEADER) + sum(34 + len(part) for _, part in lines):
        raise CheckError(f"{split.file}: line {_odd_line(data)} should be <32 hex digits>,<part>, below identity,part")
    digests = bytes.fromhex(b"".join(digest for digest, _ in lines).decode())
    read = Parts(
        np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64),
        np.array([part.decode() for _, part in lines], dtype=np.str_),
    )
    known = digests_of(read.identities)
    unsorted = np.flatnonzero(known[1:] <= known[:-1])
    if len(unsorted):
        raise CheckError(f"{split.file}: line {unsorted[0] + 3} should come earlier; identities are sorted, each once")
    counts = dict(Counter(read.parts.tolist()))
    if counts != {part: n for part, n in split.counts.items() if n}:
        raise CheckError(f"{split.file} holds {counts} structures, but the manifest says {split.counts}")
    return read


def keyed_order(items: Sequence[bytes], seed: int) -> list[int]:
    """Return the numbers of items in the order of their keyed hashes (BLAKE2b): the same everywhere, whatever their order."""
    key = seed.to_bytes(16, "little", signed=True)
    digests = [hashlib.blake2b(item, digest_size=16, key=key).digest() for item in items]
    return sorted(range(len(items)), key=digests.__getitem__)


def digests_of(identities: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """Return identities as bytes of one length, which NumPy compares and sorts as their hex digits."""
    return np.ascontiguousarray(identities, dtype="<u8").reshape(-1, 2).view("S16").ravel()


def _odd_line(data: bytes) -> int:
    """Return the number, from 1, of the first line that is not as it should be."""
    lines = data.splitlines(keepends=True) or [b""]
    good = [lines[0] == HEADER, *(_LINE.fullmatch(line) is not None for line in lines[1:])]
    return good.index(False) + 1
