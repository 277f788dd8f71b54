"""The ``xtb`` program, one process a structure, as many at once as there are workers.

    python -m benchmarks.labeling.contestants.xtb_program INPUT OUT --workers N

``--gfn 1 --grad`` at its own default accuracy, each in a folder of its own that is removed afterwards.
"""

import re
import resource
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ase import Atoms
from ase.units import Hartree

from benchmarks.labeling import molecules


def energy(atoms: Atoms) -> float | None:
    """Return the energy in eV, ``None`` where the program fails."""
    lines = [f"{s} {x:.10f} {y:.10f} {z:.10f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
    options = ["--gfn", "1", "--grad", "--norestart"]
    state = ["--chrg", str(molecules.charge(atoms)), "--uhf", str(molecules.uhf(atoms))]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "mol.xyz").write_text("\n".join([str(len(lines)), "", *lines, ""]))
        done = subprocess.run(["xtb", "mol.xyz", *options, *state], cwd=folder, capture_output=True)
        gradient = Path(folder, "gradient")
        if done.returncode or not gradient.exists():
            return None
        found = re.search(r"SCF energy =\s*(\S+)", gradient.read_text())
    return float(found[1]) * Hartree if found else None


def main() -> None:
    arguments = molecules.parser(__doc__).parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (most, most))  # as the program's documentation asks for
    structures = molecules.read(arguments.input)
    order = molecules.largest_first(structures)
    with ThreadPoolExecutor(arguments.workers) as pool:
        energies = dict(zip(order, pool.map(energy, (structures[index] for index in order)), strict=True))
    molecules.write_energies(arguments.out, [energies[index] for index in range(len(structures))])


if __name__ == "__main__":
    main()
