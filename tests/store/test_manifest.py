"""The manifest's model: what it refuses, and that it says the same thing in the same bytes."""

import json

import pytest
from molecules import ENERGY, g2_table

from mlipq.errors import CheckError, InputError
from mlipq.store import Manifest, ShardEntry, sha256_file, write_shard


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "shards").mkdir()
    table = g2_table()
    write_shard(tmp_path / "shards/part-00000.zarr.zip", table, {})
    entry = ShardEntry.of(tmp_path, "shards/part-00000.zarr.zip", table)
    return Manifest(shards=[entry], arrays=list(table.specs.values()), quality={"F_SMALL_GAP": 3})


def test_round_trip_and_equal_bytes(tmp_path, manifest):
    manifest.write(tmp_path / "manifest.json")
    again = Manifest.read(tmp_path / "manifest.json")
    assert again == manifest and ENERGY in again.arrays
    again.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "manifest.json").read_bytes()


def test_entries_describe_the_file(tmp_path, manifest):
    (entry,) = manifest.shards
    path = tmp_path / entry.file
    assert (entry.bytes, entry.sha256) == (path.stat().st_size, sha256_file(path))
    assert (manifest.n_structures, manifest.n_atoms) == (20, g2_table().n_atoms)
    assert manifest.elements[:2] == ["H", "Li"]


FAULTS = [
    (lambda m: m.update(surprise=1), "surprise: Extra inputs"),
    (lambda m: m.pop("shards"), "shards: Field required"),
    (lambda m: m.update(format_version=2), "format_version: Input should be 1"),
    (lambda m: m["shards"][0].update(bytes=-1), "shards.0.bytes"),
    (lambda m: m["shards"][0].update(bytes="17"), "shards.0.bytes"),
    (lambda m: m["shards"][0].update(sha256="abc"), "shards.0.sha256"),
    (lambda m: m["shards"][0].update(extra=1), "shards.0.extra"),
    (lambda m: m["arrays"][0].update(level="galaxy"), "arrays.0.level"),
    (lambda m: m["arrays"][0].update(name="../x"), "'../x' is not in the schema"),
    (lambda m: m["arrays"][0].update(name="info/.."), "'info/..' is not in the schema"),
    (lambda m: m["arrays"][0].update(extra=1), "arrays.0.extra"),
    (lambda m: m["shards"].append(m["shards"][0]), "listed twice"),
    (lambda m: m["arrays"].append(m["arrays"][0]), "listed twice"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_faults_name_file_and_field(tmp_path, manifest, fault, said):
    content = manifest.model_dump(mode="json")
    fault(content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CheckError, match=r"manifest\.json is not a valid manifest") as refused:
        Manifest.read(tmp_path / "manifest.json")
    assert said in str(refused.value)


@pytest.mark.parametrize("file", ["../a.h5", "shards/../../a.h5", "/etc/passwd", "", "C:/a.h5", "..\\a.h5", "a\0.h5"])
def test_shards_stay_inside_the_folder(tmp_path, manifest, file):
    content = manifest.model_dump(mode="json")
    content["shards"][0]["file"] = file
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CheckError, match="stays inside it"):
        Manifest.read(tmp_path / "manifest.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"shards": NaN}'])
def test_what_is_not_a_manifest(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CheckError, match=r"manifest\.json"):
        Manifest.read(tmp_path / "manifest.json")


def test_no_manifest(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        Manifest.read(tmp_path / "manifest.json")
