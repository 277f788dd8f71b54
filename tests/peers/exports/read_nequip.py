"""NequIP's ASE dataset on ``--to extxyz``: ``read_nequip.py FOLDER``."""

import sys
from pathlib import Path

import torch
from expected import Expected
from nequip.data.dataset import ASEDataset

torch.set_default_dtype(torch.float64)  # as nequip-train does with its data
folder = Path(sys.argv[1])
dataset = ASEDataset(file_path=str(folder / "extxyz.extxyz"))
frames = [dataset[row] for row in range(len(dataset))]
Expected(folder).compare(
    "NequIP",
    [
        {
            "atomic_numbers": frame["atomic_numbers"],
            "positions": frame["pos"],
            "energy": frame["total_energy"],
            "forces": frame["forces"],
        }
        for frame in frames
    ],
)
