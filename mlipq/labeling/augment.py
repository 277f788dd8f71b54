"""More structures for labels that cost little: rattled copies of the ones that a job was given."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mlipq.labeling.job import Rattle
from mlipq.schema import RATTLED, Flag
from mlipq.structures import Structure, rounded

_OF_READING = int(Flag.F_CHARGE_DEFAULT | Flag.F_SPIN_DEFAULT | Flag.F_PBC_IGNORED)
"""The flags that hold for any geometry."""


def rattled(structure: Structure, rattle: Rattle) -> Iterator[Structure]:
    """Yield copies of a structure with every coordinate displaced by a normally distributed length.

    Displacements are drawn from the seed, the structure's identity and the copy's number alone: neither the order of the inputs nor
    the number of copies changes them. A copy has its parent's name, group, source, charge and spin; reference labels
    and whatever else the input said belong to the parent's geometry, and are left out.

    Parameters
    ----------
    structure
        The parent.
    rattle
        How many copies, how far (in Å), and the seed.
    """
    kept = replace(structure, reference={}, extra={}, quality=structure.quality & _OF_READING)
    entropy = hashlib.blake2b(structure.identity(), digest_size=16, key=rattle.seed.to_bytes(8, "little")).digest()
    for number in range(1, rattle.copies + 1):
        generator = np.random.default_rng([number, int.from_bytes(entropy, "little")])
        moved = structure.positions + generator.normal(scale=rattle.sigma, size=structure.positions.shape)
        yield replace(kept, positions=rounded(moved), info={RATTLED: number})
