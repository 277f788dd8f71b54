"""Publishing to a real S3 server (moto's, in a process of its own) over a slow network, killed on the way."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from command import run_apart
from labelled import RELEASE, assert_equal, content, kill_when, labelled, publish_command, whole
from slow_proxy import SlowProxy

from mlipq.errors import InputError
from mlipq.hub.publishing.publish import publish, target_at
from mlipq.hub.refs import DatasetRef
from mlipq.store import Manifest, open_dataset

pytestmark = pytest.mark.integration

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
BUCKET = "datasets"
SMALL = 8_000
"""Bytes of a shard, about, so that there are many."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[int]:
    """Port of an S3 server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("w")
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    yield port
    running.kill()
    running.wait()


@pytest.fixture
def s3(server, monkeypatch):
    """A bucket, as the environment names it; the store of fsspec that sees it."""
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # one made by other tests talks to their server
    store = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if store.exists(BUCKET):
        store.rm(BUCKET, recursive=True)
    store.mkdir(BUCKET)
    return store


def environment(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return labelled(tmp_path_factory.mktemp("source"))


def objects(s3) -> dict[str, bytes]:
    """Return every object of the bucket, without the bucket's name."""
    return {path.partition("/")[2]: s3.cat_file(path) for path in s3.find(BUCKET)}


def test_objects_are_the_files_that_a_folder_would_have(s3, source, tmp_path):
    publish(source, **RELEASE, to=str(tmp_path / "folder"))
    ended = run_apart(*publish_command(source, f"s3://{BUCKET}/some/path", "--json"))
    assert ended.code == 0, ended.err
    expected = content(tmp_path / "folder")
    assert objects(s3) == {f"some/path/{file}": data for file, data in expected.items()}
    assert SECRET.encode() not in b"".join(expected.values())
    assert run_apart(*publish_command(source, f"s3://{BUCKET}/some/path", "--json")).json["was_there"]


def test_a_version_is_never_changed(s3, source):
    publish(source, **RELEASE, to=f"s3://{BUCKET}")
    before = objects(s3)
    ended = run_apart(*publish_command(source, f"s3://{BUCKET}", licence="MIT"))
    assert (ended.code, "published already, with other content" in ended.err) == (2, True)
    assert objects(s3) == before


def test_of_two_publishers_at_once_one_wins_and_the_other_is_told(s3, source):
    """Both have seen that there is no manifest when the first one writes it."""
    target = target_at(f"s3://{BUCKET}", DatasetRef.parse("g-set@1.0.0"))
    slower = target_at(f"s3://{BUCKET}", DatasetRef.parse("g-set@1.0.0"))
    assert target.manifest() is slower.manifest() is None
    target.finish(b"first", set())
    with pytest.raises(InputError, match="another publisher"):
        slower.finish(b"second", set())
    assert objects(s3) == {"g-set/1.0.0/manifest.json": b"first"}


def test_the_next_version_is_compared_with_the_one_that_is_there(s3, source, tmp_path):
    publish(source, **RELEASE, to=f"s3://{BUCKET}")
    ended = run_apart(*publish_command(source, f"s3://{BUCKET}", version="1.0.1"))
    assert ended.code == 0, ended.err
    other = labelled(tmp_path)
    manifest = Manifest.read(other / "manifest.json")
    fewer = manifest.model_copy(update={"shards": manifest.shards[1:]})
    fewer.write(other / "manifest.json")
    ended = run_apart(*publish_command(other, f"s3://{BUCKET}", version="1.1.0"))
    assert ended.code == 2
    assert re.search(r"removed.*major version, 2\.0\.0 or later", ended.err)


def test_killed_at_any_point_it_goes_on_and_is_never_visible_before_its_end(s3, server, source, tmp_path):
    """SIGKILL between uploads and within one, again and again; the same command ends with equal objects."""
    publish(source, **RELEASE, to=str(tmp_path), shard_bytes=SMALL)
    expected = content(tmp_path)
    total = sum(map(len, expected.values()))
    command = publish_command(source, f"s3://{BUCKET}", "--shard-mb", SMALL / 1e6, "--json")
    for into_the_body in (0, 2000, 2500, 0, 3000):  # bytes of the second upload
        with SlowProxy(server, bytes_per_second=100_000) as proxy:
            reached = partial(_uploading, proxy, into_the_body)
            assert kill_when(command, reached, env={**os.environ, **environment(proxy.port)})
        there = objects(s3)
        assert "g-set/1.0.0/manifest.json" not in there
        assert all(expected[file] == data for file, data in there.items())  # an object is whole, or not there
    ended = run_apart(*command)
    assert ended.code == 0, ended.err
    assert ended.json["bytes_moved"] < 0.9 * total  # what was there was not moved again
    assert objects(s3) == expected


def _uploading(proxy: SlowProxy, into_the_body: int) -> bool:
    return proxy.puts >= 2 and proxy.within > into_the_body


def test_a_server_that_is_not_there_is_told_and_the_same_command_goes_on(s3, source):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended = run_apart(*publish_command(source, f"s3://{BUCKET}"), env={**os.environ, **environment(port)})
    assert ended.code == 3, ended.err
    assert "Run the same command again" in ended.err
    assert SECRET not in ended.err
    assert run_apart(*publish_command(source, f"s3://{BUCKET}")).code == 0


def test_no_credentials_are_told(s3, source, tmp_path):
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") or "URL" in name}
    ended = run_apart(
        *publish_command(source, f"s3://{BUCKET}"),
        env={**bare, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"},
    )
    assert ended.code == 2, ended.err
    assert "AWS_ACCESS_KEY_ID" in ended.err


def test_a_bucket_that_is_not_there_is_told(s3, source):
    ended = run_apart(*publish_command(source, "s3://no-such-bucket/path"))
    assert ended.code == 2
    assert "s3://no-such-bucket/path/g-set/1.0.0" in ended.err and "Is there such a bucket?" in ended.err


def test_what_was_published_opens_again(s3, source, tmp_path):
    publish(source, **RELEASE, to=f"s3://{BUCKET}", shard_bytes=30_000)
    s3.get(f"{BUCKET}/g-set/1.0.0", str(tmp_path / "copy"), recursive=True)
    assert_equal(whole(tmp_path / "copy"), whole(source))
    assert len(open_dataset(tmp_path / "copy").files) > 3
