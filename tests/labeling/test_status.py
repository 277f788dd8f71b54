"""How far a job is, from the files that are there."""

import json
import os

import pytest
from jobs import run

from mlipq.labeling.status import status_of
from mlipq.store import open_dataset


def test_what_is_done_missing_and_failed(job):
    nothing = status_of(job.folder)
    everything = [partition.index for partition in job.folder.plan().partitions]
    assert (nothing.done, nothing.labelled, nothing.bytes, nothing.core_seconds) == (0, 0, 0, 0)
    assert nothing.missing == everything and nothing.core_seconds_left == pytest.approx(job.folder.plan().seconds)
    assert run("partition", job.out, "0,2").returncode == 0
    some = status_of(job.folder)
    shards = sorted(job.folder.shards.glob("*.zarr.zip"))
    assert some.done == 2 and some.missing == [number for number in everything if number not in (0, 2)]
    assert some.bytes == sum(shard.stat().st_size for shard in shards)
    assert some.labelled == sum(len(open_dataset(shard)) for shard in shards)
    ratio = some.core_seconds / sum(job.folder.plan().partitions[number].seconds for number in (0, 2))
    left = sum(job.folder.plan().partitions[number].seconds for number in some.missing)
    assert some.core_seconds_left == pytest.approx(ratio * left) and not some.finished


def test_failures_are_counted_by_class_as_in_the_manifest(finished):
    """With those that reading refused."""
    sidecar = next(path for path in sorted(finished.folder.shards.glob("*.json")))
    content = json.loads(sidecar.read_text())
    row = {
        "identity": "",
        "source_file": "a",
        "source_index": 1,
        "name": "",
        "message": "",
        "attempts": 1,
        "seconds": 1,
    }
    content["failures"] += [{**row, "error": "timeout"}]
    sidecar.write_text(json.dumps(content))
    with finished.folder.rejected_file.open("a") as ledger:
        ledger.write("".join(json.dumps({**row, "error": error}) + "\n" for error in ("periodic", "timeout")))
    assert run("finish", finished.out).returncode == 0
    found = json.loads(run("status", finished.out, "--json").stdout)
    assert found["failed"] == json.loads(finished.folder.manifest_file.read_text())["failures"]
    assert (found["failed"]["periodic"], found["failed"]["timeout"]) == (1, 2)


def test_what_to_do_next(finished):
    assert "Next" not in run("status", finished.out).stdout
    finished.folder.manifest_file.unlink()
    done = run("status", finished.out)
    assert done.returncode == 3 and f"Next:  mlipq finish {finished.out}\n" in done.stdout
    os.truncate(next(finished.folder.shards.glob("*.zarr.zip")), 100)
    done = run("status", finished.out)
    assert done.returncode == 3 and f"mlipq plan {finished.out} --array slurm > job.sh\n" in done.stdout


def test_a_long_list_of_missing_partitions_is_cut(job):
    """For people, and not in the JSON."""
    plan = json.loads(job.folder.plan_file.read_text())
    first = plan["partitions"][0]
    plan["partitions"] = [{**first, "index": 2 * number} for number in range(2000)]
    job.folder.plan_file.write_text(json.dumps(plan))
    done = run("status", job.out)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert line.endswith(", …") and len(line) < 250
    assert len(json.loads(run("status", job.out, "--json").stdout)["missing"]) == 2000
