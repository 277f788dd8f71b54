"""Extended XYZ with the keys that MACE's training reads by default: ``REF_energy``, ``REF_forces``, ``total_charge``, ``total_spin``.

Where the manifest has energies of isolated atoms at this level, they come first, as frames of
``config_type=IsolatedAtom``: MACE takes its E0s from them. It wants those of exactly the elements that it trains on, so there
are none where one is unknown. All other arrays stand there as in ``extxyz``.
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.store.elements import symbols_of
from mlipq.store.exporters.exporter import Exporter, Progress
from mlipq.store.exporters.extxyz import write_frames
from mlipq.store.exporters.frames import frame_text
from mlipq.store.exporters.labels import Labels
from mlipq.store.reader.dataset import Dataset


def write(dataset: Dataset, path: Path, labels: Labels, progress: Progress) -> int:
    """Write all structures; one that lacks the energy has no ``REF_energy``, and MACE gives it no weight."""
    if labels.energy is None:
        raise InputError("this dataset has no energy that MACE could be trained on; label it, or export to extxyz")
    known = dataset.manifest.reference_energies.get(labels.energy) if dataset.manifest else None
    isolated = known.isolated if known else {}
    elements = symbols_of(np.bitwise_or.reduce(dataset["elements"][:], axis=0))
    unknown = [symbol for symbol in elements if symbol not in isolated]
    if unknown:
        labels.remark = f"no isolated atoms, as {labels.energy} of {_listed(unknown)} is unknown: give MACE its --E0s"
    atoms = "" if unknown else "".join(_isolated_atom(symbol, isolated[symbol]) for symbol in sorted(elements))
    return write_frames(dataset, path, labels, progress, _frame, atoms)


def _frame(atoms: Atoms, energy: float | None, forces: NDArray | None) -> str:
    atoms.info |= {"total_charge": atoms.info["charge"], "total_spin": atoms.info["spin_multiplicity"]}
    if energy is not None:
        atoms.info["REF_energy"] = energy
    if forces is not None:
        atoms.arrays["REF_forces"] = forces
    return frame_text(atoms, None, None)


def _isolated_atom(symbol: str, energy: float) -> str:
    return frame_text(Atoms(symbol, info={"config_type": "IsolatedAtom", "REF_energy": energy}), None, None)


def _listed(symbols: list[str]) -> str:
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")


EXPORTER = Exporter("extended XYZ with MACE's keys", write, suffix=".xyz", energy="one")
