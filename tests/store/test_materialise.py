"""Memory-mapped arrays in the cache: as lazy reading, made once and whole, whatever happens on the way."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molecules import assert_same, g2_table, make_dataset, molecule, tables

from mlipq.errors import CheckError, IncompleteError, InputError
from mlipq.store import Table, cached_datasets, open_dataset, pack, remove_cached, write_shard

EACH_FORMAT = pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder that is not there yet."""
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A dataset of three shards, one of them empty."""
    cuts = [(0, 7), (7, 7), (7, 20)]
    return make_dataset(tmp_path / "ds", [g2_table(*cut, gfn1=True) for cut in cuts], [".zarr.zip", ".h5", ".h5"])


def entry_of(cache: Path) -> Path:
    (entry,) = (path for path in (cache / "datasets").iterdir() if path.is_dir())
    return entry


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in (cache / "datasets").iterdir() if path.name.startswith(".")]


@EACH_FORMAT
def test_real_structures_are_as_in_lazy_reading(tmp_path, cache, samples, suffix):
    parts = [pack(samples(name), {}) for name in ("qm7", "crystals", "tmqm")]
    lazy = open_dataset(make_dataset(tmp_path / "ds", parts, [suffix] * 3))
    mapped = lazy.materialise()
    assert len(mapped) == len(lazy) and mapped.specs == lazy.specs
    for one, other in zip(lazy.tables(), mapped.tables(), strict=True):
        assert_same(one, other)
    rows = np.random.default_rng(0).integers(0, len(lazy), 40)
    assert_same(lazy.take(rows), mapped.take(rows))
    for name in lazy.specs:
        np.testing.assert_array_equal(mapped[name][:], lazy[name][:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(table=tables(), data=st.data())
def test_any_table_comes_back(tmp_path_factory, cache, table, data):
    path = tmp_path_factory.mktemp("shard") / "a.zarr.zip"
    write_shard(path, table, {})
    mapped = open_dataset(path).materialise()
    (whole,) = mapped.tables()
    assert_same(table, whole)
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), max_size=8)) if len(table) else []
    assert_same(table.take(rows), mapped.take(rows))


def test_what_is_returned_is_the_callers_own(cache, folder):
    mapped = open_dataset(folder).materialise()
    for values in (
        mapped["positions"][:],
        mapped.batch([0, 1])["positions"],
        next(mapped.tables()).arrays["positions"],
    ):
        values += 1
    np.testing.assert_array_equal(mapped["positions"][:], open_dataset(folder)["positions"][:])


def test_numpy_alone_reads_the_arrays(cache, folder):
    mapped = open_dataset(folder).materialise()
    number = list(mapped.specs).index("gfn1/forces")
    found = np.load(entry_of(cache) / f"{number:04d}.npy", mmap_mode="r")
    np.testing.assert_array_equal(found, mapped["gfn1/forces"][:])
    assert found.dtype == "<f4" and not found.flags.writeable


def test_it_is_made_once_with_progress(cache, folder):
    seen = []
    open_dataset(folder).materialise(lambda done, total: seen.append((done, total)))
    assert seen == [(7, 20), (7, 20), (20, 20)]
    again = open_dataset(folder).materialise(lambda done, total: seen.append((done, total)))
    assert len(seen) == 3
    assert again.materialise() is again
    copy = pickle.loads(pickle.dumps(again))
    np.testing.assert_array_equal(copy["gfn1/energy"][:], again["gfn1/energy"][:])


def test_the_entry_follows_the_content_not_the_place(cache, folder, tmp_path):
    first = open_dataset(folder)
    first.materialise()
    folder.rename(tmp_path / "moved")
    moved = open_dataset(tmp_path / "moved")
    moved.materialise(lambda done, total: pytest.fail("made again"))
    assert moved.cache_key == first.cache_key == moved.materialise().cache_key == entry_of(cache).name
    changed = open_dataset(make_dataset(tmp_path / "changed", [g2_table(0, 8, gfn1=True)], [".h5"]))
    assert changed.cache_key != first.cache_key
    np.testing.assert_array_equal(changed.materialise()["name"][:], changed["name"][:])


def test_one_shard_is_known_by_its_own_hash(cache, tmp_path):
    path = tmp_path / "a.h5"
    write_shard(path, g2_table(0, 5), {})
    assert len(open_dataset(path).materialise()) == 5
    write_shard(path, g2_table(0, 6), {})
    assert len(open_dataset(path).materialise()) == 6 and len(cached_datasets()) == 2


@pytest.mark.parametrize("change", ["flip", "replace"])
def test_a_shard_that_is_not_the_manifests_is_not_opened(cache, folder, change):
    path = folder / "shards" / "part-00002.h5"
    if change == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        write_shard(path, g2_table(8, 21, gfn1=True), {})  # a sound shard of as many structures
    with pytest.raises(CheckError, match=r"part-00002\.h5: expected sha256 .* found .* changed or damaged: restore it"):
        open_dataset(folder).materialise()
    assert cached_datasets() == [] and leftovers(cache) == []


def test_a_missing_shard_is_named(cache, folder):
    (folder / "shards" / "part-00002.h5").unlink()
    with pytest.raises(InputError, match=r"part-00002\.h5 cannot be opened: No such file"):
        open_dataset(folder).materialise()
    assert cached_datasets() == [] and leftovers(cache) == []


def cut_off(entry: Path) -> None:
    path = entry / "0003.npy"
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "a file is cut off": cut_off,
    "a file is missing": lambda entry: (entry / "0000.npy").unlink(),
    "the record is missing": lambda entry: (entry / "entry.json").unlink(),
    "the record is cut off": lambda entry: (entry / "entry.json").write_text("{"),
    "the record is another": lambda entry: (entry / "entry.json").write_text(json.dumps({"files": {}})),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_anew(cache, folder, damage):
    expected = list(open_dataset(folder).materialise().tables())
    damage(entry_of(cache))
    (entry,) = cached_datasets()
    assert not entry.whole
    made = []
    mapped = open_dataset(folder).materialise(lambda done, total: made.append(done))
    assert made
    for one, other in zip(expected, mapped.tables(), strict=True):
        assert_same(one, other)
    assert [entry.whole for entry in cached_datasets()] == [True] and leftovers(cache) == []


def test_an_entry_that_goes_while_it_is_in_use(cache, folder):
    mapped = open_dataset(folder).materialise()
    expected = mapped["gfn1/energy"][:]
    remove_cached([mapped.cache_key])
    np.testing.assert_array_equal(mapped["gfn1/energy"][:], expected)
    with pytest.raises(CheckError, match=r"removed or changed since materialise\(\); call it again"):
        mapped["gfn1/forces"][:]
    assert cached_datasets() == []


def test_entries_go_while_they_are_listed(cache, folder):
    open_dataset(folder).materialise()
    entry = entry_of(cache)

    def go_and_come_back():
        for _ in range(300):
            entry.rename(cache / "away")
            (cache / "away").rename(entry)

    thread = threading.Thread(target=go_and_come_back)
    thread.start()
    while thread.is_alive():
        assert len(cached_datasets()) <= 1
    thread.join()
    assert [entry.whole for entry in cached_datasets()] == [True]


@pytest.mark.parametrize("key", ["", ".", "..", "../../elsewhere", "mine", "0" * 31])
def test_nothing_but_entries_is_removed(cache, folder, tmp_path, key):
    kept = [tmp_path / "elsewhere", cache / "datasets" / "mine"]
    for path in kept:
        path.mkdir(parents=True)
    entry = open_dataset(folder).materialise().cache_key
    with pytest.raises(InputError, match=f"32 hex digits, not {key!r}"):
        remove_cached([entry, key])
    assert [found.key for found in cached_datasets()] == [entry] and all(path.is_dir() for path in kept)


MATERIALISE = """
import sys
from mlipq.store import open_dataset
made = []
ds = open_dataset(sys.argv[1]).materialise(lambda done, total: made.append(done))
print(len(made), float(ds["gfn1/energy"][:].sum()))
"""


def test_two_processes_at_once_make_it_once(cache, tmp_path):
    many = [g2_table(i, i + 5, gfn1=True) for i in range(0, 60, 5)]
    folder = make_dataset(tmp_path / "many", many, [".zarr.zip"] * len(many))
    processes = [
        subprocess.Popen([sys.executable, "-c", MATERIALISE, folder], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(int(made) for made, _ in said) == [0, 0, len(many)]
    assert {float(energy) for _, energy in said} == {float(open_dataset(folder)["gfn1/energy"][:].sum())}
    assert len(cached_datasets()) == 1 and leftovers(cache) == []


STUCK = """
import sys, time
from mlipq.store import open_dataset
def progress(done, total):
    if done == total:
        print("all but done", flush=True)
        time.sleep(60)
open_dataset(sys.argv[1]).materialise(progress)
"""


def test_a_killed_process_leaves_nothing_that_counts(cache, folder, tmp_path):
    with subprocess.Popen([sys.executable, "-c", STUCK, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"all but done\n"
        others = make_dataset(tmp_path / "others", [g2_table(0, 3, gfn1=True)], [".h5"])
        open_dataset(others).materialise()
        assert len(leftovers(cache)) == 1  # what is being made is not swept
        process.send_signal(signal.SIGKILL)
    assert len(cached_datasets()) == 1
    made = []
    mapped = open_dataset(folder).materialise(lambda done, total: made.append(done))
    assert made and len(mapped) == 20 and leftovers(cache) == [] and len(cached_datasets()) == 2


def test_what_a_killed_process_left_is_swept_with_another_entry(cache, folder, tmp_path):
    with subprocess.Popen([sys.executable, "-c", STUCK, folder], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert len(leftovers(cache)) == 1
    remove_cached([])
    assert leftovers(cache) == []


@pytest.fixture
def small_disk(cache):
    """A cache folder on a file system of 256 kB."""
    cache.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", cache], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.decode().strip()}")
    yield cache
    subprocess.run(["umount", cache], check=True)


def big_dataset(folder: Path) -> Path:
    table = g2_table(0, 60, gfn1=True)
    return make_dataset(folder, [Table.concatenate([table] * 40)], [".zarr.zip"])


def test_a_full_disk_is_said_and_left_empty(small_disk, tmp_path):
    folder = big_dataset(tmp_path / "big")
    with pytest.raises(IncompleteError, match=r"No space left on device\. Free some space .* MLIPQ_CACHE"):
        open_dataset(folder).materialise()
    assert [path.suffix for path in (small_disk / "datasets").iterdir()] == [".lock"]


def test_a_cache_folder_that_cannot_be_written(tmp_path, folder, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match=r"cannot be written: Not a directory.* MLIPQ_CACHE"):
        open_dataset(folder).materialise()


LIMITED = """
import resource, sys
import numpy as np
from mlipq.store import open_dataset
ds = open_dataset(sys.argv[1]).materialise()
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
total = 0.0
for first in range(0, len(ds), 64):
    total += ds.batch(slice(first, first + 64), ["info/padding"])["info/padding"].sum()
try:
    ds["info/padding"][:]
except MemoryError:
    print(total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what is allocated, but no files, on Linux")
def test_a_dataset_larger_than_memory_is_read(cache, tmp_path):
    wide = pack([molecule("CH4", i, info={"padding": np.full(2048, float(i))}) for i in range(256)], {})
    folder = make_dataset(tmp_path / "wide", [wide] * 48, [".zarr.zip"] * 48)
    n_bytes = 48 * 256 * 2048 * 8
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, folder, str(n_bytes * 3 // 4)], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == str(float(48 * 2048 * sum(range(256)))), done.stderr


def test_entries_are_listed_by_last_use(cache, folder, tmp_path):
    other = tmp_path / "a.h5"
    write_shard(other, g2_table(0, 5), {})
    for path in (folder, other):
        open_dataset(path).materialise()
        time.sleep(0.02)
    assert [entry.made_from for entry in cached_datasets()] == [str(other), str(folder)]
    open_dataset(folder).materialise()
    first, second = cached_datasets()
    assert (first.made_from, first.structures, second.structures) == (str(folder), 20, 5)
    assert first.bytes == sum(path.stat().st_size for path in first.folder.iterdir())
