"""Compute GFN1-xTB energies and Mulliken populations of sample molecules with dxtb, in a virtual environment of its own.

    python -m venv dxtb-venv
    dxtb-venv/bin/pip install torch==2.13.0 dxtb==0.4.0
    dxtb-venv/bin/python make_dxtb_values.py   # writes dxtb_values.json beside this file; a minute on one core

Closed shells without Z 19 to 56: for those, dxtb expands 4s, 4p, 5s and 5p in other Gaussians than tblite (README.md).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dxtb
import torch
from dxtb.calculators import GFN1Calculator
from tad_mctc.convert import symbol_to_number

sys.path.insert(0, str(Path(__file__).parent))
from samples import Sample, read

VALUES = Path(__file__).with_name("dxtb_values.json")
BOHR = 0.5291772105638411
"""Å, CODATA 2014 as in ase.units."""
OPTIONS = {"verbosity": 0, "scf_mode": "full", "f_atol": 1e-10, "x_atol": 1e-10, "maxiter": 300}


def chosen() -> Iterator[Sample]:
    """Yield every twentieth sample of QM7, and all that qualify from GSCDB138 and MOPAC."""
    yield from read("qm7.extxyz.gz")[::20]
    for file in ("gscdb138.extxyz.gz", "mopac_pm7.extxyz.gz"):
        yield from (sample for sample in read(file) if _qualifies(sample))


def _qualifies(sample: Sample) -> bool:
    numbers = symbol_to_number(list(sample.symbols))
    same_basis = ((numbers <= 18) | (numbers >= 81)).all()
    return bool(same_basis) and sample.multiplicity == 1 and 1 < len(numbers) <= 24


def run_dxtb(sample: Sample) -> dict[str, Any]:
    """Run a single point.

    Returns
    -------
    dict
        The sample's key; ``energy`` in Eh; Mulliken ``charges`` ``(n,)`` in e; ``populations`` ``(n, 3)``, electrons in s,
        p and d; and ``orbitals``, each atom's populations per orbital, in dxtb's order: s; y, z, x; z², xz, yz, x²-y², xy.
    """
    numbers = symbol_to_number(list(sample.symbols))
    positions = torch.tensor(sample.positions) / BOHR
    calculator = GFN1Calculator(numbers, opts=OPTIONS, dtype=torch.float64)
    result = calculator.singlepoint(positions, chrg=sample.charge, spin=0)
    orbitals = torch.diagonal(result.density @ result.integrals.overlap)
    index = calculator.ihelp
    atom_of_orbital = index.shells_to_atom[index.orbitals_to_shell]
    momentum_of_orbital = index.angular[index.orbitals_to_shell].long()
    populations = torch.zeros(len(numbers), 3).index_put_(
        (atom_of_orbital, momentum_of_orbital), orbitals, accumulate=True
    )
    return {
        **sample.key,
        "energy": round(float(result.total.sum()), 10),
        "charges": _rounded(index.reduce_orbital_to_atom(result.charges.mono)),
        "populations": [_rounded(row) for row in populations],
        "orbitals": [_rounded(orbitals[atom_of_orbital == atom]) for atom in range(len(numbers))],
    }


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 8) for value in values.tolist()]


def main() -> None:
    """Run all chosen samples and write the values, one structure a line."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    header = {"program": f"dxtb {dxtb.__version__}, torch {torch.__version__}", "options": OPTIONS}
    rows = ",\n".join(json.dumps(run_dxtb(sample), separators=(",", ":")) for sample in chosen())
    VALUES.write_text(json.dumps(header, indent=1)[:-2] + f',\n "structures": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
