"""One structure: atoms, charge, spin, where it came from, and its identity."""

import hashlib
import struct
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

TICKS_PER_ANGSTROM = 1e8
"""Positions and cells are rounded to 1e-8 Å when read; it is the rounded structure that is labelled and hashed."""

Value = bool | int | float | str | NDArray


@dataclass(slots=True)
class Structure:
    """A molecule or crystal as mlipq labels, stores and hashes it.

    Parameters
    ----------
    numbers
        ``(n,)`` uint8, atomic numbers.
    positions
        ``(n, 3)`` float64 in Å, already rounded (see :func:`rounded`).
    charge, multiplicity
        Total charge in e, spin multiplicity 2S+1.
    cell, pbc
        ``(3, 3)`` float64 in Å and ``(3,)`` bool; ``None`` for a molecule. Set together.
    source_file, source_index, name
        Where it came from: file relative to the input folder or job file, frame counted from 0, the file's own name for it.
    group
        What a split must keep together; empty means :attr:`default_group`.
    reference
        Labels that came with the input, by name without the ``reference/`` prefix, in mlipq's units.
    info
        Whatever else the input carried, by name without the ``info/`` prefix.
    extra
        Arrays of other labelers that a dataset used as input carried, by full name (``dft/energy``).
    quality
        Bits of :class:`mlipq.schema.Flag` known from reading.
    """

    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    charge: int
    multiplicity: int
    cell: NDArray[np.float64] | None = None
    pbc: NDArray[np.bool_] | None = None
    source_file: str = ""
    source_index: int = 0
    name: str = ""
    group: str = ""
    reference: dict[str, Value] = field(default_factory=dict)
    info: dict[str, Value] = field(default_factory=dict)
    extra: dict[str, Value] = field(default_factory=dict)
    quality: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def is_periodic(self) -> bool:
        """True where any direction is periodic."""
        return self.pbc is not None and bool(np.any(self.pbc))

    @property
    def where(self) -> str:
        """File and frame, for messages: ``qm7.extxyz frame 17 (methane)``."""
        name = f" ({self.name})" if self.name else ""
        return f"{self.source_file or 'memory'} frame {self.source_index}{name}"

    @property
    def formula(self) -> str:
        """Elements in alphabetical order with their counts: ``C2H6O``."""
        counts = sorted(
            (chemical_symbols[z], n) for z, n in Counter(np.asarray(self.numbers, dtype="u1").tobytes()).items()
        )
        return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in counts)

    @property
    def default_group(self) -> str:
        """Formula, charge and multiplicity: ``C2H6O+0m1``."""
        return f"{self.formula}{self.charge:+d}m{self.multiplicity}"

    def identity(self) -> bytes:
        """Return the 16 bytes that name this structure (see :func:`identity`)."""
        return identity(self.numbers, self.positions, self.charge, self.multiplicity, self.cell, self.pbc)


def rounded(lengths: NDArray) -> NDArray[np.float64]:
    """Round lengths in Å to 1e-8 Å; minus zero becomes zero."""
    return np.asarray(lengths, dtype=np.float64).round(8) + 0.0


def identity(
    numbers: NDArray,
    positions: NDArray,
    charge: int,
    multiplicity: int,
    cell: NDArray | None = None,
    pbc: NDArray | None = None,
) -> bytes:
    """Hash what makes two structures the same one.

    BLAKE2b with a digest of 128 bits over, all little-endian: u4 number of atoms; u1 atomic numbers; i8
    round(1e8·positions); i4 charge; i4 multiplicity; 3 × u1 pbc; and, where any direction is periodic, i8
    round(1e8·cell). The order of atoms counts: two orders are two structures.

    Parameters
    ----------
    numbers
        ``(n,)`` atomic numbers.
    positions
        ``(n, 3)`` in Å.
    charge, multiplicity
        Total charge in e, 2S+1.
    cell, pbc
        ``(3, 3)`` in Å and ``(3,)`` bool, or ``None`` for a molecule.

    Returns
    -------
    bytes
        16 bytes.
    """
    periodic = bytes(3) if pbc is None else np.asarray(pbc, dtype="u1").tobytes()
    parts = [
        struct.pack("<I", len(numbers)),
        np.asarray(numbers, dtype="u1").tobytes(),
        _ticks(positions),
        struct.pack("<ii", charge, multiplicity),
        periodic,
    ]
    if any(periodic):
        parts.append(_ticks(np.zeros((3, 3)) if cell is None else cell))
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def _ticks(lengths: NDArray) -> bytes:
    return np.rint(np.asarray(lengths, dtype=np.float64) * TICKS_PER_ANGSTROM).astype("<i8").tobytes()


def identity_hex(words: NDArray[np.uint64]) -> str:
    """Return the stored ``(2,)`` u8 identity as the 32 hex digits that ledgers and messages show."""
    return np.asarray(words, dtype="<u8").tobytes().hex()


def identity_words(digest: bytes) -> NDArray[np.uint64]:
    """Return the 16 bytes of an identity as the ``(2,)`` u8 that shards store."""
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)
