"""Files exist whole or not at all: full disks, killed writers, unwritable folders."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from molecules import g2_table, only_files

from mlipq.errors import IncompleteError, InputError
from mlipq.store import commit_bytes, commit_json, committing, sha256_file, write_shard
from mlipq.store.commit import committing_folder


def test_commit_replaces_the_file_and_leaves_nothing_else(tmp_path):
    commit_bytes(tmp_path / "a", b"one")
    commit_bytes(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two" and only_files(tmp_path) == ["a"]


def test_permissions_follow_the_umask(tmp_path):
    commit_bytes(tmp_path / "a", b"one")
    (tmp_path / "plain").write_bytes(b"one")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_is_deterministic_and_finite(tmp_path):
    commit_json(tmp_path / "a.json", {"b": 1, "a": ["é", None]})
    commit_json(tmp_path / "b.json", {"a": ["é", None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"a": ["é", None], "b": 1}
    with pytest.raises(ValueError, match="Out of range"):
        commit_json(tmp_path / "c.json", float("nan"))


def test_sha256(tmp_path):
    commit_bytes(tmp_path / "a", b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_error_in_the_block_keeps_the_old_file(tmp_path):
    commit_bytes(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), committing(tmp_path / "a") as file:
        file.write(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old" and only_files(tmp_path) == ["a"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file"):
        commit_bytes(tmp_path / "absent" / "a", b"")


def test_a_folder_appears_with_all_its_files(tmp_path):
    with committing_folder(tmp_path / "a") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_bytes(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "inner" / "file").read_bytes() == b"x" and only_files(tmp_path) == ["a"]
    with pytest.raises(InputError, match="a cannot be written: Directory not empty"), committing_folder(tmp_path / "a"):
        pass
    with pytest.raises(RuntimeError), committing_folder(tmp_path / "b") as folder:
        (folder / "file").write_bytes(b"x")
        raise RuntimeError
    assert only_files(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file_and_says_so(small_disk):
    commit_bytes(small_disk / "a", b"old")
    with pytest.raises(
        IncompleteError, match=r"No space left on device\. Free some space and run the same command again"
    ):
        commit_bytes(small_disk / "a", os.urandom(2 << 20))
    assert (small_disk / "a").read_bytes() == b"old" and only_files(small_disk) == ["a"]
    write_shard(small_disk / "b.zarr.zip", g2_table(), {})  # and the space is free again


LIMITED = """
import resource, sys
from pathlib import Path
from mlipq.errors import IncompleteError
from mlipq.store import commit_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    commit_bytes(Path(sys.argv[1]), bytes(1 << 20))
except IncompleteError as error:
    print(error)
"""


def test_a_file_size_limit_leaves_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "a"], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout and only_files(tmp_path) == []


INTERRUPTED = """
import sys, time
from pathlib import Path
from mlipq.store import committing
with committing(Path(sys.argv[1])) as file:
    file.write(b"x" * 1_000_000)
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_writer_killed_before_the_rename_leaves_no_final_name(tmp_path):
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, tmp_path / "a"], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
    (left,) = only_files(tmp_path)
    assert left.startswith(".tmp-")
    commit_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


RACING = """
import sys
from pathlib import Path
from mlipq.store import commit_bytes
for _ in range(50):
    commit_bytes(Path(sys.argv[1]), sys.argv[2].encode() * 10_000)
"""


def test_two_writers_of_one_file_never_mix(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", RACING, tmp_path / "a", letter]) for letter in "xy"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "a").exists():
            seen.add((tmp_path / "a").read_bytes())
        time.sleep(0.001)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen <= {b"x" * 10_000, b"y" * 10_000} and only_files(tmp_path) == ["a"]
