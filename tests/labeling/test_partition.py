"""One partition: what hangs or dies is one row of the ledger, the rest is labelled; and trying again what failed."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_labeler import FakeLabeler, molecule
from jobs import Job, run

from mlipq.errors import CheckError, InputError
from mlipq.labeling import partition
from mlipq.labeling.child import LabelingChild
from mlipq.labeling.folder import SUFFIX, OutputFolder, Plan, PlannedPartition
from mlipq.labeling.job import Limits
from mlipq.labeling.partition import label_partition
from mlipq.store import pack, read_shard, sha256_file, write_shard

BEHAVIOURS = ["fine", "hangs", "fine", "aborts", "refused", "fine"]


@pytest.fixture
def folder(tmp_path):
    """A folder with one packed partition of six structures, two of which end their process."""
    folder = OutputFolder(tmp_path / "out")
    folder.inputs.mkdir(parents=True)
    folder.shards.mkdir()
    structures = [molecule(behaviour, n + 2) for n, behaviour in enumerate(BEHAVIOURS)]
    write_shard(folder.packed_input(0), pack(structures, {}), {})
    return folder


@pytest.fixture
def plan(folder):
    planned = PlannedPartition(
        index=0, n_structures=6, n_atoms=27, seconds=1.0, sha256=sha256_file(folder.packed_input(0))
    )
    settings = {"labeler": FakeLabeler.settings, "format": "zarr"}
    return Plan(settings=settings, versions={}, inputs=[], partitions=[planned], counts={}, unmapped=[], unread=[])


def label(folder, plan, retry=(), **environment):
    child = LabelingChild(FakeLabeler(), Limits(seconds=0.5), environment)
    messages = []
    try:
        return label_partition(folder, plan, 0, child, retry, messages.append), messages
    finally:
        child.close()


def names(folder) -> list[str]:
    return read_shard(folder.shard_file(0, "zarr")).arrays["name"].tolist()


def test_a_hang_and_a_crash_cost_their_own_structures_only(folder, plan):
    sidecar, messages = label(folder, plan)
    assert names(folder) == ["fine 2", "fine 4", "fine 7"]
    assert [(f.name, f.error, f.attempts) for f in sidecar.failures] == [
        ("hangs 3", "timeout", 1),
        ("aborts 5", "killed", 2),
        ("refused 6", "refused", 1),
    ]
    assert sidecar.failures[0].seconds >= 0.5 and "about to abort" in sidecar.failures[1].message
    assert sum(m["structures"] for m in messages) == 6 and sum(m["failed"] for m in messages) == 3
    table = read_shard(folder.shard_file(0, "zarr"))
    assert np.array_equal(table.arrays["gfn1/forces"], table.arrays["positions"].astype("f4"))


def test_only_what_failed_for_the_named_reason_is_tried_again(folder, plan):
    before, _ = label(folder, plan)
    again, _ = label(folder, plan, {"timeout"}, FAKE_CURED="1")
    assert names(folder) == ["fine 2", "hangs 3", "fine 4", "fine 7"]
    assert [f.error for f in again.failures] == ["killed", "refused"] and again.failures == before.failures[1:]
    assert again.seconds >= before.seconds
    last, _ = label(folder, plan, {"killed", "not_converged"}, FAKE_CURED="1")
    assert [f.error for f in last.failures] == ["refused"]
    assert names(folder) == ["fine 2", "hangs 3", "fine 4", "aborts 5", "fine 7"]


def test_retrying_ends_in_the_same_bytes_as_labeling_at_once(folder, plan):
    label(folder, plan)
    label(folder, plan, {"timeout", "killed"}, FAKE_CURED="1")
    retried = folder.shard_file(0, "zarr").read_bytes()
    folder.sidecar_file(0).unlink()
    label(folder, plan, FAKE_CURED="1")
    assert folder.shard_file(0, "zarr").read_bytes() == retried


def test_a_done_partition_is_not_touched(folder, plan):
    first, _ = label(folder, plan)
    stamps = [path.stat().st_mtime_ns for path in sorted(folder.shards.iterdir())]
    again, messages = label(folder, plan, {"no_such_class"})
    assert again == first and messages == []
    assert [path.stat().st_mtime_ns for path in sorted(folder.shards.iterdir())] == stamps


def test_a_partition_cut_short_leaves_the_child_to_other_threads(folder, plan, monkeypatch):
    """Also while its error, and with it the frames that it passed, is still kept: Dask does so in its workers."""

    def report(message):
        raise OSError("no one listens")

    monkeypatch.setattr(partition, "REPORT_SECONDS", 0.0)
    child, found = LabelingChild(FakeLabeler(), Limits()), []
    with pytest.raises(OSError, match="no one listens") as kept:
        label_partition(folder, plan, 0, child, report=report)
    other = threading.Thread(target=lambda: found.append(child.label(molecule("fine"))), daemon=True)
    other.start()
    other.join(timeout=20)
    assert kept.tb and len(found) == 1
    child.close()


def test_a_damaged_packed_input_is_not_labelled(folder, plan):
    path = folder.packed_input(0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckError, match=r"not the file that was planned .*in another folder"):
        label(folder, plan)
    path.unlink()
    with pytest.raises(InputError, match=r"part-00000\.zarr\.zip cannot be opened"):
        label(folder, plan)
    assert list(folder.shards.iterdir()) == []


@pytest.mark.parametrize("form", ["zarr", "h5"])
def test_equal_tables_give_equal_bytes_also_where_a_profiler_looks_on(samples, tmp_path, form):
    """Dask's profiler holds the frames of other threads for a while, and with them what they refer to."""
    stop = threading.Event()

    def look_on():
        while not stop.wait(0.003):
            frames = sys._current_frames()
            time.sleep(0.002)
            del frames

    table = pack(samples("gscdb138")[:20], {})
    found = set()
    profiler = threading.Thread(target=look_on)
    profiler.start()
    for _ in range(15):
        shard = tmp_path / f"shard{SUFFIX[form]}"
        write_shard(shard, table, {})
        found.add(shard.read_bytes())
    stop.set()
    profiler.join()
    assert len(found) == 1


@pytest.mark.parametrize("form", ["zarr", "h5"])
def test_threads_write_shards_side_by_side(samples, tmp_path, form):
    table = pack(samples("qm7")[:20], {})
    with ThreadPoolExecutor(4) as pool:
        shards = [tmp_path / f"{n}{SUFFIX[form]}" for n in range(12)]
        list(pool.map(lambda shard: write_shard(shard, table, {}), shards))
    assert len({shard.read_bytes() for shard in shards}) == 1


def test_a_failure_keeps_its_place_in_the_ledger(samples, tmp_path):
    """End to end, with a real structure that GFN1 cannot do among others that it can."""
    import ase.io
    from ase import Atoms

    good = samples("qm7")[:3]
    frames = [Atoms(s.numbers, s.positions, info={"charge": 0}) for s in good]
    frames.insert(1, Atoms("H", [[0, 0, 0]], info={"charge": 1}))
    ase.io.write(tmp_path / "in.extxyz", frames, format="extxyz")
    done = run("label", tmp_path / "in.extxyz", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["structures"] == 3
    (row,) = json.loads(run("info", tmp_path / "out", "--failures", "--json").stdout)
    assert row["source_file"].endswith("in.extxyz") and row["source_index"] == "1"
    assert Job(tmp_path / "out").leftovers() == []
