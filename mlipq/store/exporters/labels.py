"""Which arrays become *the* energy and forces of a format that has one of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import ArraySpec
from mlipq.store.columns import is_missing
from mlipq.store.labels import is_energy, is_forces
from mlipq.store.packing import REFERENCE
from mlipq.store.table import Table


@dataclass
class Labels:
    """Names of the arrays, ``None`` where there is none; and what a writer found: structures without the energy, a remark."""

    energy: str | None = None
    forces: str | None = None
    without_energy: int = 0
    remark: str = ""

    def of(self, table: Table, row: int) -> tuple[float | None, NDArray | None]:
        """Return energy (eV) and forces (``(n, 3)``, eV/Å) of one structure, ``None`` where it lacks them."""
        energy = None if self.energy is None else float(table.arrays[self.energy][row])
        if energy is not None and np.isnan(energy):
            energy = None
        forces = None if self.forces is None else table.arrays[self.forces][table.atoms_of(row)]
        return energy, None if forces is None or is_missing(forces) else forces

    def count_gaps(self, table: Table) -> None:
        """Count the structures of a table that lack the energy."""
        if self.energy is not None:
            self.without_energy += int(np.isnan(table.arrays[self.energy]).sum())


def chosen_labels(specs: dict[str, ArraySpec], energy: str | None, forces: str | None) -> Labels:
    """Choose the energy and the forces among a dataset's arrays.

    Parameters
    ----------
    specs
        Its arrays.
    energy, forces
        What the user named: the energy may be left out where there is no choice, forces then are those of its source.

    Raises
    ------
    InputError
        If several arrays could be the energy and none was named, or a named array is not there or does not fit.
    """
    name = _energy(specs, energy)
    return Labels(name, _forces(specs, name, forces))


def _energy(specs: dict[str, ArraySpec], name: str | None) -> str | None:
    choices = [spec.name for spec in specs.values() if is_energy(spec)]
    if name is None and len(choices) > 1:
        options = " or ".join(f"--energy {choice}" for choice in choices)
        raise InputError(f"several arrays could be the energy; choose one: {options}")
    if name is None:
        return choices[0] if choices else None
    if name not in choices:
        raise InputError(
            f"{name!r} cannot be the energy; this dataset has {', '.join(choices) or 'none'}. A field of the input becomes "
            "one when it is labelled with --reference"
        )
    return name


def _forces(specs: dict[str, ArraySpec], energy: str | None, name: str | None) -> str | None:
    if name is None:
        if energy is None:
            return None
        matching = [s.name for s in specs.values() if is_forces(s) and _same_source(s, specs[energy])]
        return matching[0] if len(matching) == 1 else None
    choices = [spec.name for spec in specs.values() if is_forces(spec)]
    if name not in choices:
        raise InputError(f"{name!r} cannot be the forces; this dataset has {', '.join(choices) or 'none'}")
    return name


def _same_source(one: ArraySpec, other: ArraySpec) -> bool:
    """True for the energy and forces of one labeler, or of one level of theory among the references."""
    source = one.name.partition("/")[0]
    same = source == other.name.partition("/")[0]
    return same and (f"{source}/" != REFERENCE or one.level_of_theory == other.level_of_theory)
