"""Batches: each structure once, in an order that is random and known by its seed, at few bytes more than its own."""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molecules import assert_same, g2_table, make_dataset

from mlipq.errors import InputError
from mlipq.store import Table, open_dataset, pack
from mlipq.store.reader.shuffle import windows
from mlipq.store.reader.streaming import streamed_dataset
from mlipq.store.shards import chunks
from mlipq.store.shards.source import LocalFile
from mlipq.structures import rounded

CUTS = [(0, 15), (15, 15), (15, 16), (16, 60)]
N = 60


@pytest.fixture(scope="module", params=["shards", "materialised", "selected", "streamed"])
def ds(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        tables = [g2_table(*cut, gfn1=True) for cut in CUTS]
        suffixes = [".zarr.zip"] * 4 if request.param == "streamed" else [".zarr.zip", ".h5"] * 2
        folder = make_dataset(tmp_path_factory.mktemp("data") / "ds", tables, suffixes)
        ds = open_dataset(folder)
        if request.param == "selected":
            return ds.select(contains="H")
        if request.param == "streamed":
            return streamed_dataset(ds.manifest, "afar", [partial(LocalFile, path) for path in ds.files], None)
        return ds.materialise() if request.param == "materialised" else ds


@pytest.fixture(scope="module")
def everything(ds):
    return ds.take(slice(None))


SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
sizes = st.integers(1, 25) | st.sampled_from([N, N + 1, 10**6])


@SHARED
@given(size=sizes, block=st.integers(1, 20), mixed=st.integers(1, 8), seed=st.none() | st.integers(0, 2**40))
def test_every_structure_comes_once_with_its_own_atoms(ds, everything, size, block, mixed, seed):
    found = list(ds.batches(size, seed=seed, block=block, mixed=mixed))
    assert [len(batch["name"]) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert 1 <= len(found[-1]["name"]) <= size
    rows = [ds.find(words.tobytes()) for batch in found for words in batch["identity"]]
    assert sorted(rows) == list(range(len(ds)))
    if seed is None:
        assert rows == sorted(rows)
    assert_same(Table.concatenate([Table(batch, everything.specs) for batch in found]), everything.take(rows))


def test_a_seed_is_an_order(ds):
    def order(**asked):
        return np.concatenate([batch["info/number"] for batch in ds.batches(7, ["info/number"], **asked)]).tolist()

    assert order(seed=3) == order(seed=3)
    assert len({tuple(order(seed=seed)) for seed in range(20)}) == 20
    assert order(seed=3) != order(seed=3, block=4, mixed=2) == order(seed=3, block=4, mixed=2)


def test_only_the_arrays_asked_for_come(ds):
    for batch in ds.batches(16, ["gfn1/forces"], seed=0):
        assert batch.keys() == {"atom_offsets", "gfn1/forces"}
        assert len(batch["gfn1/forces"]) == batch["atom_offsets"][-1]
    with pytest.raises(InputError, match="no array 'gfn1/enrgy'"):
        ds.batches(16, ["gfn1/enrgy"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"size": 0}, "size should be 1 or more, not 0"),
        ({"size": 4, "block": 0}, "block should be 1 or more, not 0"),
        ({"size": 4, "mixed": -2}, "mixed should be 1 or more, not -2"),
        ({"size": 4, "seed": -1}, "seed should be 0 or more, not -1"),
    ],
)
def test_odd_numbers_are_refused_at_once(ds, asked, said):
    with pytest.raises(InputError, match=said):
        ds.batches(**asked)


def test_a_window_holds_its_blocks_and_no_other_structures(ds):
    """Blocks of 5, 3 of them mixed: of the first 15 structures all are from 3 blocks, and these come in no order."""
    size, block, mixed = 15, 5, 3
    firsts = []
    for seed in range(30):
        batch = next(ds.batches(size, ["identity"], seed=seed, block=block, mixed=mixed))
        rows = np.array([ds.find(words.tobytes()) for words in batch["identity"]])
        counts = np.bincount(rows // block)
        assert sorted(counts[counts > 0])[-2:] == [block, block] and np.count_nonzero(counts) <= mixed + 1
        firsts.append(rows)
    assert np.mean([np.all(np.diff(rows) > 0) for rows in firsts]) == 0
    assert len({int(row) for rows in firsts for row in rows}) > 0.9 * len(ds)  # any block may come first


def test_what_fits_in_one_window_is_shuffled_throughout():
    """Every place is as likely for every structure: over many seeds the mean place is the middle, within 5 standard errors."""
    n, seeds = 1_000, 1_000
    places = np.zeros(n)
    for seed in range(seeds):
        ((rows, order),) = windows(n, 100, 10, seed)
        places[rows[order]] += np.arange(n)
    assert np.abs(places / seeds - (n - 1) / 2).max() < 5 * n / np.sqrt(12 * seeds)


@pytest.fixture
def moved(monkeypatch):
    """Counts the bytes that are read from files."""
    counted = [0]
    read = LocalFile.read

    def counting(file, start, stop):
        counted[0] += stop - start
        return read(file, start, stop)

    monkeypatch.setattr(LocalFile, "read", counting)
    return counted


@pytest.fixture(scope="module")
def many(samples, tmp_path_factory):
    """20,000 structures of qm7's sizes in one shard, no two of them equal."""
    table = pack(samples("qm7"), {})
    table = Table.concatenate([table] * 100)
    rng = np.random.default_rng(0)
    table.arrays["positions"] = rounded(table.arrays["positions"] + rng.normal(0, 0.01, (table.n_atoms, 3)))
    table.arrays["identity"] = rng.integers(0, 2**64, (len(table), 2), dtype="u8")
    table.arrays["source_index"] = np.arange(len(table))
    return make_dataset(tmp_path_factory.mktemp("many") / "ds", [table], [".zarr.zip"])


@pytest.mark.parametrize("names", [None, ["atomic_numbers", "positions"]])
def test_a_block_that_is_read_alone_moves_less_than_three_times_its_own_bytes(many, moved, monkeypatch, names):
    """The worst case: of each shard one block is in memory, and no chunk is kept from one to the next."""
    monkeypatch.setattr(chunks, "CACHE_BYTES", 0)
    ds = open_dataset(many)
    ds["charge"][0]  # the shard is open, and its offsets are known
    moved[0] = 0
    list(ds.tables(names))
    own = moved[0]
    moved[0] = 0
    n_batches = sum(1 for _ in ds.batches(256, names, seed=0, mixed=1))
    assert n_batches == -(-len(ds) // 256)
    assert own < moved[0] < 3 * own


def test_with_the_chunks_that_are_kept_hardly_more_is_moved(many, moved):
    ds = open_dataset(many)
    list(ds.tables())
    own, moved[0] = moved[0], 0
    assert sum(1 for _ in open_dataset(many).batches(256, seed=0)) == -(-len(ds) // 256)
    assert own * 0.9 < moved[0] < own * 1.3
