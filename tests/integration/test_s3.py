"""Pulling and streaming from a real S3 server (moto's, on loopback): whole, killed, damaged, refused."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import s3fs
from large import publish_large
from moto.server import ThreadedMotoServer
from published import same_files

import mlipq
from mlipq.errors import CheckError, IncompleteError, InputError, MlipqError
from mlipq.hub import pull
from mlipq.hub.transfer import download
from mlipq.store import Manifest, open_dataset

pytestmark = pytest.mark.integration

MLIPQ = Path(sys.executable).with_name("mlipq")
URL = "s3://bucket/data/shaken/1.0.0"
SHARD = "shards/part-00001.zarr.zip"
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIAHUNTER", "AWS_SECRET_ACCESS_KEY": "hunter2"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def published(samples, tmp_path_factory) -> Path:
    return publish_large(tmp_path_factory.mktemp("published"), samples("qm7"), 3000, 1000, "shaken@1.0.0")


@pytest.fixture(autouse=True)
def bucket(s3, published, tmp_path, monkeypatch) -> s3fs.S3FileSystem:
    """The store, with the published version; credentials are in the environment."""
    for name, value in {"AWS_ENDPOINT_URL": s3, "AWS_DEFAULT_REGION": "us-east-1", **SECRETS}.items():
        monkeypatch.setenv(name, value)
    for name in ("MLIPQ_CATALOGUE", "MLIPQ_OFFLINE", "MLIPQ_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLIPQ_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "WAITS", (0.01, 0.01))
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdirs("bucket", exist_ok=True)
    store.put(str(published), "bucket/data/shaken/1.0.0", recursive=True)
    yield store
    store.rm("bucket", recursive=True)


def test_pull(published):
    assert same_files(pull(f"{URL}/manifest.json").folder, published)
    assert len(mlipq.open_dataset(URL)) == 3000


def test_killed_it_goes_on(published, tmp_path):
    folder = tmp_path / "home" / "shaken" / "1.0.0"
    for _ in range(20):
        with subprocess.Popen([MLIPQ, "data", "pull", URL, "--workers", "1"]) as process:
            while process.poll() is None and not list(folder.glob(".partial/?*")):
                time.sleep(0.005)
            process.kill()
        if (folder / "shards").is_dir():
            break
    assert same_files(pull(URL).folder, published)


def test_what_is_begun_is_gone_on_from(published, tmp_path):
    entry = Manifest.read(published / "manifest.json").shards[1]
    begun = tmp_path / "home" / "shaken" / "1.0.0" / ".partial"
    begun.mkdir(parents=True)
    (begun / entry.file.replace("/", "%2F")).write_bytes((published / SHARD).read_bytes()[:300_000])
    pulled = pull(URL, [1])
    assert (pulled.folder / SHARD).read_bytes() == (published / SHARD).read_bytes()
    assert pulled.bytes_moved == entry.bytes - 300_000 + (published / "README.md").stat().st_size


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("missing", IncompleteError, f"{URL}/{SHARD}: there is no such file"),
        ("damaged", CheckError, "expected sha256 [0-9a-f]{16}…, got [0-9a-f]{16}…; the bytes were thrown away"),
        ("longer", CheckError, r"expected [\d,]+ bytes, as the manifest says, got [\d,]+"),
    ],
)
def test_a_bad_bucket_is_refused(change, error, message, published, bucket):
    data = (published / SHARD).read_bytes()
    if change == "missing":
        bucket.rm_file(f"{URL}/{SHARD}")
    else:
        bucket.pipe_file(f"{URL}/{SHARD}", {"damaged": b"x" + data[1:], "longer": data + b"x"}[change])
    with pytest.raises(error, match=message):
        pull(URL)
    bucket.pipe_file(f"{URL}/{SHARD}", data)
    pulled = pull(URL)
    assert same_files(pulled.folder, published)
    assert pulled.bytes_moved == len(data)


def test_a_manifest_that_is_not_there():
    with pytest.raises(InputError, match=r"s3://bucket/data/other/manifest.json: there is no such file"):
        pull("s3://bucket/data/other")


def test_streaming(published, bucket):
    streamed, here = mlipq.open_dataset(URL, stream=True), open_dataset(published)
    rows = np.random.default_rng(0).permutation(3000)[:300]
    expected, found = here.batch(rows), streamed.batch(rows)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    data = bytearray((published / SHARD).read_bytes())
    data[len(data) // 2] ^= 1  # in an array of that shard, whichever
    bucket.pipe_file(f"{URL}/{SHARD}", bytes(data))
    with pytest.raises(MlipqError, match=f"{URL}/{SHARD}"):
        mlipq.open_dataset(URL, stream=True).batch(slice(1000, 2000))


def test_no_secret_is_printed_or_kept(bucket, tmp_path):
    bucket.rm_file(f"{URL}/{SHARD}")
    done = subprocess.run([MLIPQ, "data", "pull", URL, "--json"], capture_output=True, text=True)
    assert done.returncode == 3
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.json"))
    for secret in SECRETS.values():
        assert secret not in done.stdout + done.stderr
        assert secret.encode() not in kept
    where = SECRETS["AWS_SECRET_ACCESS_KEY"]
    refused = subprocess.run([MLIPQ, "data", "pull", f"s3://key:{where}@bucket/data"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "take them out" in refused.stderr
    assert where not in refused.stderr + refused.stdout
