"""Datasets read where they are, over HTTP on loopback: equal to pulled ones, few bytes moved, damage and lies noticed."""

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import web
from hypothesis import given
from hypothesis import strategies as st
from published import publish_structures

import mlipq
from mlipq.errors import CheckError, IncompleteError, InputError, MlipqError
from mlipq.hub.pulling import streaming
from mlipq.hub.pulling.streaming import GAP, merged
from mlipq.store import open_dataset

SHARD = "/complexes/1.0.0/shards/part-00002.zarr.zip"


@pytest.fixture
def url(server) -> str:
    return f"{server.url}/complexes/1.0.0/manifest.json"


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_streamed_dataset_is_the_pulled_one(published, url, home):
    streamed, here = mlipq.open_dataset(url, stream=True), open_dataset(published)
    assert len(streamed) == 50
    rows = [41, 3, 3, 27, 0, 49]
    assert_same(streamed.batch(rows), here.batch(rows))
    assert_same(streamed.batch(slice(None)), here.batch(slice(None)))
    assert streamed[17] == here[17]
    assert streamed.find(here.structure(33).identity()) == 33
    assert not home.exists()


def test_only_what_is_asked_for_moves(server, url):
    streamed = mlipq.open_dataset(url, stream=True)
    assert set(server.requests) == {"/complexes/1.0.0/manifest.json"}
    streamed.batch([21, 22], ["positions"])
    assert set(server.requests) == {"/complexes/1.0.0/manifest.json", SHARD}
    asked = len(server.requests[SHARD])
    streamed.batch([21, 22], ["positions"])
    assert len(server.requests[SHARD]) == asked  # from memory


def test_some_shards(published, url):
    streamed = mlipq.open_dataset(url, stream=True, shards="2,4")
    assert_same(streamed.batch([0, 19]), open_dataset(published).batch([20, 49]))
    assert [entry.file for entry in streamed.missing] == [f"shards/part-0000{number}.zarr.zip" for number in (0, 1, 3)]


@pytest.mark.parametrize(("block", "mixed"), [(512, 64), (256, 1)])
def test_batches_move_less_than_three_times_their_bytes(tmp_path, block, mixed):
    """Shuffled batches of 256 of real molecules: all of an epoch, and one by one from the first to the last."""
    served = Path(__file__).parents[3] / "datasets" / "qm7-gfn1"
    names = ["atomic_numbers", "positions", "gfn1/energy", "gfn1/forces", "gfn1/orbital_charges"]
    with web.serving(served) as server:
        ds = mlipq.open_dataset(f"{server.url}/1.0.0/manifest.json", stream=True)
        server.sent.clear()
        own, moved = [], []
        for batch in ds.batches(256, names, seed=0, block=block, mixed=mixed):
            own.append(sum(values.nbytes for values in batch.values()))
            moved.append(sum(server.sent))
    assert len(own) == 28 and 0 < moved[-1] < 3 * sum(own)
    if mixed == 1:  # each batch is a block, which is read when it comes
        times = np.diff([0, *moved]) / own
        assert (times < 3).all(), times


def test_a_dataset_goes_on_in_another_process(published, url):
    streamed = mlipq.open_dataset(url, stream=True)
    streamed.batch([1])
    assert_same(pickle.loads(pickle.dumps(streamed)).batch([7, 30]), open_dataset(published).batch([7, 30]))


def test_by_name(published, catalogue, server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLIPQ_CATALOGUE", f"{server.url}/catalogue.json")
    assert len(mlipq.open_dataset("complexes", stream=True)) == 50


def test_offline_nothing_is_streamed(url):
    with pytest.raises(IncompleteError, match="offline"):
        mlipq.open_dataset(url, stream=True, offline=True)


def test_every_flipped_bit_that_is_read_is_an_error(published, server, url):
    """One bit anywhere in the shard: an error that names the place, or arrays that are equal (a bit that nothing depends on)."""
    data = (published / "shards" / "part-00002.zarr.zip").read_bytes()
    right = open_dataset(published).batch(slice(20, 30))
    rng = np.random.default_rng(0)
    noticed = 0
    for bit in rng.integers(0, 8 * len(data), 60):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        server.behaviours["part-00002.zarr.zip"] = lambda handler, _, changed=bytes(changed): web.well(handler, changed)
        streamed = mlipq.open_dataset(url, stream=True)
        try:
            found = streamed.batch(slice(20, 30))
        except CheckError as error:
            assert SHARD in str(error)
            noticed += 1
        else:
            assert_same(found, right)
    assert noticed > 45


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (web.no_ranges, "the server knows no ranges.*Pull the dataset instead"),
        (web.refusing_ranges, "answered 416"),
        (web.wrong_range, "got the whole file|expected the range from byte .*, got 'bytes 0-"),
        (web.longer, "bytes, as the manifest says, got"),
        (web.shorter, "bytes, as the manifest says, got|answered 416"),
        (web.cut_off(0.5), "cut off|expected"),
        (web.status(404), "answered 404"),
        (web.status(503), "answered 503"),
        (web.silent, "nothing came for 0.3 s"),
        (web.redirect("file:///etc/passwd"), "got a redirect to 'file:///etc/passwd'; it was not followed"),
    ],
)
def test_a_bad_server_is_refused_and_a_second_one_used(behaviour, message, published, samples, tmp_path, monkeypatch):
    monkeypatch.setenv("MLIPQ_TIMEOUT", "0.3")
    monkeypatch.setattr(streaming, "WAITS", (0.01,))
    with web.serving(published.parents[1]) as bad, web.serving(published.parents[1]) as good:
        bad.behaviours[".zip"] = behaviour
        for servers in ([bad], [bad, good]):
            urls = [f"{server.url}/complexes/1.0.0/{{file}}" for server in servers]
            folder = publish_structures(tmp_path / str(len(servers)), samples("tmqm"), 10, "complexes@1.0.0", urls)
            streamed = mlipq.open_dataset(folder, stream=True)
            if len(servers) == 1:
                with pytest.raises(MlipqError, match=message):
                    streamed.batch([25])
            else:
                assert_same(streamed.batch([25]), open_dataset(published).batch([25]))


def test_a_file_that_changes_while_it_is_read_is_an_error(samples, tmp_path):
    publish_structures(tmp_path, samples("tmqm"), 50, "one-shard@1.0.0")  # larger than what is read when it is opened
    tags = iter(['"old"'])

    def changing(handler: web.Handler, data: bytes) -> None:
        tag = next(tags, '"new"')
        if handler.headers.get("If-Range", tag) != tag:
            handler.reply(200, data, ETag=tag)
        else:
            start, stop = handler.range(len(data))
            handler.reply(206, data[start:stop], ETag=tag, Content_Range=f"bytes {start}-{stop - 1}/{len(data)}")

    with web.serving(tmp_path) as server:
        server.behaviours[".zip"] = changing
        streamed = mlipq.open_dataset(f"{server.url}/one-shard/1.0.0", stream=True)
        with pytest.raises(MlipqError, match="or the file has changed"):
            streamed.batch([25])


def test_hdf5_is_not_streamed(samples, tmp_path):
    folder = publish_structures(tmp_path, samples("qm7")[:5], 5, "mine@1.0.0", suffix=".h5")
    with web.serving(tmp_path) as server, pytest.raises(InputError, match="HDF5, which is never streamed; pull"):
        mlipq.open_dataset(f"{server.url}/mine/1.0.0", stream=True)
    assert folder.is_dir()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**5)).map(lambda pair: (pair[0], sum(pair)))))
def test_merged_ranges_cover_what_was_asked_for_and_little_more(ranges):
    spans = merged(ranges)
    assert all(any(first <= start and stop <= last for first, last in spans) for start, stop in ranges)
    assert all(after[0] > before[1] + GAP for before, after in itertools.pairwise(spans))
    assert {span[0] for span in spans} <= {start for start, _ in ranges}
    assert {span[1] for span in spans} <= {stop for _, stop in ranges}
