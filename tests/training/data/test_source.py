"""Sources: which structures, as which batches, with which neighbours; found once, and independent of what else is trained."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from published import publish_structures
from sources import CHARGES, ENERGY, FORCES, labelled, own_cache, settings_of, source_of  # noqa: F401

from mlipq.errors import InputError
from mlipq.store import cached_datasets, open_dataset, pack, remove_cached, write_shard
from mlipq.training.data import neighbours as neighbours_module
from mlipq.training.data.neighbours import neighbours_of
from mlipq.training.data.source import choose_rows
from mlipq.training.models.batch import collate, find_neighbours


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- which structures


def test_training_and_validation_have_nothing_in_common_and_are_of_the_pool():
    ds = labelled()
    train, validation = choose_rows(ds, settings_of(size=100, validation=0.2), seed=3)
    assert (len(train), len(validation)) == (80, 20)
    assert not set(train) & set(validation)
    assert set(train) | set(validation) <= set(ds.select(split="qm7/pool").rows.tolist())


def test_more_structures_have_the_fewer_among_them():
    sizes = [choose_rows(labelled(), settings_of(size=size, validation=10), seed=1)[0] for size in (50, 200, 1600)]
    assert set(sizes[0]) < set(sizes[1]) < set(sizes[2])


def test_the_seed_draws():
    drawn = [choose_rows(labelled(), settings_of(), seed)[0].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_validation_may_be_a_part_or_nothing():
    ds = labelled()
    train, validation = choose_rows(ds, settings_of(validation="test", size=30), 0)
    assert len(train) == 30 and set(validation) == set(ds.select(split="qm7/test").rows.tolist())
    train, validation = choose_rows(ds, settings_of(validation=0), 0)
    assert (len(train), len(validation)) == (40, 0)


def test_the_part_to_train_on_is_the_one_that_is_not_held_out():
    assert np.array_equal(
        choose_rows(labelled(), settings_of(train=""), 0)[0], choose_rows(labelled(), settings_of(), 0)[0]
    )


def test_groups_choose(samples, tmp_path):
    folder = publish_structures(tmp_path, samples("qm7")[:50], 50)
    ds = open_dataset(folder)
    groups = ds.batch(slice(None), ["group"])["group"]
    wanted = groups[0]
    chosen = settings_of(train="", size=None, groups=(wanted,), validation=0)
    assert choose_rows(ds, chosen, 0)[0].tolist() == np.flatnonzero(groups == wanted).tolist()
    with pytest.raises(
        InputError, match=f"no structure to choose from is of group 'C99'; the nearest of {len(set(groups))}"
    ):
        choose_rows(ds, chosen.model_copy(update={"groups": ("C99",)}), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 5000}, "size: expected 1 to 1,600 structures, which there are; got 5,000"),
        ({"split": "random"}, r"no split 'random', but qm7/pool, qm7/test"),
        ({"train": "training"}, r"no part 'training' in the split qm7, but qm7/pool, qm7/test"),
        ({"size": None, "validation": 1600}, "1,600 of 1,600 structures leave none to train on"),
        ({"size": None, "validation": "pool"}, "validation: all structures of pool are trained on"),
    ],
)
def test_what_is_not_there_is_said(settings, message):
    with pytest.raises(InputError, match=message):
        choose_rows(labelled(), settings_of(**settings), 0)


def test_a_dataset_without_splits_is_all_pool(samples, tmp_path):
    ds = open_dataset(publish_structures(tmp_path, samples("qm7")[:20], 20))
    train, validation = choose_rows(ds, settings_of(train="", size=None), 0)
    assert (len(train), len(validation)) == (18, 2)
    with pytest.raises(InputError, match="no splits"):
        choose_rows(ds, settings_of(train="pool", size=None), 0)


def test_structures_with_elements_that_training_lacks_are_not_validated_on():
    ds = labelled().select(max_atoms=30)
    settings = settings_of(CHARGES, train="", split="", size=None, validation=0.5)
    train, validation = choose_rows(_without_splits(ds), settings, 0)
    source = source_of(CHARGES, dataset=_without_splits(ds), train="", size=None, validation=0.5)
    seen = set(np.unique(source.dataset.batch(source.train_rows, ["atomic_numbers"])["atomic_numbers"]))
    numbers = [set(source.dataset.batch([row], ["atomic_numbers"])["atomic_numbers"]) for row in validation]
    expected = [row for row, own in zip(validation, numbers) if own <= seen]
    assert np.array_equal(source.train_rows, train)
    assert source.validation_rows.tolist() == expected and source.left_out == len(validation) - len(expected) > 0


def test_structures_with_an_energy_that_training_has_for_other_elements_only_are_not_validated_on(tmp_path):
    """Oxygen is trained on without energies: its charges are known, an energy of a structure that has it is not."""
    table = labelled().select(split="qm7/pool", only=["H", "C", "O"]).take(slice(0, 60))
    with_oxygen = (
        np.add.reduceat((table.arrays["atomic_numbers"] == 8).astype(int), table.arrays["atom_offsets"][:-1]) > 0
    )
    assert 3 < with_oxygen.sum() < 57

    def left_out(lacking):
        table.arrays["reference/pbe0_energy"][:] = np.where(lacking, np.nan, -1.0)
        path = tmp_path / f"{lacking.sum()}.zarr.zip"
        write_shard(path, table, {})
        source = source_of({**ENERGY, **CHARGES}, dataset=open_dataset(path), train="", size=None, validation=0.5)
        known = np.isin(source.train_rows, np.flatnonzero(with_oxygen))
        assert known.any()
        return source.left_out, source

    none, whole = left_out(np.zeros(60, dtype=bool))
    trained = np.isin(np.arange(60), whole.train_rows)
    some, _ = left_out(with_oxygen & trained)
    assert none == 0
    assert some == (with_oxygen & ~trained).sum() > 0
    assert left_out(with_oxygen)[0] == 0  # nothing to compare with, and charges to validate


def _without_splits(ds):
    ds = ds.select(max_atoms=30)
    ds.manifest = ds.manifest.model_copy(update={"splits": {}})
    return ds


# --- batches


def test_a_batch_is_its_structures_collated_anew():
    source = source_of({**ENERGY, **CHARGES, **FORCES}, dtype=torch.float32)
    rows = source.train_batch(3)
    batch, labels = source.batch(rows)
    arrays = labelled().batch(rows)
    expected = collate(arrays, find_neighbours(arrays, 4.0))
    for name in (
        "atomic_numbers",
        "positions",
        "structures",
        "charge",
        "multiplicity",
        "senders",
        "receivers",
        "vectors",
    ):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name
    assert labels["energy"].tolist() == arrays["reference/pbe0_energy"].tolist()
    assert np.array_equal(labels["gfn1_forces"].numpy(), arrays["gfn1/forces"])
    assert source.edges(rows).sum() == len(batch.senders)


def test_periodic_structures_have_neighbours_across_the_faces(samples, tmp_path, fresh_cache):
    crystals = samples("crystals")
    ds = open_dataset(publish_structures(tmp_path, [*crystals, *samples("qm7")[:3]], 3)).materialise()
    arrays = ds.batch(slice(None))
    expected = find_neighbours(arrays, 4.0)
    for _ in range(2):  # found, and mapped
        lists = neighbours_of(ds, np.arange(len(ds)), 4.0)
        for name in ("offsets", "senders", "receivers", "shifts"):
            assert np.array_equal(getattr(lists, name), getattr(expected, name))


@pytest.mark.parametrize("budget", ["structures", "atoms", "edges"])
def test_a_batch_is_as_large_as_was_asked_for(budget):
    most = {"structures": 7, "atoms": 90, "edges": 900}[budget]
    source = source_of(batch={budget: most})
    for k in range(source.batches.steps_in(2)):
        batch, _ = source.batch(source.train_batch(k))
        size = {"structures": batch.n_structures, "atoms": batch.n_atoms, "edges": len(batch.senders)}[budget]
        assert size <= most
    rows = np.concatenate(source.validation_batches())
    assert rows.tolist() == source.validation_rows.tolist()


def test_fewer_structures_than_a_batch_make_a_batch():
    source = source_of(size=4, validation=1, batch={"structures": 100})
    assert [sorted(source.train_batch(k)) for k in range(3)] == [source.train_rows.tolist()] * 3


def test_a_batch_depends_on_seed_structures_and_number_alone():
    def batches(source):
        return [source.train_batch(k).tolist() for k in range(20)]

    alone = source_of(ENERGY)
    source_of(CHARGES, size=200)  # whatever else there is
    assert batches(source_of({**ENERGY, **CHARGES}, cutoff=3.0)) == batches(alone)
    assert batches(source_of(ENERGY, seed=1)) != batches(alone)


def test_no_structures_are_a_batch_too():
    batch, labels = source_of().batch(np.array([], dtype=np.int64))
    assert (batch.n_structures, batch.n_atoms, len(batch.senders), len(labels["energy"])) == (0, 0, 0, 0)


# --- neighbour lists are found once


def refuse(*_):
    raise AssertionError("neighbours were looked for again")


def test_neighbours_are_found_once(fresh_cache, monkeypatch):
    first = source_of()
    heard = []
    monkeypatch.setattr(neighbours_module, "find_neighbours", refuse)
    again = source_of()
    rows = first.train_batch(0)
    assert torch.equal(again.batch(rows)[0].senders, first.batch(rows)[0].senders)
    used = np.union1d(first.train_rows, first.validation_rows)
    lists = neighbours_of(first.dataset, used, 4.0, lambda *at: heard.append(at))
    assert heard == []
    assert isinstance(lists.senders.base, np.memmap) and isinstance(lists.offsets.base, np.memmap)
    for other in ({"cutoff": 3.0}, {"seed": 1}):
        with pytest.raises(AssertionError, match="looked for again"):
            source_of(**other)


@pytest.mark.parametrize("name", ["offsets", "senders", "receivers", "shifts"])
@pytest.mark.parametrize("damage", ["cut", "remove"])
def test_damaged_lists_are_made_anew(fresh_cache, monkeypatch, name, damage):
    first = source_of()
    (folder,) = first.dataset.cache_folder.glob("neighbours-*")
    file = folder / name
    if damage == "remove":
        file.unlink()
    elif name == "shifts":
        file.write_bytes(b"\0" * 8)
    else:
        file.write_bytes(file.read_bytes()[:-8])
    rows = first.train_batch(0)
    again = source_of().batch(rows)[0]
    assert torch.equal(again.senders, first.batch(rows)[0].senders)
    assert again.vectors.shape == first.batch(rows)[0].vectors.shape
    monkeypatch.setattr(neighbours_module, "find_neighbours", refuse)
    assert torch.equal(source_of().batch(rows)[0].senders, again.senders)  # they were made anew, for good


def test_lists_are_in_the_cache_that_mlipq_lists_and_clears(fresh_cache):
    ds = labelled().materialise()
    (before,) = cached_datasets()
    source = source_of()
    (after,) = cached_datasets()
    assert after.key == before.key and after.whole
    edges = source.edges(source.train_rows).sum() + source.edges(source.validation_rows).sum()
    assert after.bytes - before.bytes >= edges * 8
    remove_cached([after.key])
    assert not ds.cache_folder.exists()


def test_a_cache_that_takes_no_lists_costs_time_alone(fresh_cache):
    first = source_of()
    (folder,) = first.dataset.cache_folder.glob("neighbours-*")
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be")
    rows = first.train_batch(0)
    assert torch.equal(source_of().batch(rows)[0].senders, first.batch(rows)[0].senders)
    assert folder.is_file() and not list(folder.parent.glob(".tmp-*"))


def test_lists_may_be_found_by_several_at_once(fresh_cache):
    ds = labelled().materialise()
    rows = np.arange(0, len(ds), 3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: neighbours_of(ds, rows, 4.0), range(4)))
    assert len(list(ds.cache_folder.glob("neighbours-*"))) == 1 and not list(ds.cache_folder.glob(".tmp-*"))
    for lists in found:
        assert np.array_equal(lists.offsets, found[0].offsets) and np.array_equal(lists.senders, found[0].senders)


def test_lists_are_those_of_their_dataset(samples, tmp_path, fresh_cache):
    """The same rows, cutoff and numbers of atoms, of two datasets whose molecules differ."""
    here = samples("qm7")[:6]
    there = [replace(structure, positions=1.5 * structure.positions) for structure in here]
    found = []
    for name, structures in (("here", here), ("there", there)):
        ds = open_dataset(publish_structures(tmp_path / name, structures, 6)).materialise()
        found.append(neighbours_of(ds, np.arange(6), 3.0))
        assert np.array_equal(found[-1].senders, find_neighbours(ds.batch(slice(None)), 3.0).senders)
    assert len(found[1].senders) < len(found[0].senders)


def test_two_atoms_at_one_place_are_named(samples, tmp_path):
    structures = samples("qm7")[:5]
    positions = structures[3].positions.copy()
    positions[1] = positions[0]
    structures[3] = replace(structures[3], positions=positions)
    ds = open_dataset(publish_structures(tmp_path, structures, 2))
    heard = []
    with pytest.raises(
        InputError, match=rf"structure 3 \({structures[3].name}, from .*\) has atoms 0 and 1 at the same place"
    ):
        neighbours_of(ds.materialise(), np.arange(5), 4.0, lambda *at: heard.append(at))
    assert heard == []  # nor was the search begun again, as where the cache takes no lists


def test_isolated_atoms_have_no_neighbours(samples, tmp_path):
    atoms = [structure for structure in samples("gscdb138") if len(structure.numbers) == 1]
    ds = open_dataset(publish_structures(tmp_path, atoms, 10)).materialise()
    for _ in range(2):
        lists = neighbours_of(ds, np.arange(len(ds)), 4.0)
        assert lists.offsets.tolist() == [0] * (len(ds) + 1)
    arrays = pack(atoms, {}).arrays
    assert collate(arrays, lists).n_structures == len(atoms)
