"""fairchem's dataset on ``--to fairchem``: ``read_fairchem.py FOLDER``."""

import sys
from pathlib import Path

from expected import Expected
from fairchem.core.datasets import AseDBDataset

folder = Path(sys.argv[1])
expected = Expected(folder)
wanted = {"r_energy": True, "r_forces": True, "r_data_keys": ["charge", "spin"]}
dataset = AseDBDataset({"src": str(folder / "fairchem"), "a2g_args": wanted})
graphs = [dataset[row] for row in range(len(dataset))]
expected.compare(
    "fairchem, as graphs",
    [
        {
            "atomic_numbers": graph.atomic_numbers,
            "positions": graph.pos,
            "energy": graph.energy,
            "forces": graph.forces,
            "charge": graph.charge,
            "multiplicity": graph.spin,
        }
        for graph in graphs
    ],
)
expected.compare(
    "fairchem, as ASE objects",
    [
        {
            "positions": atoms.positions,
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "orbital_charges": atoms.info["gfn1_orbital_charges"],
        }
        for atoms in map(dataset.get_atoms, range(len(dataset)))
    ],
)
sizes = [dataset.get_metadata("natoms", row) for row in range(len(dataset))]
assert sizes == [len(one["atomic_numbers"]) for one in expected], "metadata.npz: sizes of the structures"
