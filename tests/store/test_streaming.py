"""Shards read from afar: what is asked for and what is not, and what damage says."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from molecules import assert_same, g2_table, make_dataset

from mlipq.errors import CheckError, InputError
from mlipq.store import open_dataset, streamed_dataset
from mlipq.store.shards.source import LocalFile
from mlipq.store.shards.zip_entries import TAIL_BYTES

counted: Counter[str] = Counter()


class Counted(LocalFile):
    """A file that counts what is asked of it: bytes, and requests that could go out together."""

    def __init__(self, path):
        super().__init__(path)
        self.name = f"https://host/{path.name}"

    def read(self, start, stop):
        counted["requests"] += 1
        counted["bytes"] += stop - start
        return super().read(start, stop)

    def read_many(self, ranges):
        counted["requests"] += bool(ranges)
        counted["bytes"] += sum(stop - start for start, stop in ranges)
        return [LocalFile.read(self, start, stop) for start, stop in ranges]


@pytest.fixture
def folder(tmp_path):
    return make_dataset(tmp_path / "ds", [g2_table(0, 60, True), g2_table(60, 90, True)], [".zarr.zip"] * 2)


def streamed(folder):
    counted.clear()
    ds = open_dataset(folder)
    openers = [partial(Counted, file) for file in ds.files]
    return streamed_dataset(
        ds.manifest, "https://host/manifest.json", openers, lambda name: (folder / name).read_bytes()
    )


def test_nothing_is_read_before_it_is_asked_for(folder):
    streamed(folder)
    assert not counted


def test_a_streamed_dataset_reads_as_one_on_the_disk(folder):
    here, there = open_dataset(folder), streamed(folder)
    rows = [3, 70, 3, 0, 89]
    assert_same(there.take(rows), here.take(rows))
    for one, other in zip(there.tables(), here.tables(), strict=True):
        assert_same(one, other)
    assert there[5] == here[5] and len(there) == 90
    np.testing.assert_array_equal(there["gfn1/forces"][10:80], here["gfn1/forces"][10:80])
    selected = there.select(contains="C", max_atoms=6)
    assert selected["identity"][:].tolist() == here.select(contains="C", max_atoms=6)["identity"][:].tolist()
    assert sorted(np.concatenate([batch["charge"] for batch in there.batches(16, seed=1)])) == sorted(here["charge"][:])


def test_a_batch_takes_three_requests_a_shard_and_then_none(folder):
    ds = streamed(folder)
    ds.batch([3, 9])
    assert counted["requests"] == 3  # the end of the file, the offsets, and all chunks together
    ds.batch([70, 3])
    assert counted["requests"] == 6
    ds.batch([9, 80, 3])
    assert counted["requests"] == 6


def test_one_array_is_read_without_the_others(folder):
    ds = streamed(folder)
    ds.batch([3], ["gfn1/energy"])
    whole = (folder / "shards/part-00000.zarr.zip").stat().st_size
    assert counted["bytes"] < TAIL_BYTES + whole / 10


def test_a_flipped_bit_names_url_array_and_chunk(folder):
    path = folder / "shards/part-00001.zarr.zip"
    data = bytearray(path.read_bytes())
    place = data.index(b"gfn1/forces/c/0/0") + 200
    data[place] ^= 1
    path.write_bytes(data)
    ds = streamed(folder)
    assert len(ds.batch([3])["gfn1/forces"])
    with pytest.raises(
        CheckError, match=r"https://host/part-00001\.zarr\.zip: array gfn1/forces .*chunk 0: its checksum"
    ):
        ds.batch([62])
    assert len(ds.batch([62], ["positions"])["positions"])


def test_hdf5_is_never_streamed(tmp_path):
    folder = make_dataset(tmp_path / "h5", [g2_table(0, 6)], [".h5"])
    with pytest.raises(InputError, match=r"part-00000\.h5 is HDF5, which is never streamed; pull the dataset"):
        streamed(folder)


def test_what_is_streamed_is_not_materialised(folder):
    for ds in (streamed(folder), streamed(folder).select(contains="C")):
        with pytest.raises(InputError, match="cannot be materialised: pull it"):
            ds.materialise()


def test_a_file_that_gets_shorter_while_it_is_read(folder):
    ds = streamed(folder)
    ds.batch([0], ["charge"])
    path = folder / "shards/part-00000.zarr.zip"
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(CheckError, match=r"https://host/part-00000\.zarr\.zip.*only \d+ came"):
        ds.batch([0], ["gfn1/forces"])


def test_shards_that_were_not_chosen_are_listed(folder):
    ds = open_dataset(folder, shards=[1])
    there = streamed_dataset(ds.manifest, "https://host", [partial(Counted, ds.files[0])], bytes, ds.missing)
    assert [entry.file for entry in there.select(max_atoms=9).missing] == ["shards/part-00000.zarr.zip"]
    assert "in 1 of 2 shards" in repr(there)
