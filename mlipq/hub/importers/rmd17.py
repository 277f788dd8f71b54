"""rMD17: revised trajectories of ten small molecules, one NumPy archive each (Christensen and von Lilienfeld, 2020).

Reads the whole trajectories, ``rmd17_ethanol.npz``, and those cut into the published splits,
``rmd17_ethanol_train_01.npz``. The older, noisier labels of MD17 that stand beside (``old_energies``, ``old_forces``) are
left out. The molecules are neutral and closed-shell.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ase import Atoms

from mlipq.errors import InputError
from mlipq.hub.importers.importer import Image, Importer
from mlipq.hub.importers.npz import read_arrays
from mlipq.structures.reference import ReferenceSpec

_LEVEL = "PBE/def2-SVP"
_FILE = re.compile(r"(?:rmd17_)?(?P<molecule>.+?)(?:_(?P<part>train|test)_(?P<split>\d+))?\.npz")
_ARRAYS = {
    "nuclear_charges": ("atoms",),
    "coords": ("frames", "atoms", 3),
    "energies": ("frames",),
    "forces": ("frames", "atoms", 3),
    "old_indices": ("frames",),
}


def read(path: Path) -> Iterator[Image]:
    """Read a trajectory: group is the molecule, name is the molecule and the frame of the original MD17 trajectory.

    Where the file's name says so, ``info/part`` is ``train`` or ``test``, and ``info/split`` the number of the split.
    """
    named = _FILE.fullmatch(path.name)
    if named is None:
        raise InputError(f"{path}: a file of rMD17 is named as rmd17_ethanol.npz or rmd17_ethanol_train_01.npz")
    molecule, part, split = named["molecule"], named["part"], named["split"]
    arrays = read_arrays(path, _ARRAYS)
    frames = len(arrays["energies"])
    for row in range(frames):
        atoms = Atoms(arrays["nuclear_charges"], arrays["coords"][row])
        index = int(arrays["old_indices"][row])
        atoms.info = {"charge": 0, "spin_multiplicity": 1, "group": molecule, "name": f"{molecule}-{index}"}
        atoms.info |= {"part": part, "split": split, "md17_index": index}
        atoms.info |= {"energies": arrays["energies"][row], "forces": arrays["forces"][row]}
        yield Image(atoms, (row + 1) / frames)


IMPORTER = Importer(
    title="rMD17, .npz",
    patterns=("*.npz",),
    read=read,
    references=(
        ReferenceSpec("pbe_energy", "energies", "energy", "kcal/mol", _LEVEL),
        ReferenceSpec("pbe_forces", "forces", "forces", "kcal/mol/Å", _LEVEL),
    ),
)
