"""DFT charges of which some structures have none, as datasets have them."""

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import KNOWN_ARRAYS
from mlipq.store import Table


def give_dft_charges(table: Table, rows: NDArray[np.int64]) -> None:
    """Give some structures DFT charges, half as large again as GFN1's, and the others none: NaN."""
    labelled = np.repeat(np.isin(np.arange(len(table)), rows), np.diff(table.arrays["atom_offsets"]))
    for name in ("atomic_charges", "orbital_charges"):
        values = table.arrays[f"gfn1/{name}"] * np.float32(1.5)
        values[~labelled] = np.nan
        table.arrays[f"pbe/{name}"], table.specs[f"pbe/{name}"] = values, KNOWN_ARRAYS[f"pbe/{name}"]
