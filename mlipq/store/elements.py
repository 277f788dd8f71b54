"""Which elements structures have, as bits: what ``Dataset.select`` reads instead of the atoms."""

from collections.abc import Iterable

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from mlipq.errors import InputError


def element_bits(numbers: NDArray, offsets: NDArray) -> NDArray[np.uint64]:
    """Return the ``elements`` array of structures: ``(structures, 2)`` u8, bit Z of 128 set where one has element Z.

    Parameters
    ----------
    numbers
        ``(atoms,)`` atomic numbers, at most 127.
    offsets
        ``(structures + 1,)`` where the atoms of each structure start; each has at least one.
    """
    words = np.zeros((len(numbers), 2), dtype=np.uint64)
    words[np.arange(len(numbers)), numbers // 64] = np.uint64(1) << (numbers % 64).astype(np.uint64)
    return np.bitwise_or.reduceat(words, offsets[:-1], axis=0) if len(offsets) > 1 else words


def bits_of(symbols: Iterable[str]) -> NDArray[np.uint64]:
    """Return the ``(2,)`` u8 bits of these elements.

    Raises
    ------
    InputError
        If a symbol is none.
    """
    words = np.zeros(2, dtype=np.uint64)
    for symbol in symbols:
        z = atomic_numbers.get(symbol, 0)
        if not z:
            raise InputError(f"{symbol!r} is no element; symbols look like Fe or C")
        words[z // 64] |= np.uint64(1) << np.uint64(z % 64)
    return words


def symbols_of(bits: NDArray[np.uint64]) -> list[str]:
    """Return the elements of ``(2,)`` u8 bits, by atomic number.

    Examples
    --------
    >>> symbols_of(bits_of(["O", "H", "Au"]))
    ['H', 'O', 'Au']
    """
    return [symbol for z, symbol in enumerate(chemical_symbols) if int(bits[z // 64]) >> (z % 64) & 1]
