"""The lazy reader of many shards against NumPy on the same arrays in memory."""

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molecules import SPECS, g2_table, make_dataset, molecule

from mlipq.errors import CheckError, InputError
from mlipq.store import Manifest, Table, atoms_at, export, join_specs, open_dataset, pack, write_shard
from mlipq.store.checking.verify import verify_dataset
from mlipq.store.columns import conform
from mlipq.store.reader import rows as rows_module
from mlipq.store.shards import chunks
from mlipq.store.shards import shard as shard_module
from mlipq.store.statistics import summarise

CUTS = [(0, 15), (15, 15), (15, 16), (16, 40)]
N = 40


@pytest.fixture(scope="module")
def everything():
    """What the dataset holds, as one table in memory."""
    tables = [g2_table(*cut, gfn1=True) for cut in CUTS]
    tables = [table for table in tables if len(table)]
    specs = join_specs([table.specs for table in tables])
    return Table.concatenate([conform(table, specs) for table in tables])


@pytest.fixture(scope="module", params=["zarr", "h5", "mixed", "materialised"])
def ds(request, tmp_path_factory):
    suffixes = {"zarr": [".zarr.zip"] * 4, "h5": [".h5"] * 4}.get(
        request.param, [".zarr.zip", ".h5", ".h5", ".zarr.zip"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_module, "CHUNK_VALUES", 64)  # so that small shards have many chunks
        tables = [g2_table(*cut, gfn1=True) for cut in CUTS]
        folder = make_dataset(tmp_path_factory.mktemp("data") / "ds", tables, suffixes)
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        lazy = open_dataset(folder)
        return lazy.materialise() if request.param == "materialised" else lazy


def same(found, expected):
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


slices = st.slices(N) | st.builds(slice, *[st.none() | st.integers(-50, 50)] * 2, st.sampled_from([None, 1, 3, -1, -7]))
rows = st.integers(-N, N - 1)
indices = slices | st.lists(rows, max_size=12) | st.lists(st.booleans(), min_size=N, max_size=N).map(np.array)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)


@SHARED
@given(index=indices)
def test_any_index_is_as_in_numpy(ds, everything, index):
    picked = np.arange(N)[np.array(index, dtype=int) if isinstance(index, list) else index]
    expected = everything.take(picked).arrays
    for name in ("gfn1/energy", "gfn1/forces", "info/smiles", "identity"):
        same(ds[name][index], expected[name])
    batch = ds.batch(index)
    assert batch.keys() == expected.keys()
    for name in batch:
        same(batch[name], expected[name])


@SHARED
@given(row=rows, kind=st.sampled_from([int, np.int64, np.int16]))
def test_one_row_is_one_structure(ds, everything, row, kind):
    atoms = everything.atoms_of(row % N)
    assert ds["gfn1/energy"][kind(row)] == everything.arrays["gfn1/energy"][row]
    same(ds["gfn1/forces"][kind(row)], everything.arrays["gfn1/forces"][atoms])
    assert ds["name"][kind(row)] == everything.arrays["name"][row]
    assert ds[kind(row)] == atoms_at(everything, row % N)
    assert ds.structure(row).identity() == everything.arrays["identity"][row].tobytes()


def test_iteration_streams_the_same_atoms(ds, everything):
    streamed = list(ds)
    assert len(streamed) == len(ds) == N
    for row, atoms in enumerate(streamed):
        expected = atoms_at(everything, row)
        assert atoms == expected and atoms.info["gfn1_energy"] == expected.info["gfn1_energy"]
        same(atoms.arrays["gfn1_forces"], expected.arrays["gfn1_forces"])
        assert atoms.calc is None


def test_tables_are_the_shards_with_the_arrays_asked_for(ds, everything):
    some = ["gfn1/forces", "info/smiles", "atom_offsets"]
    tables = list(ds.tables(some))
    assert [len(table) for table in tables] == [15, 0, 1, 24]
    assert all(set(table.arrays) == set(some) == set(table.specs) for table in tables)
    for name in some[:2]:
        same(np.concatenate([table.arrays[name] for table in tables]), everything.arrays[name])
    assert {len(set(table.arrays)) for table in ds.tables()} == {len(ds.specs)}
    with pytest.raises(InputError, match="no array 'gfn1/enrgy'"):
        next(ds.tables(["gfn1/enrgy"]))


def test_offsets_are_those_of_the_whole(ds, everything):
    same(ds["atom_offsets"][:], everything.arrays["atom_offsets"])
    assert len(ds["atom_offsets"]) == N + 1 and len(ds["gfn1/forces"]) == N
    same(ds["gfn1/forces"][:], everything.arrays["gfn1/forces"])


def test_what_is_done_to_offsets_stays_without_effect(ds, everything):
    offsets = ds["atom_offsets"][:]
    offsets += 1
    same(ds["atom_offsets"][:], everything.arrays["atom_offsets"])
    with pytest.raises(ValueError, match="read-only"):
        ds.atom_offsets[0] = 1
    assert ds["atom_offsets"][-1] == everything.n_atoms


@pytest.mark.parametrize("row", [N, -N - 1, 10**30])
def test_rows_out_of_range(ds, row):
    for get in (lambda: ds[row], lambda: ds["gfn1/energy"][row], lambda: ds.batch([0, row])):
        with pytest.raises(IndexError):
            get()


@pytest.mark.parametrize("index", [True, [1.5], [[1, 2]], np.ones(N - 1, dtype=bool), "a", None])
def test_odd_indices_are_refused(ds, index):
    with pytest.raises(IndexError):
        ds["gfn1/energy"][index]


def test_atoms_are_picked_one_at_a_time(ds):
    for index in (True, 1.0, slice(3), [1, 2]):
        with pytest.raises(TypeError, match="use batch"):
            ds[index]


def test_unknown_arrays_are_named(ds):
    for get in (lambda: ds["gfn1/enrgy"], lambda: ds.batch([0], names=["gfn1/enrgy"])):
        with pytest.raises(InputError, match=r"no array 'gfn1/enrgy'; it has .*gfn1/energy"):
            get()


def test_find(ds, everything):
    for row in range(N):
        digest = everything.arrays["identity"][row].tobytes()
        assert ds.find(digest) == ds.find(digest.hex()) == row
    assert ds.find(bytes(16)) is None
    for odd in (b"short", "zz" * 16, "ab"):
        with pytest.raises(InputError, match="32 hex digits"):
            ds.find(odd)


def test_one_shard_file_is_a_dataset(tmp_path):
    table = g2_table()
    write_shard(tmp_path / "a.h5", table, {})
    ds = open_dataset(tmp_path / "a.h5")
    assert len(ds) == 20 and ds.manifest is None
    same(ds["reference/pbe_forces"][:], table.arrays["reference/pbe_forces"])


@pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])
def test_datasets_without_structures(tmp_path, suffix):
    write_shard(tmp_path / f"a{suffix}", pack([], {}), {})
    folder = make_dataset(tmp_path / "none", [], [])
    (folder / "manifest.json").write_text(
        Manifest(shards=[], arrays=list(pack([], {}).specs.values())).model_dump_json()
    )
    for path in (tmp_path / f"a{suffix}", folder):
        ds = open_dataset(path)
        assert len(ds) == 0 and list(ds) == []
        assert ds["positions"][:].shape == (0, 3) and ds.batch([])["atom_offsets"].tolist() == [0]
        with pytest.raises(IndexError):
            ds[0]


@pytest.mark.parametrize("listed", [True, False])
def test_shards_that_all_hold_nothing(tmp_path, listed):
    """As after a job that refused every structure."""
    folder = make_dataset(tmp_path / "ds", [pack([], SPECS)] * 2, [".zarr.zip", ".h5"])
    ds = open_dataset(folder)
    assert ds.specs == pack([], SPECS).specs
    if not listed:
        ds.manifest.model_copy(update={"arrays": []}).write(folder / "manifest.json")
        ds = open_dataset(folder)
    assert len(ds) == 0 and list(ds) == [] and verify_dataset(folder) == []
    assert ds.batch([])["positions"].shape == (0, 3)
    with pytest.raises(IndexError):
        ds[0]
    assert export(ds, tmp_path / "all.extxyz", "extxyz").structures == 0
    assert (tmp_path / "all.extxyz").read_bytes() == b""
    export(ds, tmp_path / "h5", "h5")
    assert len(open_dataset(tmp_path / "h5")) == 0
    assert summarise(ds.tables(), lambda names: ds.tables()).outliers == []


def test_a_shard_of_nothing_has_no_say_in_types():
    filled, empty = pack([molecule("CH4", info={"x": 1})], {}).specs, pack([], {}).specs
    assert join_specs([filled], [empty]) == filled


def test_shards_whose_info_differs_read_as_one(tmp_path):
    tables = [
        pack([molecule("CH4", info={"x": 1, "only": True})], {}),
        pack([molecule("H2O", info={"x": 0.5})], {}),
        pack([molecule("CO2", info={"x": "a"})], {}),
    ]
    ds = open_dataset(make_dataset(tmp_path / "ds", tables, [".zarr.zip", ".h5", ".zarr.zip"]))
    assert ds["info/x"][:].tolist() == ["1", "0.5", "a"]
    np.testing.assert_array_equal(ds["info/only"][:], [1.0, np.nan, np.nan])
    assert [atoms.info.get("info_only") for atoms in ds] == [1.0, None, None]


def test_a_shard_that_is_not_what_the_manifest_says(tmp_path):
    folder = make_dataset(tmp_path / "ds", [g2_table(0, 5), g2_table(5, 9)], [".h5", ".zarr.zip"])
    write_shard(folder / "shards/part-00001.zarr.zip", g2_table(5, 8), {})
    ds = open_dataset(folder)
    assert ds[0].info["name"]
    for get in (lambda: ds[6], lambda: list(ds.tables())):
        with pytest.raises(CheckError, match=r"part-00001\.zarr\.zip should hold 4 structures, but holds 3"):
            get()
    (folder / "shards/part-00000.h5").unlink()
    with pytest.raises(InputError, match=r"part-00000\.h5 cannot be opened: No such file"):
        open_dataset(folder)[0]


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match="it is no dataset, or its job is not finished"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="cannot be opened"):
        open_dataset(tmp_path / "absent.h5")


def open_files(folder: Path) -> int:
    links = Path(f"/proc/{os.getpid()}/fd").iterdir()
    return sum(os.path.realpath(link).startswith(str(folder.resolve())) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_files_are_closed_in_silence_with_the_dataset(tmp_path):
    folder = make_dataset(tmp_path / "ds", [g2_table(0, 5)], [".zarr.zip"])
    dataset = open_dataset(folder)
    dataset[0]
    dataset.itself = dataset  # as where a traceback holds it: only the collector of cycles frees it
    assert open_files(folder) == 1
    del dataset
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gc.collect()
    assert not told
    assert open_files(folder) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])
def test_open_files_stay_few(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(rows_module, "OPEN_SHARDS", 8)
    folder = make_dataset(tmp_path / "ds", [g2_table(i, i + 1) for i in range(20)], [suffix] * 20)
    ds = open_dataset(folder)
    ds["positions"][:]
    assert 0 < open_files(folder) <= 8
    del ds
    gc.collect()
    assert open_files(folder) == 0


FIVE_DATASETS = """
import resource, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
from mlipq.store import open_dataset
datasets = [open_dataset(sys.argv[1]) for _ in range(5)]
print(len({ds["gfn1/energy"][:].tobytes() for ds in datasets}) == 1)
"""


@pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])
def test_several_datasets_where_a_process_may_open_few_files(tmp_path, suffix):
    folder = make_dataset(tmp_path / "ds", [g2_table(i, i + 1, gfn1=True) for i in range(12)], [suffix] * 12)
    done = subprocess.run([sys.executable, "-c", FIVE_DATASETS, folder], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])
def test_a_shard_that_was_replaced_is_read_anew(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(rows_module, "OPEN_SHARDS", 1)
    folder = make_dataset(tmp_path / "ds", [g2_table(0, 4), g2_table(4, 8)], [suffix] * 2)
    ds = open_dataset(folder)
    assert ds["info/number"][:].tolist() == list(range(8))
    write_shard(ds.files[0], g2_table(10, 14), {})
    assert ds["info/number"][:].tolist() == [10, 11, 12, 13, 4, 5, 6, 7]


@pytest.mark.parametrize("limit", [0, 5_000, 10**9])
def test_decoded_chunks_are_kept_up_to_a_limit(ds, everything, monkeypatch, limit):
    monkeypatch.setattr(chunks, "CACHE_BYTES", limit)
    fresh = open_dataset(ds.path)
    rng = np.random.default_rng(0)
    for _ in range(20):
        picked = rng.integers(0, N, 6)
        for name, values in fresh.batch(picked, ["positions", "name", "gfn1/orbital_moments"]).items():
            same(values, everything.take(picked).arrays[name])


def test_the_chunks_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(chunks, "CACHE_BYTES", 300)
    cache, read = chunks.ChunkCache(), []

    def get(key):
        return cache.get(key, lambda: read.append(key) or np.full(100, key, dtype="u1"))

    for key in (1, 2, 3, 1, 4, 1, 3, 2):
        assert get(key)[0] == key
    assert read == [1, 2, 3, 4, 2]


def test_long_texts_count_with_their_length(monkeypatch):
    monkeypatch.setattr(chunks, "CACHE_BYTES", 10_000)
    cache, read = chunks.ChunkCache(), []
    for key in (1, 2, 1, 2):
        cache.get(key, lambda: read.append(1) or np.array(["☃" * 4_000], dtype=object))
    assert len(read) == 4


def test_threads_share_a_dataset(ds, everything):
    failures = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            picked = rng.integers(0, N, 6)
            if not np.array_equal(ds.batch(picked)["gfn1/forces"], everything.take(picked).arrays["gfn1/forces"]):
                failures.append(picked)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


FORKED = """
import os, sys
import numpy as np
from mlipq.store import open_dataset
ds = open_dataset(sys.argv[1])
expected = ds["gfn1/forces"][:]
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        same = all(np.array_equal(ds["gfn1/forces"][:], expected) for _ in range(10))
        os._exit(0 if same else 1)
    children.append(pid)
same = all(np.array_equal(ds["gfn1/forces"][:], expected) for _ in range(10))
print(same, [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
"""


def test_forked_processes_read_the_same(ds):
    folder = ds.files[0].parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, folder], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "True [0, 0, 0]", done.stderr


def energies_of(ds):
    return ds["gfn1/energy"][:]


def test_a_spawned_process_reads_the_same(ds):
    expected = energies_of(ds)  # so that files are open here
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply_async(energies_of, [ds]).get(60), expected)
