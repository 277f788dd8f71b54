"""What an output folder tells from its files: the plan, read once, and which partitions are done."""

import json
import os
import shutil
import tracemalloc

import pytest

from mlipq.errors import CheckError
from mlipq.labeling.finish import finished as finished_manifest
from mlipq.labeling.finish import is_finished
from mlipq.labeling.folder import OutputFolder, Plan, PlannedPartition


def test_a_plan_is_read_once_and_again_when_it_changes(job):
    planned = job.folder.plan()
    assert OutputFolder(job.out).plan() is planned
    content = json.loads(job.folder.plan_file.read_text())
    content["counts"]["read"] += 1
    job.folder.plan_file.write_text(json.dumps(content))
    assert job.folder.plan().counts["read"] == planned.counts["read"] + 1
    job.folder.plan_file.write_text("{")
    with pytest.raises(CheckError, match=r"plan\.json: damaged"):
        job.folder.plan()


def test_a_plan_costs_a_process_little_memory_for_each_partition(job):
    """Every worker holds all partitions; as models they take 1,300 bytes each."""
    few, many = 1_000, 11_000
    held = []
    for count in (few, many):
        partition = {"index": 0, "n_structures": 1234, "n_atoms": 20_123, "seconds": 61.25}
        entries = [{**partition, "index": index, "sha256": f"{index:064x}"} for index in range(count)]
        text = json.dumps({**job.folder.plan().model_dump(), "partitions": entries})
        tracemalloc.start()
        plan = Plan.model_validate_json(text)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(plan.partitions) == count
    assert (held[1] - held[0]) / (many - few) < 500


def test_a_planned_partition_has_no_fields_but_its_own():
    with pytest.raises(ValueError, match="unexpected"):
        PlannedPartition(index=0, n_structures=1, n_atoms=1, seconds=1.0, sha256="", host="node1")


def test_a_partition_is_done_when_its_shard_and_its_own_sidecar_agree(finished):
    folder, plan = finished.folder, finished.folder.plan()
    everything = [partition.index for partition in plan.partitions]
    assert folder.missing(plan) == [] and [sidecar.index for sidecar in folder.sidecars(plan)] == everything
    folder.sidecar_file(0).unlink()
    folder.shard_file(1, "zarr").unlink()
    os.truncate(folder.shard_file(2, "zarr"), 100)
    os.truncate(folder.sidecar_file(3), 100)
    shutil.copy(folder.sidecar_file(5), folder.sidecar_file(4))
    assert folder.missing(plan) == [0, 1, 2, 3, 4]
    assert [sidecar.index for sidecar in folder.sidecars(plan)] == everything[5:]
    assert [index for index in everything if folder.sidecar(index) is None] == [0, 1, 2, 3, 4]
    shutil.rmtree(folder.shards)
    assert folder.missing(plan) == everything


def test_finished_is_what_has_a_manifest_of_just_these_shards(finished):
    folder, plan = finished.folder, finished.folder.plan()
    done = {sidecar.file: sidecar.sha256 for sidecar in folder.sidecars(plan)}
    assert is_finished(folder, plan, done) and finished_manifest(folder, plan) is not None
    first = next(iter(done))
    assert not is_finished(folder, plan, {**done, first: "0" * 64})
    assert not is_finished(folder, plan, {file: sha256 for file, sha256 in done.items() if file != first})
    whole = folder.manifest_file.read_bytes()
    for damaged in (b"", whole[:-100], b"[]", b'{"shards": 3}', b'{"shards": [3]}'):
        folder.manifest_file.write_bytes(damaged)
        assert not is_finished(folder, plan, done) and finished_manifest(folder, plan) is None
    unknown_key = json.dumps({**json.loads(whole), "colour": "red"})
    folder.manifest_file.write_text(unknown_key)
    assert finished_manifest(folder, plan) is None  # though it lists the shards, it is not a valid manifest
    folder.manifest_file.unlink()
    assert not is_finished(folder, plan, done) and finished_manifest(folder, plan) is None
