"""Forces against a finite difference of the energy, for one structure in a thousand."""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mlipq.methods.ladder import ScfFailure
from mlipq.structures.structure import Structure

ONE_IN = 1000
STEP = 1e-3
"""Å: length of the displacement of all atoms together."""
TOLERANCE = 5e-3
"""eV/Å along that direction."""


def is_chosen(structure: Structure) -> bool:
    """True for one structure in :data:`ONE_IN`, chosen by its identity: the same ones wherever it is labelled."""
    return int.from_bytes(structure.identity()[:8], "little") % ONE_IN == 0


def forces_agree(structure: Structure, forces: NDArray, energy: Callable[[Structure], float]) -> bool:
    """Compare forces with a central difference of the energy along one random direction.

    Parameters
    ----------
    structure
        What was labelled.
    forces
        ``(n, 3)`` in eV/Å.
    energy
        Returns the energy of a structure in eV; where it raises :class:`ScfFailure`, the forces do not agree.
    """
    seed = int.from_bytes(hashlib.blake2b(structure.identity(), digest_size=8).digest(), "little")
    direction = np.random.default_rng(seed).normal(size=structure.positions.shape)
    direction /= np.linalg.norm(direction)
    charge, multiplicity = structure.charge, structure.multiplicity
    try:
        ahead, behind = (
            energy(Structure(structure.numbers, structure.positions + step * direction, charge, multiplicity))
            for step in (STEP, -STEP)
        )
    except ScfFailure:
        return False
    slope = -(ahead - behind) / (2 * STEP)
    return abs(slope - float((forces * direction).sum())) <= TOLERANCE
