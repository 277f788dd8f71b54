"""Which structures are complexes, and what is known of their metals, against the structures looked at one by one."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from metal_complexes import METALS, complexes_at, small_samples

from mlipq import open_dataset, resources
from mlipq.bench.latent.complexes import find_complexes
from mlipq.bench.latent.periodic import GROUP, PERIOD
from mlipq.errors import InputError
from mlipq.store import pack, write_shard
from mlipq.structures import from_atoms

EVERYTHING = range(1, 119)


def test_the_periodic_table_is_that_of_schoolbooks():
    rows = {
        4: "Sc Ti V Cr Mn Fe Co Ni Cu Zn",
        5: "Y Zr Nb Mo Tc Ru Rh Pd Ag Cd",
        6: "La Hf Ta W Re Os Ir Pt Au Hg",
    }
    expected = {symbol: (period, 3 + place) for period, row in rows.items() for place, symbol in enumerate(row.split())}
    assert {chemical_symbols[z]: (PERIOD[z], group) for z, group in GROUP.items()} == expected


def test_complexes_have_metals_of_one_element_and_known_elements_alone():
    dataset = small_samples()
    numbers = [set(own.tolist()) for own in np.split(dataset["atomic_numbers"][:], dataset.atom_offsets[1:-1])]
    known = [z for z in EVERYTHING if z != atomic_numbers["S"]]
    for elements in (EVERYTHING, known):
        found = find_complexes(dataset, elements)
        fitting = {row: own & GROUP.keys() for row, own in enumerate(numbers) if own <= set(elements)}
        expected = {row: metals.pop() for row, metals in fitting.items() if len(metals) == 1}
        assert dict(zip(found.rows.tolist(), found.metals.tolist())) == expected
    assert {chemical_symbols[z] for z in find_complexes(dataset, EVERYTHING).metals} == set(METALS)


def two_of_each():
    """Dimers, one of two metals of one element, one of two elements; and a molecule without any."""
    frames = [
        Atoms("FeFe", [(0, 0, 0), (0, 0, 2.2)]),
        Atoms("FeCo", [(0, 0, 0), (0, 0, 2.2)]),
        Atoms("HH", [(0, 0, 0), (0, 0, 0.8)]),
    ]
    return [*frames, Atoms("NiCO", [(0, 0, 0), (0, 0, 1.7), (0, 0, 2.9)]), Atoms("CuH", [(0, 0, 0), (0, 0, 1.5)])]


def test_features_are_means_over_the_metal_atoms(tmp_path):
    table = pack([from_atoms(atoms) for atoms in two_of_each()], {})
    table.arrays["gfn1/orbital_moments"] = np.zeros((len(table.arrays["atomic_numbers"]), 22), dtype="f4")
    table.specs["gfn1/orbital_moments"] = small_samples().specs["gfn1/orbital_moments"]
    write_shard(tmp_path / "dimers.zarr.zip", table, {})
    found = find_complexes(open_dataset(tmp_path / "dimers.zarr.zip"), EVERYTHING)
    assert [chemical_symbols[z] for z in found.metals] == ["Fe", "Ni", "Cu"]
    pooled = found.pooled(lambda arrays: np.column_stack([arrays["positions"][:, 2], arrays["atomic_numbers"]]))
    np.testing.assert_allclose(pooled, [[1.1, 26], [0, 28], [0, 29]])


def test_d_electrons_and_charges_of_the_d_shell_make_up_the_free_atom():
    dataset = small_samples()
    found = find_complexes(dataset, EVERYTHING)
    charges = found.pooled(lambda arrays: arrays["gfn1/orbital_charges"][:, 2], ["gfn1/orbital_charges"])
    free = found.d_electrons() + charges
    for metal in np.unique(found.metals):
        own = free[found.metals == metal]
        expected = 10 if chemical_symbols[metal] == "Zn" else round(own.mean())
        assert 0 < expected <= 10
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_a_dataset_without_metals_or_moments_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(resources.CACHE_SETTING, str(tmp_path / "cache"))
    dataset = open_dataset(complexes_at(tmp_path))
    with pytest.raises(InputError, match=r"three metals of the d block at least, found 0: of 24 structures 0"):
        find_complexes(dataset.select(split="random/test"), [1, 6, 7, 8])
    bare = dataset.take(slice(0, 5))
    del bare.arrays["gfn1/orbital_moments"], bare.specs["gfn1/orbital_moments"]
    write_shard(tmp_path / "bare.zarr.zip", bare, {})
    with pytest.raises(InputError, match=r"no gfn1/orbital_moments; label it first:  mlipq label"):
        find_complexes(open_dataset(tmp_path / "bare.zarr.zip"), EVERYTHING)
