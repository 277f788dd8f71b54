"""What the contestants beside mlipq share: reading structures, and the file of energies.

Runs in the peers' own environments too, so it needs ASE and nothing else of the project.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every contestant is told."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("input", type=Path)
    found.add_argument("out", type=Path)
    found.add_argument("--workers", type=int, required=True)
    return found


def read(path: Path) -> list[Atoms]:
    """Read extended XYZ (uncompressed: ASE seeks) whose comments give ``charge`` and ``spin_multiplicity``."""
    frames = ase.io.read(path, index=":", format="extxyz")
    assert isinstance(frames, list)
    return frames


def charge(atoms: Atoms) -> int:
    """Total charge in e."""
    return int(atoms.info["charge"])


def uhf(atoms: Atoms) -> int:
    """Unpaired electrons."""
    return int(atoms.info["spin_multiplicity"]) - 1


def largest_first(structures: Sequence[Atoms]) -> list[int]:
    """Return their indices in the order in which a pool is done soonest."""
    return sorted(range(len(structures)), key=lambda index: -len(structures[index]))


def write_energies(path: Path, energies: Sequence[float | None], **extra: Any) -> None:
    """Write energies in eV in the order of the structures, ``None`` where one failed."""
    path.write_text(json.dumps({"energies": list(energies), **extra}))
