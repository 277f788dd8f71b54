"""Neighbour lists against brute force and ASE; batches of many against batches of one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from building import batch_of, moved

from mlipq.errors import InputError
from mlipq.store.packing import pack
from mlipq.training.models.batch import collate, find_neighbours


def sorted_vectors(receivers, senders, vectors):
    return sorted(zip(receivers, senders, *np.round(np.asarray(vectors).T, 6) + 0.0, strict=True))


def test_the_neighbours_of_a_molecule_are_all_pairs_within_the_cutoff(samples):
    for structure in samples("gscdb138")[:20]:
        batch = batch_of(structure, cutoff=4.0)
        vectors = structure.positions[None, :] - structure.positions[:, None]  # [receiver, sender]
        near = (np.linalg.norm(vectors, axis=2) < 4.0) & ~np.eye(len(structure), dtype=bool)
        receivers, senders = np.nonzero(near)
        assert sorted_vectors(batch.receivers.tolist(), batch.senders.tolist(), batch.vectors) == sorted_vectors(
            receivers.tolist(), senders.tolist(), vectors[near]
        )


def test_the_neighbours_in_a_crystal_are_those_of_ase(samples):
    for crystal in samples("crystals"):
        atoms = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=crystal.pbc)
        receivers, senders, vectors = neighbor_list("ijD", atoms, 4.0)
        batch = batch_of(crystal, cutoff=4.0)
        assert len(receivers) > len(crystal)
        assert sorted_vectors(batch.receivers.tolist(), batch.senders.tolist(), batch.vectors) == sorted_vectors(
            receivers.tolist(), senders.tolist(), vectors
        )


def test_a_structure_periodic_along_one_vector_only(samples):
    crystal = replace(samples("crystals")[0], pbc=np.array([False, True, False]))
    atoms = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=crystal.pbc)
    receivers, senders, vectors = neighbor_list("ijD", atoms, 5.0)
    batch = batch_of(crystal)
    assert sorted_vectors(batch.receivers.tolist(), batch.senders.tolist(), batch.vectors) == sorted_vectors(
        receivers.tolist(), senders.tolist(), vectors
    )


def test_molecules_and_crystals_share_a_batch_and_edges_are_sorted_by_receiver(samples):
    structures = [samples("qm7")[0], *samples("crystals"), *samples("gscdb138")[:3]]
    batch = batch_of(*structures)
    assert bool((batch.receivers.diff() >= 0).all())
    assert bool((batch.structures[batch.senders] == batch.structures[batch.receivers]).all())
    assert batch.n_structures == len(structures)
    assert batch.n_atoms == sum(map(len, structures))
    atoms = edges = 0
    for structure in structures:
        alone = batch_of(structure)
        part = slice(edges, edges + len(alone.vectors))
        assert torch.equal(batch.vectors[part], alone.vectors)
        assert torch.equal(batch.senders[part], alone.senders + atoms)
        assert torch.equal(batch.receivers[part], alone.receivers + atoms)
        atoms, edges = atoms + alone.n_atoms, part.stop


def test_kept_lists_are_picked_in_any_order(samples):
    table = pack([*samples("qm7")[:6], *samples("crystals")], {})
    lists = find_neighbours(table.arrays, 5.0)
    rows = np.array([8, 3, 0, 3, 7])
    picked = collate(table.take(rows).arrays, lists.take(rows))
    anew = collate(table.take(rows).arrays, find_neighbours(table.take(rows).arrays, 5.0))
    for name in ("senders", "receivers", "vectors", "atomic_numbers", "structures", "charge"):
        assert torch.equal(getattr(picked, name), getattr(anew, name))


def test_a_molecule_far_from_the_origin_loses_nothing(samples):
    here = samples("qm7")[5]
    there = moved(here, shift=1e5)
    assert torch.allclose(
        batch_of(here, dtype=torch.float32).vectors, batch_of(there, dtype=torch.float32).vectors, atol=1e-6
    )


def test_atoms_without_neighbours_have_no_edges(samples):
    atom = replace(samples("qm7")[0], numbers=np.array([2], dtype=np.uint8), positions=np.zeros((1, 3)))
    batch = batch_of(atom, atom)
    assert (batch.n_atoms, batch.n_structures, len(batch.senders)) == (2, 2, 0)


@pytest.mark.parametrize(
    "broken, said", [(np.nan, "no finite number"), (1e9, "beyond 1e[+]08 Å"), (0.0, "at the same place")]
)
def test_impossible_coordinates_are_refused(samples, broken, said):
    fine = samples("qm7")[0]
    arrays = pack([fine, fine], {}).arrays
    arrays["positions"][len(fine) + 1] = arrays["positions"][len(fine)] + broken
    with pytest.raises(InputError, match=f"structure 1 .*{said}"):
        find_neighbours(arrays, 5.0)


@pytest.mark.parametrize(
    "cell", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1e-6, 4, 4]), [[1, 0, 0], [2, 0, 0], [0, 0, 4]]]
)
def test_a_cell_that_is_none_is_refused_where_it_is_periodic(samples, cell):
    """The library that finds neighbours crashes the process, or never ends, on some of them."""
    crystal = samples("crystals")[0]
    arrays = pack([crystal, crystal], {}).arrays
    arrays["cell"][1] = cell
    with pytest.raises(InputError, match=r"structure 1 .*periodic along .* cell"):
        find_neighbours(arrays, 5.0)
    arrays["pbc"][1] = False
    arrays["cell"][1] = np.nan_to_num(arrays["cell"][1])
    assert len(find_neighbours(arrays, 5.0).take(np.array([1])).senders) > 0
