"""The numbers that a peer's reader must give; needs NumPy alone, so that it runs in every peer's environment."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np


class Expected:
    """Numbers of the labelled dataset, structure by structure."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "expected.npz", allow_pickle=False) as arrays:
            self.arrays = dict(arrays)
        self.offsets = self.arrays["atom_offsets"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for row in range(len(self)):
            atoms = slice(self.offsets[row], self.offsets[row + 1])
            per_atom = ("atomic_numbers", "positions", "forces", "orbital_charges")
            yield {name: self.arrays[name][atoms] for name in per_atom} | {
                name: self.arrays[name][row] for name in ("energy", "charge", "multiplicity")
            }

    def compare(self, who: str, found: list[Mapping[str, object]]) -> None:
        """Demand as many structures, and every number equal in the precision that the peer keeps, or that is stored."""
        assert len(found) == len(self), f"{who}: {len(found)} structures, {len(self)} expected"
        compared = 0
        for row, (expected, given) in enumerate(zip(self, found, strict=True)):
            for name, value in given.items():
                numbers = np.asarray(value)
                dtype = min(expected[name].dtype, numbers.dtype, key=lambda kind: kind.itemsize)
                numbers = numbers.reshape(expected[name].shape).astype(dtype)
                assert np.array_equal(numbers, expected[name].astype(dtype)), f"{who}: {name} of structure {row}"
                compared += numbers.size
        names = ", ".join(found[0])
        print(f"{who}: {len(found)} structures, {compared:,} numbers equal ({names})")
