"""Publishing to a folder: what is written, what is refused, and what an interruption leaves."""

import hashlib
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from command import run_apart
from labelled import (
    RELEASE,
    assert_equal,
    content,
    kill_when,
    labelled,
    publish_command,
    whole,
)

from mlipq.errors import CheckError, InputError
from mlipq.hub.catalogue import Catalogue
from mlipq.hub.publishing.publish import publish
from mlipq.hub.split import split_dataset
from mlipq.store import Manifest, Table, open_dataset, write_shard
from mlipq.store.checking.verify import verify_dataset
from mlipq.store.tally import Tally

SMALL = 20_000
"""Bytes of a shard, about, so that there are many."""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A labelled dataset with a split; not to be changed."""
    folder = labelled(tmp_path_factory.mktemp("source"))
    split_dataset(folder, "random", "test=10,pool=rest", name="ten")
    return folder


def of_tables(folder: Path, like: Path, tables: list[Table]) -> Path:
    """Write a dataset of these tables, with the manifest of another one."""
    (folder / "shards").mkdir(parents=True)
    tally = Tally()
    for number, table in enumerate(tables):
        file = f"shards/part-{number:05d}.zarr.zip"
        tally.add(file, *write_shard(folder / file, table, {}), table)
    manifest = open_dataset(like).manifest
    made = manifest.model_copy(
        update={"shards": tally.entries, "arrays": tally.arrays(), "splits": {}, "documents": []}
    )
    made.write(folder / "manifest.json")
    return folder


def test_a_version_is_what_it_was_published_from(source, tmp_path):
    (tmp_path / "catalogue.json").write_text('{"format_version": 1, "base_url": "", "datasets": {}}')
    done = publish(source, **RELEASE, to=str(tmp_path), description="Some molecules.")
    folder = tmp_path / "g-set" / "1.0.0"
    assert_equal(whole(folder), whole(source))
    assert verify_dataset(folder) == []
    manifest = Manifest.read(folder / "manifest.json")
    before = Manifest.read(source / "manifest.json")
    listed = [*manifest.shards, *manifest.splits.values(), *manifest.documents]
    assert {entry.file for entry in listed} | {"manifest.json"} == content(folder).keys()
    assert all(hashlib.sha256((folder / entry.file).read_bytes()).hexdigest() == entry.sha256 for entry in listed)
    assert (manifest.licence, manifest.citation, manifest.description) == (
        "CC-BY-4.0",
        RELEASE["citation"],
        "Some molecules.",
    )
    assert (manifest.statistics, manifest.provenance) == (before.statistics, before.provenance)
    entry = Catalogue.parse((tmp_path / "catalogue.json").read_bytes(), "it").datasets["g-set"]["1.0.0"]
    assert (
        entry.manifest_sha256
        == done.manifest_sha256
        == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    )
    assert entry.structures == len(open_dataset(source))
    assert len(open_dataset(folder).select(split="ten/test")) == 10


def test_equal_datasets_give_equal_bytes(source, tmp_path):
    again = of_tables(tmp_path / "again", source, [whole(source)])  # the same labels in other shards
    in_two = of_tables(
        tmp_path / "two", source, [whole(source).take(np.arange(20)), whole(source).take(np.arange(20, 60))]
    )
    for number, folder in enumerate((again, in_two)):
        publish(folder, **RELEASE, to=str(tmp_path / str(number)))
    assert content(tmp_path / "0") == content(tmp_path / "1")


@pytest.mark.parametrize("shard_bytes", [SMALL, 60_000, 10**9])
def test_shards_are_cut_and_joined_to_the_size_asked_for(source, tmp_path, shard_bytes):
    done = publish(source, **RELEASE, to=str(tmp_path), shard_bytes=shard_bytes)
    total = sum(entry.bytes for entry in open_dataset(source).manifest.shards)
    assert len(done.manifest.shards) <= max(1, 3 * total / shard_bytes)
    assert max(entry.bytes for entry in done.manifest.shards) < 2 * shard_bytes
    assert_equal(whole(tmp_path / "g-set" / "1.0.0"), whole(source))


def test_a_version_is_never_changed(source, tmp_path):
    publish(source, **RELEASE, to=str(tmp_path))
    before = content(tmp_path)
    again = publish(source, **RELEASE, to=str(tmp_path))
    assert again.was_there and again.bytes_moved == 0
    with pytest.raises(InputError, match=r"published already, with other content \(licence, documents\)"):
        publish(source, **{**RELEASE, "licence": "MIT"}, to=str(tmp_path))
    assert content(tmp_path) == before


def test_a_catalogue_that_missed_its_entry_gets_it_by_the_same_command(source, tmp_path):
    publish(source, **RELEASE, to=str(tmp_path))
    (tmp_path / "catalogue.json").write_text('{"format_version": 1, "base_url": "", "datasets": {}}')
    publish(source, **RELEASE, to=str(tmp_path))
    assert list(json.loads((tmp_path / "catalogue.json").read_text())["datasets"]["g-set"]) == ["1.0.0"]


def test_a_dry_run_writes_nothing(source, tmp_path):
    done = publish(source, **RELEASE, to=str(tmp_path / "new"), dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert publish(source, **RELEASE, to=str(tmp_path / "new")).manifest_sha256 == done.manifest_sha256


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "My_Set"}, "lower-case letters"),
        ({"version": "1.0"}, "MAJOR.MINOR.PATCH"),
        ({"licence": ""}, "SPDX"),
        ({"licence": "CC BY 4.0"}, "SPDX"),
        ({"licence": "CC-BY-4"}, "SPDX"),
        ({"licence": "cc-by-4.0"}, "SPDX"),
        ({"citation": "  "}, "cite"),
        ({"mirror": "https://user:hunter2@host/x"}, "without credentials"),
        ({"mirror": "https://host/x?token=hunter2"}, "without credentials"),
        ({"mirror": "file:///tmp/x"}, "without credentials"),
        ({"shard-mb": "0"}, "too small"),
    ],
)
def test_what_is_missing_or_odd_is_refused_before_anything_is_done(source, tmp_path, mlipq, wrong, said):
    ended = mlipq(*publish_command(source, tmp_path / "new", **wrong))
    assert ended.code == 2
    assert said in ended.err
    assert "hunter2" not in ended.err + ended.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("https://host/path", "web servers are not written to"),
        ("s3://key:hunter2@bucket/path", "take them out"),
        ("nosuch://bucket/path", "nosuch"),
        ("s3:/bucket/path", "a URL has two slashes: s3://bucket/path"),
        ("hf://datasets/me/another-name", "hf://datasets/<organisation>/g-set"),
        ("hf://g-set", "hf://datasets/<organisation>/g-set"),
    ],
)
def test_places_that_cannot_be_written_to_are_refused(source, mlipq, to, said):
    ended = mlipq(*publish_command(source, to))
    assert ended.code == 2
    assert said in ended.err
    assert "hunter2" not in ended.err


def test_mirrors_stand_in_the_manifest(source, tmp_path):
    done = publish(source, **RELEASE, to=str(tmp_path), mirrors=["https://host/data/", "s3://bucket"])
    file = done.manifest.shards[0].file
    folder = "g-set/1.0.0"
    assert done.manifest.shards[0].urls == [file, f"https://host/data/{folder}/{file}", f"s3://bucket/{folder}/{file}"]


def test_a_damaged_dataset_is_not_published(source, tmp_path):
    folder = of_tables(tmp_path / "damaged", source, [whole(source)])
    shard = folder / "shards" / "part-00000.zarr.zip"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CheckError, match="changed or damaged"):
        publish(folder, **RELEASE, to=str(tmp_path / "to"))
    assert not list((tmp_path / "to").rglob("*.json"))


@pytest.fixture
def slow_disk(tmp_path) -> dict[str, str]:
    """Environment in which every flush to disk takes a tenth of a second more."""
    slow = "import os, time\nflush = os.fsync\nos.fsync = lambda handle: (time.sleep(0.1), flush(handle))[1]\n"
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(slow)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "slow")}


def test_killed_at_any_point_it_goes_on_and_is_never_visible_before_its_end(source, tmp_path, slow_disk):
    """SIGKILL after some files, again and again; the same command ends with the bytes of a run that nothing stopped."""
    publish(source, **RELEASE, to=str(tmp_path / "at-once"), shard_bytes=SMALL)
    expected = content(tmp_path / "at-once")
    to = tmp_path / "killed"
    to.mkdir()
    (to / "catalogue.json").write_text('{"format_version": 1, "base_url": "", "datasets": {}}')
    version = to / "g-set" / "1.0.0"
    command = publish_command(source, to, "--shard-mb", SMALL / 1e6, "--json")
    for n_files in (1, 2, len(expected) // 2, len(expected) - 3, len(expected) - 1):
        assert kill_when(command, lambda n=n_files: _n_files(version) >= n, env=slow_disk)
        assert not (version / "manifest.json").exists()
        assert json.loads((to / "catalogue.json").read_text())["datasets"] == {}
        with pytest.raises(InputError):
            open_dataset(version)
    ended = run_apart(*command)
    assert ended.code == 0, ended.err
    assert ended.json["bytes_moved"] < 0.5 * sum(map(len, expected.values()))  # what was there was not moved again
    assert content(to / "g-set") == content(tmp_path / "at-once" / "g-set")
    assert ended.json["manifest_sha256"] in (to / "catalogue.json").read_text()


def _n_files(folder: Path) -> int:
    """Count files, those under temporary names too."""
    return sum(path.is_file() for path in folder.rglob("*"))


def test_a_full_disk_is_told_and_the_same_command_goes_on(source, tmp_path):
    """A limit on the size of files gives the errors that a full disk gives."""
    command = publish_command(source, tmp_path, "--json")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    ended = run_apart(*command, preexec_fn=small_files)
    assert ended.code == 3, ended.err
    assert "run the same command again" in ended.err
    assert not list(tmp_path.rglob("manifest.json"))
    assert run_apart(*command).code == 0
    assert verify_dataset(tmp_path / "g-set" / "1.0.0") == []


def test_what_other_attempts_left_goes_and_what_is_not_ours_stays(source, tmp_path):
    version = tmp_path / "g-set" / "1.0.0"
    (version / "shards").mkdir(parents=True)
    for file in ("shards/part-00099.zarr.zip", "shards/.tmp-0123456789abcdef", "notes.txt"):
        (version / file).write_bytes(b"x")
    (version / "shards" / "part-00000.zarr.zip").write_bytes(b"of other labels")
    done = publish(source, **RELEASE, to=str(tmp_path))
    listed = {entry.file for entry in (*done.manifest.shards, *done.manifest.splits.values(), *done.manifest.documents)}
    assert content(version).keys() == listed | {"manifest.json", "notes.txt"}
    assert verify_dataset(version) == []


class TestSteps:
    """What changed since the version before decides how large the step must be."""

    @pytest.fixture
    def first(self, source, tmp_path) -> Path:
        """Forty of the structures as 1.0.0."""
        few = of_tables(tmp_path / "few", source, [whole(source).take(np.arange(40))])
        publish(few, **RELEASE, to=str(tmp_path / "to"))
        return tmp_path / "to"

    def version(self, source: Path, to: Path, version: str) -> None:
        publish(source, **{**RELEASE, "version": version}, to=str(to))

    def test_additions_are_a_minor_version(self, source, first):
        with pytest.raises(InputError, match=r"structures added: 20.*minor version, 1\.1\.0 or later, not 1\.0\.1"):
            self.version(source, first, "1.0.1")
        self.version(source, first, "1.1.0")

    def test_removals_are_a_major_version(self, source, first, tmp_path):
        fewer = of_tables(tmp_path / "fewer", source, [whole(source).take(np.arange(1, 40))])
        with pytest.raises(InputError, match=r"structures removed: 1.*major version, 2\.0\.0 or later, not 1\.7\.0"):
            self.version(fewer, first, "1.7.0")
        self.version(fewer, first, "2.0.0")

    def test_words_are_a_patch(self, source, first, tmp_path):
        same = of_tables(tmp_path / "same", source, [whole(source).take(np.arange(40))])
        self.version(same, first, "1.0.1")
