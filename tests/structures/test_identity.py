"""The identity is part of the file format: golden hashes, and an independent packing of the bytes."""

import hashlib
import struct
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from mlipq.structures import from_atoms, identity, identity_hex, identity_words

WATER = ([8, 1, 1], [(0.0, 0.0, 0.11930801), (0.0, 0.75895306, -0.47723204), (0.0, -0.75895306, -0.47723204)])
SALT = ([11, 17], [(0.0, 0.0, 0.0), (2.82, 2.82, 2.82)])
SALT_CELL = [(0.0, 2.82, 2.82), (2.82, 0.0, 2.82), (2.82, 2.82, 0.0)]

GOLDEN = {
    "water": ((*WATER, 0, 1, None, None), "f0334537d28d003628dc99fe85445348"),
    "water cation": ((*WATER, 1, 2, None, None), "93587254dc8952f45d63719c01a38afd"),
    "water triplet": ((*WATER, 0, 3, None, None), "83a26ea3f14e86dd7fe5ca278d232f46"),
    "hydrogen atom": (([1], [(0.0, 0.0, 0.0)], 0, 2, None, None), "61f8696cc073779d52b7686ed8ed2cac"),
    "rock salt": ((*SALT, 0, 1, SALT_CELL, (True, True, True)), "3d6b0dd90148c479391034116eab81c4"),
    "slab of rock salt": ((*SALT, 0, 1, SALT_CELL, (True, True, False)), "ba4b5562a0e9a6fec0cc449c81b95462"),
}


def packed_by_hand(numbers, positions, charge, multiplicity, cell, pbc):
    def ticks(rows):
        exact = [(Decimal(repr(float(x))) * 10**8).quantize(Decimal(1), ROUND_HALF_EVEN) for row in rows for x in row]
        return struct.pack(f"<{len(exact)}q", *map(int, exact))

    message = (
        struct.pack("<I", len(numbers)) + bytes(numbers) + ticks(positions) + struct.pack("<ii", charge, multiplicity)
    )
    message += struct.pack("<3B", *(pbc or (0, 0, 0)))
    if pbc and any(pbc):
        message += ticks(cell)
    return hashlib.blake2b(message, digest_size=16).hexdigest()


@pytest.mark.parametrize("structure, golden", GOLDEN.values(), ids=GOLDEN)
def test_golden_identities(structure, golden):
    assert identity(*structure).hex() == golden
    assert packed_by_hand(*structure) == golden


@pytest.mark.parametrize("structure, golden", GOLDEN.values(), ids=GOLDEN)
def test_identity_of_what_was_read(structure, golden):
    numbers, positions, charge, multiplicity, cell, pbc = structure
    info = {"charge": charge, "multiplicity": multiplicity}
    read = from_atoms(Atoms(numbers, positions, cell=cell, pbc=pbc or False, info=info))
    assert read.identity().hex() == golden


def test_order_of_atoms_counts():
    numbers, positions = WATER
    assert identity(numbers, positions, 0, 1) != identity(numbers[::-1], positions[::-1], 0, 1)


def test_a_cell_without_periodicity_does_not_count():
    molecule = Atoms("He", [(0.5, 0, 0)])
    boxed = Atoms("He", [(0.5, 0, 0)], cell=[9, 9, 9])
    assert from_atoms(molecule).identity() == from_atoms(boxed).identity()


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), st.sampled_from([-0.0, 2e-9, -2e-9, 4.9e-9, -4.9e-9]))
def test_noise_below_the_rounding_changes_nothing(position, noise):
    exact = from_atoms(Atoms("He", [np.round(position, 8)]))
    nearly = from_atoms(Atoms("He", [np.round(position, 8) + noise]))
    if max(map(abs, position)) < 1e4:  # beyond, doubles are too coarse for noise of this size
        assert exact.identity() == nearly.identity()
        np.testing.assert_array_equal(exact.positions, nearly.positions)


def test_minus_zero_is_zero():
    assert from_atoms(Atoms("He", [(-0.0, 0, 0)])).identity() == from_atoms(Atoms("He", [(0.0, 0, 0)])).identity()


def test_words_show_the_same_hex_digits():
    digest = identity(*WATER, 0, 1)
    assert identity_hex(identity_words(digest)) == digest.hex()
