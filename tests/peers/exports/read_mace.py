"""MACE's reader on ``--to mace``: ``read_mace.py FOLDER``."""

import sys
from pathlib import Path

from expected import Expected
from mace.data.utils import KeySpecification, load_from_xyz, update_keyspec_from_kwargs
from mace.tools.default_keys import DefaultKeys

folder = Path(sys.argv[1])
expected = Expected(folder)
keys = update_keyspec_from_kwargs(KeySpecification(), DefaultKeys.keydict())  # as `mace_run_train` does with no options
_, configurations = load_from_xyz(str(folder / "mace.xyz"), keys, extract_atomic_energies=True)
isolated, _ = load_from_xyz(str(folder / "mace-e0s.xyz"), keys, extract_atomic_energies=True)
known = dict(
    zip(expected.arrays["isolated_numbers"].tolist(), expected.arrays["isolated_energies"].tolist(), strict=True)
)
assert isolated == known, f"E0s: {isolated}, expected {known}"
expected.compare(
    f"MACE (and {len(known)} E0s)",
    [
        {
            "atomic_numbers": configuration.atomic_numbers,
            "positions": configuration.positions,
            "energy": configuration.properties["energy"],
            "forces": configuration.properties["forces"],
            "charge": configuration.properties["total_charge"],
            "multiplicity": configuration.properties["total_spin"],
        }
        for configuration in configurations
    ],
)
