"""Pulling and streaming from a real nginx: killed, damaged, refused, full; and how many bytes it counts."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from large import publish_large
from nginx import Nginx, running_nginx
from published import catalogue_of, publish_structures, same_files

import mlipq
from mlipq.errors import CheckError, IncompleteError
from mlipq.hub import pull
from mlipq.hub.transfer import download
from mlipq.store import Manifest, open_dataset
from mlipq.store.reader.shuffle import BLOCK

pytestmark = pytest.mark.integration

MLIPQ = Path(sys.executable).with_name("mlipq")
KILLS = 50
PROCESSES = multiprocessing.get_context("forkserver")  # each starts with everything imported: 50 are there at once
PROCESSES.set_forkserver_preload(["mlipq.hub.pulling.pull", "mlipq.hub.transfer.http"])
SHARD = "shards/part-00001.zarr.zip"


@pytest.fixture(scope="session")
def published(samples, tmp_path_factory) -> Path:
    """Four shards of half a megabyte."""
    folder = publish_large(tmp_path_factory.mktemp("published"), samples("qm7"), 4000, 1000, "shaken@1.0.0")
    catalogue_of(folder)
    return folder


@pytest.fixture(scope="session")
def nginx(published, tmp_path_factory) -> Nginx:
    with running_nginx(tmp_path_factory.mktemp("nginx"), published.parents[1], slow_rate="10k") as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, nginx) -> Path:
    for name in ("MLIPQ_CATALOGUE", "MLIPQ_OFFLINE", "MLIPQ_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLIPQ_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "WAITS", (0.01, 0.01))
    nginx.forget()
    return tmp_path / "home"


def at(nginx: Nginx, way: str = "", ref: str = "shaken/1.0.0") -> str:
    return f"{nginx.url}{way}/{ref}/manifest.json"


def start_pull(*arguments: str) -> subprocess.Popen:
    command = [MLIPQ, "data", "pull", *arguments, "--workers", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_shard_of_many_moves_its_own_bytes(nginx, published):
    pulled = pull(at(nginx), "1")
    moved = nginx.requests()
    sizes = {
        f"/shaken/1.0.0/{name}": (published / name).stat().st_size for name in ("manifest.json", "README.md", SHARD)
    }
    assert {request.path: request.body for request in moved} == sizes
    overhead = sum(request.all for request in moved) - sizes[f"/shaken/1.0.0/{SHARD}"]
    print(f"one shard of {sizes[f'/shaken/1.0.0/{SHARD}']:,} bytes: {overhead:,} bytes more were moved")
    assert overhead < 0.05 * pulled.bytes_moved


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_again_and_again_it_ends_byte_equal(nginx, published, home):
    """SIGKILL of a process that pulls, at random moments while nginx sends 10 kB/s a connection; each fifth time, before that."""
    rng = random.Random(0)
    inside = 0
    folder = home / "shaken" / "1.0.0"
    entries = Manifest.read(published / "manifest.json").shards
    starting = 0.0
    for kill in range(KILLS):
        begun = gathered(folder)
        started = time.monotonic()
        process = PROCESSES.Process(target=pull_into, args=(home, at(nginx, "/slow")))
        process.start()
        if kill % 5 == 4:
            time.sleep(rng.uniform(0, starting))
        else:
            while gathered(folder) == begun:
                assert process.is_alive()
                time.sleep(0.002)
            starting = time.monotonic() - started
            time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.join()
        inside += gathered(folder) > begun and any((folder / ".partial").glob("*"))
        for entry in entries:  # what has its name is whole
            path = folder / entry.file
            assert not path.exists() or path.read_bytes() == (published / entry.file).read_bytes()
    assert pull(at(nginx)).bytes_moved > 0, "all was there before the last kill: make the transfer slower"
    assert same_files(folder, published)
    moved = sum(request.body for request in nginx.requests() if request.path.endswith(".zip"))
    needed = sum(entry.bytes for entry in entries)
    print(f"{inside} of {KILLS} kills fell inside a file; {moved:,} bytes of shards were sent, {needed:,} needed")
    assert inside > KILLS / 2


def pull_into(home: Path, url: str) -> None:
    os.environ["MLIPQ_DATA_HOME"] = str(home)
    pull(url, workers=2)


def gathered(folder: Path) -> int:
    """Bytes of all shards and of what is on its way."""
    files = [*folder.glob("shards/*"), *folder.glob(".partial/*")]
    return sum(path.stat().st_size for path in files if path.exists())


def test_two_pulls_at_once(nginx, published, home):
    processes = [start_pull(at(nginx), "--json") for _ in range(3)]
    ended = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert same_files(home / "shaken" / "1.0.0", published)
    assert sorted(one["bytes_moved"] > 0 for one in ended) == [False, False, True]
    asked = Counter(request.path for request in nginx.requests())
    assert {asked[f"/shaken/1.0.0/{entry.file}"] for entry in Manifest.read(published / "manifest.json").shards} == {1}


def test_two_pulls_of_other_shards_at_once(nginx, published, home):
    processes = [start_pull(at(nginx), "--shards", shards) for shards in ("0-1", "1-3")]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert same_files(home / "shaken" / "1.0.0", published)


def test_interrupted_it_says_how_to_go_on(nginx, published, home):
    with start_pull(at(nginx, "/slow")) as process:
        while not list((home / "shaken" / "1.0.0" / ".partial").glob("?*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "interrupted; the same command goes on from here" in said
    assert same_files(pull(at(nginx)).folder, published)


def test_half_of_the_cache_is_gone(nginx, published):
    folder = pull(at(nginx)).folder
    for number in (0, 2):
        (folder / "shards" / f"part-0000{number}.zarr.zip").unlink()
    nginx.forget()
    assert len(mlipq.open_dataset(at(nginx))) == 4000
    assert same_files(folder, published)
    asked = sorted(request.path.rpartition("/")[2] for request in nginx.requests())
    assert asked == ["manifest.json", "part-00000.zarr.zip", "part-00002.zarr.zip"]


@pytest.mark.parametrize("way", ["/norange", "/refusing", "/moved"])
def test_servers_that_are_good_enough(way, nginx, published, home):
    entry = Manifest.read(published / "manifest.json").shards[1]
    begun = home / "shaken" / "1.0.0" / ".partial"
    begun.mkdir(parents=True)
    (begun / entry.file.replace("/", "%2F")).write_bytes((published / SHARD).read_bytes()[:300_000])
    assert same_files(pull(at(nginx, way)).folder, published)


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        ("/status404", IncompleteError, "answered 404 Not Found"),
        ("/status416", IncompleteError, "answered 416"),
        ("/status500", IncompleteError, "answered 500"),
        ("/tofile", IncompleteError, "got a redirect to 'file:///etc/passwd'; it was not followed"),
        ("/damaged", CheckError, "expected sha256 [0-9a-f]{16}…, got [0-9a-f]{16}…; the bytes were thrown away"),
        ("/longer", CheckError, r"expected [\d,]+ bytes, as the manifest says, got [\d,]+"),
        ("/shorter", CheckError, r"expected [\d,]+ bytes, as the manifest says, got [\d,]+"),
        ("/private", IncompleteError, "answered 401 Unauthorized; if it asks for a token, set MLIPQ_TOKEN"),
    ],
)
def test_mirrors_that_are_not(way, error, message, nginx, published, samples, tmp_path):
    """Alone such a mirror is refused, with what was expected and what came; before a good one it is survived."""
    right = (published / SHARD).read_bytes()
    wrong = {"/damaged": right[:5000] + b"\0\0\0\0" + right[5004:], "/longer": right + b"more", "/shorter": right[:-4]}
    if way in wrong:
        file = nginx.root / way[1:] / "shaken" / "1.0.0" / SHARD
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(wrong[way])
    manifest = json.loads((published / "manifest.json").read_text())
    mirrors = tmp_path / "mirrors"
    shutil.copytree(published, mirrors)
    for urls in ([way], [way, "/moved"]):
        for entry in manifest["shards"]:
            entry["urls"] = [f"{nginx.url}{one}/shaken/1.0.0/{entry['file']}" for one in urls]
        (mirrors / "manifest.json").write_text(json.dumps(manifest))
        if len(urls) == 1:
            with pytest.raises(error, match=message) as raised:
                pull(mirrors, [1])
            assert "kept" in str(raised.value)
            shutil.rmtree(os.environ["MLIPQ_DATA_HOME"])
        else:
            assert (pull(mirrors, [1]).folder / SHARD).read_bytes() == right


def test_a_private_server_and_the_token(nginx, published, monkeypatch):
    monkeypatch.setenv("MLIPQ_TOKEN", "s3cret")
    pulled = pull(at(nginx, "/private"))
    assert same_files(pulled.folder, published)
    assert {request.authorization for request in nginx.requests()} == {"Bearer s3cret"}
    assert not [path for path in pulled.folder.rglob("*.json") if b"s3cret" in path.read_bytes()]


def test_no_secret_is_printed(nginx, monkeypatch):
    monkeypatch.setenv("MLIPQ_TOKEN", "s3cret")
    for url in (
        at(nginx, "/status404") + "?signature=hidden",
        "http://me:hunter2@127.0.0.1:9/x/manifest.json?signature=hidden",
    ):
        with start_pull(url, "--json") as process:
            printed = "".join(process.communicate(timeout=60))
        assert process.returncode in (2, 3)
        assert not [secret for secret in ("s3cret", "hunter2", "hidden") if secret in printed]


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A file system with room for the half of the dataset."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_said_and_gone_on_from(nginx, published, small_disk, monkeypatch):
    monkeypatch.setenv("MLIPQ_DATA_HOME", str(small_disk))
    with pytest.raises(IncompleteError, match=r"has room for .*Free some space"):
        pull(at(nginx))  # seen before anything moves
    pull(at(nginx), "0")
    monkeypatch.setattr(
        "mlipq.hub.pulling.home.free_bytes", lambda folder: 1 << 40
    )  # another process fills it in the meantime
    with pytest.raises(
        IncompleteError, match=r"No space left on device. Free some space and run the same command again"
    ):
        pull(at(nginx))
    for entry in Manifest.read(published / "manifest.json").shards:
        path = small_disk / "shaken" / "1.0.0" / entry.file
        assert not path.exists() or path.read_bytes() == (published / entry.file).read_bytes()
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    pulled = pull(at(nginx))
    assert same_files(pulled.folder, published)
    assert pulled.bytes_moved < sum(path.stat().st_size for path in (published / "shards").iterdir()) * 0.75


@pytest.mark.parametrize(
    "change",
    [{"file": "../../../evil.zarr.zip"}, {"file": "/evil.zarr.zip"}, {"urls": ["file:///etc/passwd"]}, {"bytes": 3000}],
)
def test_a_malicious_manifest_is_refused(change, nginx, samples, tmp_path):
    folder = publish_structures(nginx.root / tmp_path.name, samples("qm7")[:20], 10, "evil@1.0.0")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0] |= change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with start_pull(at(nginx, f"/{tmp_path.name}", "evil/1.0.0")) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said and ("expected" in said or "stays inside" in said)
    assert not list(tmp_path.rglob("*evil.zarr.zip")) and not list(tmp_path.rglob("part-00000*"))


# Streaming: how many bytes move, and that damage is an error

TRAINING = ["atomic_numbers", "positions", "reference/energy", "reference/forces"]


@pytest.fixture(scope="session")
def large(samples, nginx) -> Path:
    """12,000 molecules in three shards of 2.2 MB."""
    return publish_large(nginx.root, samples("qm7"), 12_000, 4000, "large@1.0.0")


def bytes_of(batch) -> int:
    return sum(values.nbytes for values in batch.values())


@pytest.mark.parametrize(("block", "mixed"), [(512, 64), (256, 1), (512, 4)])
def test_streamed_batches_move_less_than_three_times_their_bytes(block, mixed, nginx, large):
    streamed = mlipq.open_dataset(at(nginx, ref="large/1.0.0"), stream=True)
    nginx.forget()
    batches = list(streamed.batches(256, TRAINING, seed=1, block=block, mixed=mixed))
    moved = sum(request.all for request in nginx.requests())
    own = sum(map(bytes_of, batches))
    energies = np.concatenate([batch["reference/energy"] for batch in batches])
    np.testing.assert_array_equal(np.sort(energies), np.sort(open_dataset(large)["reference/energy"][:]))
    print(
        f"an epoch in blocks of {block}, {mixed} mixed: {moved / own:.2f} times the batches' bytes, {len(nginx.requests())} requests"
    )
    assert moved < 3 * own


def test_even_a_single_block_moves_less_than_three_times_its_bytes(nginx, large):
    """All that is read of its shard is one block, the two batches of 256 that it makes; the shard's directory counts too."""
    ratios: dict[int, list[float]] = {256: [], BLOCK: []}
    for size, found in ratios.items():
        for start in range(0, 12_000, 1024):
            streamed = mlipq.open_dataset(at(nginx, ref="large/1.0.0"), stream=True)
            nginx.forget()
            batch = streamed.batch(slice(start, start + size), TRAINING)
            found.append(sum(request.all for request in nginx.requests()) / bytes_of(batch))
        print(f"{size} neighbours, nothing else read: {min(found):.2f} to {max(found):.2f} times their bytes")
    assert max(ratios[BLOCK]) < 3


def test_a_flipped_bit_in_a_streamed_chunk_is_an_error(nginx, large):
    file = large / SHARD
    right = open_dataset(large).batch(slice(4000, 8000), TRAINING)
    data = bytearray(file.read_bytes())
    noticed = 0
    try:
        for bit in np.random.default_rng(1).integers(0, 8 * len(data), 10):
            data[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(data)
            data[bit // 8] ^= 1 << (bit % 8)
            streamed = mlipq.open_dataset(at(nginx, ref="large/1.0.0"), stream=True)
            try:
                found = streamed.batch(slice(4000, 8000), TRAINING)
            except CheckError as error:
                assert SHARD in str(error)
                noticed += 1
            else:  # in an array that was not asked for
                for name, values in right.items():
                    np.testing.assert_array_equal(found[name], values)
    finally:
        file.write_bytes(data)
    assert noticed >= 5
