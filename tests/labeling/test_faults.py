"""Nothing lost: whatever is killed, filled up or damaged, the same command ends in the undisturbed dataset."""

import json
import os
import signal
import subprocess
import time

import ase.io
import numpy as np
import pytest
from ase import Atoms
from jobs import WORKERS, Job, Running, plan_in_small_partitions, run, until

from mlipq.store import open_dataset

pytestmark = pytest.mark.timeout(300)
slow = pytest.mark.slow


def assert_undisturbed(job: Job, undisturbed: Job) -> None:
    assert job.content() == undisturbed.content()
    assert job.files() == undisturbed.files() and job.leftovers() == []


def go_on(job: Job, undisturbed: Job) -> None:
    """Run the same command again; the dataset must be that of the undisturbed run."""
    done = run("label", job.out)
    assert done.returncode == 0, done.stderr
    assert_undisturbed(job, undisturbed)


def assert_clean(text: str) -> None:
    assert not any(word in text for word in ("Traceback", "Error", "warnings.warn", "distributed")), text


def stamps(job: Job) -> dict[str, int]:
    return {name: (job.out / name).stat().st_mtime_ns for name in job.files()}


def flip_a_bit(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_undisturbed_job_is_worth_the_name(undisturbed):
    assert undisturbed.done() >= 8 and undisturbed.leftovers() == []
    assert len(open_dataset(undisturbed.out)) >= 45
    assert run("verify", undisturbed.out).returncode == 0


# --- processes are killed


@slow
def test_a_killed_worker(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.workers()[0].kill()
        code, _, stderr = running.end()
        assert code == 0, stderr
        assert_clean(stderr)
        assert running.orphans() == []
    assert_undisturbed(job, undisturbed)


@slow
def test_killed_labeling_children(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        killed = running.labeling()
        for child in killed:
            child.kill()
        code, _, stderr = running.end()
        assert code == 0, stderr
        assert_clean(stderr)
        assert len(killed) == WORKERS and running.orphans() == []
    assert_undisturbed(job, undisturbed)


def test_a_killed_client_leaves_no_orphans(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.client.kill()
        assert running.orphans(5) == []
    assert run("status", job.out).returncode == 3
    go_on(job, undisturbed)


@slow
def test_everything_killed_at_once(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        for process in [running.client, *running.processes()]:
            process.send_signal(signal.SIGSTOP)  # so that none sees the others die
        for process in [running.client, *running.processes()]:
            process.kill()
        assert running.orphans(5) == []
    go_on(job, undisturbed)


def test_ctrl_c(job):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.interrupt()
        code, stdout, stderr = running.end(20)
        assert code == 3, stderr
        assert_clean(stdout + stderr)
        assert "interrupted; the same command goes on from here" in stderr
        assert running.orphans(5) == []
    assert job.leftovers() == [] and run("status", job.out).returncode == 3


@slow
def test_sigterm(job, undisturbed):
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 1)
        running.client.terminate()
        code, stdout, stderr = running.end(20)
        assert code == 3, (code, stderr)
        assert_clean(stdout + stderr)
        assert running.orphans(5) == []
    go_on(job, undisturbed)


@slow
@pytest.mark.parametrize("delay", [0.5, 1.5, 2.5, 3.5])
def test_ctrl_c_while_starting(job, undisturbed, delay):
    with Running("label", job.out, "--workers", WORKERS) as running:
        assert until(running.processes, 30)  # the first process of the cluster
        time.sleep(delay - 0.5)
        running.interrupt()
        code, stdout, stderr = running.end(30)
        assert code == 3, stderr
        assert_clean(stdout + stderr)
        assert running.orphans(5) == []
    go_on(job, undisturbed)


@slow
def test_a_plan_killed_midway_and_made_again(molecules, tmp_path):
    """A job with many structures, so that there is a midway."""
    frames = ase.io.read(molecules, ":40")
    many = []
    for n in range(50):
        for atoms in frames:
            moved = atoms.copy()
            moved.positions += 0.01 * (n + 1)
            many.append(moved)
    inputs = tmp_path / "many.extxyz"
    ase.io.write(inputs, many, format="extxyz")
    whole, killed = Job(tmp_path / "whole"), Job(tmp_path / "killed")
    assert run("plan", inputs, "-o", whole.out).returncode == 0
    assert len(whole.folder.plan().partitions) > 3
    for parts in (0, 1, 3):
        with Running("plan", inputs, "-o", killed.out) as running:
            reached = until(lambda parts=parts: len(list(killed.out.glob(".tmp-plan-*/part-*"))) >= parts, 30)
            assert reached and running.client.poll() is None
            running.client.kill()
        assert not killed.folder.plan_file.exists() and run("status", killed.out).returncode == 2
    assert run("plan", inputs, "-o", killed.out).returncode == 0
    assert killed.folder.plan() == whole.folder.plan() and killed.files() == whole.files()
    assert killed.leftovers() == []
    for name in whole.files():
        assert (killed.out / name).read_bytes() == (whole.out / name).read_bytes(), name


# --- the disk is full


@pytest.fixture
def disk(tmp_path):
    """A small file system; call it with its size in KiB to mount it or to change its size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def resize(kib: int):
        nonlocal mounted
        options = ["-o", f"remount,size={kib}k"] if mounted else ["-t", "tmpfs", "-o", f"size={kib}k", "tmpfs"]
        done = subprocess.run(["mount", *options, folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
        mounted = True
        return folder

    yield resize
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def assert_says_full(done: subprocess.CompletedProcess, folder) -> None:
    assert done.returncode == 3, done.stderr
    assert_clean(done.stderr)
    assert str(folder) in done.stderr and "No space left on device. Free some space" in done.stderr


@slow
def test_a_disk_that_fills_up_while_labeling(planned, undisturbed, disk):
    size = sum(path.stat().st_size for path in undisturbed.out.rglob("*") if path.is_file()) // 1024
    folder = disk(size * 6 // 10)
    job = Job.copy(planned, folder / "out")
    done = run("label", job.out)
    assert_says_full(done, folder / "out" / "shards")
    assert "partitions not labelled: " in done.stderr
    assert 0 < job.done() < undisturbed.done() and job.leftovers() == []
    disk(size * 10)
    go_on(job, undisturbed)


def test_a_disk_that_is_full_while_finishing(undisturbed, disk):
    size = sum(path.stat().st_size for path in undisturbed.out.rglob("*") if path.is_file()) // 1024
    folder = disk(size * 2)
    job = Job.copy(undisturbed.out, folder / "out")
    for name in ("manifest.json", "failures.csv"):
        (job.out / name).unlink()
    filler = folder / "filler"
    with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            os.write(file.fileno(), bytes(4096))
    assert_says_full(run("finish", job.out), folder / "out")
    assert_says_full(run("label", job.out), folder / "out")
    filler.unlink()
    assert run("finish", job.out).returncode == 0
    assert_undisturbed(job, undisturbed)


@pytest.mark.parametrize("kib", [0, 40])
def test_a_disk_that_fills_up_while_planning(molecules, disk, kib):
    folder = disk(max(kib, 1))
    if kib == 0:
        (folder / "filler").write_bytes(bytes(4096))
    assert_says_full(run("plan", molecules, "-o", folder / "out"), folder / "out")
    assert not (folder / "out").exists()
    disk(10_000)
    assert run("plan", molecules, "-o", folder / "out").returncode == 0


# --- files are damaged


def test_damaged_and_deleted_files_are_made_again(finished, undisturbed):
    shard, sidecar = (lambda n: finished.folder.shard_file(n, "zarr")), finished.folder.sidecar_file
    os.truncate(shard(0), shard(0).stat().st_size - 100)
    os.truncate(shard(1), 0)
    shard(2).unlink()
    sidecar(3).unlink()
    sidecar(4).write_text("{garbage")
    sidecar(5).write_bytes(sidecar(6).read_bytes()[:40])
    (finished.folder.shards / ".tmp-0123456789abcdef").write_bytes(b"left by a killed writer")
    (finished.out / ".tmp-fedcba9876543210").write_bytes(b"left by a killed writer")
    (finished.out / ".tmp-plan-0123456789abcdef").mkdir()
    status = run("status", finished.out, "--json")
    assert status.returncode == 3 and json.loads(status.stdout)["missing"] == [0, 1, 2, 3, 4, 5]
    go_on(finished, undisturbed)


def test_a_flipped_bit_is_found_and_its_shard_made_again(finished, undisturbed):
    damaged = finished.folder.shard_file(3, "zarr")
    flip_a_bit(damaged)
    verified = run("verify", finished.out)
    assert verified.returncode == 1 and "part-00003.zarr.zip: sha256" in verified.stderr
    before = stamps(finished)
    done = run("finish", finished.out)
    assert done.returncode == 3 and "1 shards are damaged" in done.stderr and "part-00003.zarr.zip" in done.stderr
    assert not finished.folder.sidecar_file(3).exists()
    assert stamps(finished) == {name: stamp for name, stamp in before.items() if name != "shards/part-00003.json"}
    assert run("partition", finished.out, 3).returncode == 0
    assert run("finish", finished.out).returncode == 0
    assert_undisturbed(finished, undisturbed)


@pytest.mark.parametrize("content", [None, b"{}"])
def test_a_lost_or_damaged_manifest_is_written_again(finished, undisturbed, content):
    finished.folder.manifest_file.unlink()
    if content is not None:
        finished.folder.manifest_file.write_bytes(content)
    go_on(finished, undisturbed)


# --- several ways to run one job


def test_label_on_a_finished_output_does_nothing(finished):
    before = stamps(finished)
    done = run("label", finished.out)
    assert done.returncode == 0 and "already labelled; there was nothing to do" in done.stdout
    assert json.loads(run("label", finished.out, "--json").stdout)["did_nothing"] is True
    assert stamps(finished) == before


def test_the_three_steps_by_hand(job, undisturbed):
    last = len(job.folder.plan().partitions) - 1
    assert run("partition", job.out, "0-2,4").returncode == 0
    before = stamps(job)
    incomplete = run("finish", job.out)
    assert incomplete.returncode == 3 and f"not labelled: 3,5-{last}" in incomplete.stderr
    assert stamps(job) == before
    assert run("partition", job.out, f"0-{last}").returncode == 0
    done = run("finish", job.out)
    assert done.returncode == 0, done.stderr
    assert job.content() == undisturbed.content()
    assert {*undisturbed.files()} - {*job.files()} == {"logs/label.log", "logs/status.json"} and job.leftovers() == []


@slow
def test_two_runs_of_one_planned_job_at_once(job, undisturbed):
    with Running("label", job.out, "--workers", 1) as one, Running("label", job.out, "--workers", 1) as other:
        for running in (one, other):
            code, stdout, stderr = running.end()
            assert code == 0, stderr
            assert_clean(stdout + stderr)
    assert_undisturbed(job, undisturbed)


@slow
@pytest.mark.parametrize("apart", [0.0, 0.7])
def test_two_runs_of_one_command_at_once(molecules, undisturbed, tmp_path, apart):
    """Both plan, both label, both finish; the dataset is the undisturbed one in larger partitions."""
    job = Job(tmp_path / "deep" / "out")
    command = ("label", molecules, "-o", job.out, "--workers", 1)
    with Running(*command) as one:
        time.sleep(apart)
        with Running(*command) as other:
            for running in (one, other):
                code, stdout, stderr = running.end()
                assert code == 0, stderr
                assert_clean(stdout + stderr)
    assert job.leftovers() == []
    found, expected = open_dataset(job.out), open_dataset(undisturbed.out)
    assert found.specs == expected.specs
    for name in found.specs:
        one, other = found[name][:], expected[name][:]
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), name


# --- one structure is too much


@slow
def test_a_large_structure_is_stopped_at_its_limit_and_the_rest_is_labelled(samples, tmp_path):
    side = np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    water = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
    cluster = Atoms("OH2" * 512, (3.1 * side + water).reshape(-1, 3), info={"charge": 0})
    small = [Atoms(s.numbers, s.positions, info={"charge": s.charge}) for s in samples("qm7")[:20]]
    ase.io.write(tmp_path / "in.extxyz", [*small[:10], cluster, *small[10:]], format="extxyz")
    out = tmp_path / "out"
    done = run("label", tmp_path / "in.extxyz", "-o", out, "--time-limit", 5)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(run("info", out, "--failures", "--json").stdout)
    assert (row["error"], row["source_index"]) == ("timeout", "10") and 5 <= float(row["seconds"]) < 30
    assert len(open_dataset(out)) == 20
    again = run("label", out, "--retry", "timeout", "--time-limit", 8)
    assert again.returncode == 0, again.stderr
    (row,) = json.loads(run("info", out, "--failures", "--json").stdout)
    assert row["error"] == "timeout" and 8 <= float(row["seconds"]) < 30
    assert len(open_dataset(out)) == 20 and Job(out).leftovers() == []


@slow
def test_hdf5_shards_are_as_safe(molecules, tmp_path):
    """The same faults with the other format: killed, truncated, damaged."""
    job = Job(tmp_path / "out")
    plan_in_small_partitions(molecules, job.out, format="h5")
    fresh = Job.copy(job.out, tmp_path / "fresh")
    assert run("label", fresh.out).returncode == 0
    with Running("label", job.out, "--workers", WORKERS) as running:
        running.wait_for(job, 2)
        running.client.kill()
        assert running.orphans(5) == []
    first = job.folder.shard_file(next(s.index for s in job.folder.sidecars(job.folder.plan())), "h5")
    os.truncate(first, 1000)
    go_on(job, fresh)
    flip_a_bit(first)
    assert run("finish", job.out).returncode == 3
    go_on(job, fresh)
