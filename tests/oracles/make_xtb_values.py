"""Compute GFN1-xTB energies and gradients of sample structures with the ``xtb`` program.

    apt-get install xtb        # 6.5.1 made the committed values
    python make_xtb_values.py  # writes xtb_values.json beside this file; half a minute on one core

The program's gradient is wrong where two atoms share a coordinate (README.md), so every structure is turned by a fixed
rotation first, and its gradient back.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from samples import Sample, read

VALUES = Path(__file__).with_name("xtb_values.json")
OPTIONS = ["--gfn", "1", "--grad", "--acc", "0.1", "--iterations", "1000", "--norestart"]
ROTATION = Rotation.from_euler("xyz", [1.0, 2.0, 3.0]).as_matrix()
"""Any rotation without symmetry, so that no two atoms of a symmetric structure share a coordinate."""
SPURIOUS_CHARGE = -3.0
"""e: where an atom is more negative, the program converged to a solution hundreds of Hartree too low; see README.md."""
EXCLUDED = {
    "O24x5_he2_1.0": "four unpaired electrons do not fit into the two orbitals that GFN1 gives He2",
    "O24x5_he2_1.5": "four unpaired electrons do not fit into the two orbitals that GFN1 gives He2",
    "TMD10_Mn": "the program's SCF does not converge",
}


def chosen() -> Iterator[Sample]:
    """Yield every GSCDB138 and MOPAC sample, every tenth of QM7 and every fifth of tmQM."""
    for file, step in (("gscdb138", 1), ("mopac_pm7", 1), ("qm7", 10), ("tmqm", 5)):
        yield from (sample for sample in read(f"{file}.extxyz.gz")[::step] if sample.name not in EXCLUDED)


def unpaired_electrons(sample: Sample) -> int:
    """Return 2S of the electrons that GFN1 treats.

    4f electrons are in GFN1's core: Ce to Lu carry three valence electrons each, and where there is one the spin is the
    lowest possible. All other cores hold an even number.
    """
    numbers = [atomic_numbers[symbol] for symbol in sample.symbols]
    if not any(58 <= z <= 71 for z in numbers):
        return sample.multiplicity - 1
    return (sum(3 if 58 <= z <= 71 else z for z in numbers) - sample.charge) % 2


def run_xtb(sample: Sample) -> dict[str, Any]:
    """Run the program in a folder of its own.

    Returns
    -------
    dict
        The sample's key, ``charge``, ``uhf``, ``energy`` in Eh, Mulliken ``charges`` ``(n,)`` in e and ``gradient`` ``(n, 3)`` in
        Eh/a0, rounded to 1e-9.
    """
    uhf = unpaired_electrons(sample)
    positions = np.array(sample.positions) @ ROTATION.T
    atoms = [f"{s} {x:.12f} {y:.12f} {z:.12f}" for s, (x, y, z) in zip(sample.symbols, positions, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "mol.xyz").write_text("\n".join([str(len(atoms)), "", *atoms, ""]))
        command = ["xtb", "mol.xyz", *OPTIONS, "--chrg", str(sample.charge), "--uhf", str(uhf)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_STACKSIZE": "1G"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode or "convergence criteria satisfied" not in done.stdout:
            raise RuntimeError(f"{sample.key}: xtb failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        energy, gradient = parse_gradient(Path(folder, "gradient").read_text(), len(atoms))
        charges = [round(float(charge), 8) for charge in Path(folder, "charges").read_text().split()]
    return {
        **sample.key,
        "charge": sample.charge,
        "uhf": uhf,
        "energy": energy,
        "charges": charges,
        "gradient": [[round(value, 9) for value in row] for row in (gradient @ ROTATION).tolist()],
    }


def parse_gradient(text: str, n_atoms: int) -> tuple[float, NDArray[np.float64]]:
    """Read the energy in Eh and the gradient ``(n, 3)`` in Eh/a0 from a Turbomole ``gradient`` file."""
    found = re.search(r"SCF energy =\s*(\S+)", text)
    if found is None:
        raise RuntimeError(f"no energy in: {text[:200]}")
    rows = text.splitlines()[2 + n_atoms : 2 + 2 * n_atoms]
    return float(found[1]), np.array([[float(value) for value in row.split()] for row in rows])


def version() -> str:
    """Return the version that the program names."""
    output = subprocess.run(["xtb", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"xtb version (\S+)", output)
    return found[1] if found else "unknown"


def main() -> None:
    """Run all chosen samples and write the values."""
    if shutil.which("xtb") is None:
        raise SystemExit("the xtb program is not installed; on Debian: apt-get install xtb")
    values: dict[str, Any] = {
        "program": f"xtb {version()}",
        "options": " ".join(OPTIONS),
        "units": {"energy": "Eh", "gradient": "Eh/a0"},
        "structures": [],
        "spurious_in_xtb": [],
    }
    for sample in chosen():
        value = run_xtb(sample)
        values["spurious_in_xtb" if min(value["charges"]) < SPURIOUS_CHARGE else "structures"].append(value)
    write(values, VALUES)


def write(values: dict[str, Any], path: Path) -> None:
    """Write compact JSON, one structure a line."""
    lines = []
    for key, value in values.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
