"""Published datasets from the command line: listed, pulled, named to other verbs."""

import json
from pathlib import Path

import pytest
from published import catalogue_of, publish_structures


@pytest.fixture(autouse=True)
def catalogue(samples, tmp_path, monkeypatch) -> Path:
    """A catalogue of one version in two shards."""
    folder = publish_structures(tmp_path / "published", samples("qm7")[:20], 10, "molecules@1.0.0")
    path = catalogue_of(folder)
    monkeypatch.setenv("MLIPQ_CATALOGUE", str(path))
    monkeypatch.setenv("MLIPQ_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLIPQ_OFFLINE", raising=False)
    return path


def test_list_and_pull(mlipq, tmp_path):
    listed = mlipq("data", "list")
    assert listed.code == 0
    lines = dict(line.split(maxsplit=1) for line in listed.out.splitlines()[1:])
    assert listed.out.startswith("molecules@1.0.0\n")
    assert (lines["licence"], lines["pulled"]) == ("CC0-1.0", "no")
    assert lines["structures"].startswith("20 with ")
    pulled = mlipq("data", "pull", "molecules", "--shards", "1", "--json")
    assert pulled.code == 0
    folder = tmp_path / "home" / "molecules" / "1.0.0"
    moved = sum((folder / file).stat().st_size for file in ("README.md", "shards/part-00001.zarr.zip"))
    assert pulled.json == {"dataset": "molecules@1.0.0", "folder": str(folder), "shards": [1], "bytes_moved": moved}
    (one,) = mlipq("data", "list", "--json").json["datasets"]
    assert (one["dataset"], one["pulled"], one["shards"], one["structures"]) == ("molecules@1.0.0", 1, 2, 20)
    assert "1 of 2 shards in" in mlipq("data", "pull", "molecules@1.0.0", "--shards", "0").out
    assert "all shards in" in (again := mlipq("data", "pull", "molecules")).out
    assert "nothing had to be moved" in again.out


def test_info_pulls_no_shard(mlipq, tmp_path):
    shown = mlipq("info", "molecules")
    assert shown.code == 0
    assert "20 with" in shown.out and "0 of 2 shards" in shown.out and "warning" not in shown.err
    assert not list(tmp_path.glob("home/**/*.zarr.zip"))
    as_json = mlipq("info", "molecules", "--json").json
    assert as_json["structures"] == 20
    assert as_json["missing"] == ["shards/part-00000.zarr.zip", "shards/part-00001.zarr.zip"]


def test_verify_checks_what_was_pulled(mlipq, tmp_path):
    mlipq("data", "pull", "molecules", "--shards", "0")
    (shard,) = tmp_path.glob("home/**/*.zarr.zip")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    ended = mlipq("verify", "molecules")
    assert ended.code == 1
    assert "part-00000.zarr.zip: sha256" in ended.err
    assert mlipq("data", "pull", "molecules", "--shards", "0").code == 0
    with pytest.warns(UserWarning, match="1 of 2 shards are not here"):
        assert "part-00000.zarr.zip: sha256" not in mlipq("verify", "molecules").err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing"], 2, "the catalogue has no dataset 'nothing'; those it has: molecules"),
        (["molecules@2.0.0"], 2, "no molecules@2.0.0; versions of molecules that it has: 1.0.0"),
        (["Molecules"], 2, "lower-case letters"),
        (["molecules", "--shards", "2"], 2, "there is no shard 2: molecules@1.0.0 has 2, numbered from 0 to 1"),
        (["molecules", "--shards", "x"], 2, "numbers and ranges, as 0-3,7"),
        (["molecules", "--workers", "0"], 2, "Invalid value"),
        (["https://u:hunter2@host/manifest.json"], 2, "take them out"),
        (["http://[host/manifest.json"], 2, "is no URL: expected https://host/path"),
        (["http://host:port/manifest.json"], 2, "is no URL"),
        (["https://u:hunter2@host:port/manifest.json"], 2, "is no URL"),
        (["http:///manifest.json"], 2, "is no URL"),
        (["published"], 2, "published/manifest.json: there is no such file. Expected there: the manifest.json"),
        (["published/catalogue.json"], 1, "not a valid manifest"),
        (["http://127.0.0.1:9/x", "--offline"], 3, "offline, and http://127.0.0.1:9/x is not here; what is: nothing"),
    ],
)
def test_what_cannot_be_pulled(mlipq, arguments, code, said):
    ended = mlipq("data", "pull", *arguments)
    assert ended.code == code
    assert said in ended.err and "hunter2" not in ended.err
    assert ended.out == ""


def test_offline_says_exactly_what_is_missing(mlipq, catalogue, tmp_path, monkeypatch):
    mlipq("data", "pull", "molecules", "--shards", "0")
    other = json.loads(catalogue.read_text()) | {"base_url": "http://127.0.0.1:9"}
    (tmp_path / "catalogue.json").write_text(json.dumps(other))
    monkeypatch.setenv("MLIPQ_CATALOGUE", str(tmp_path / "catalogue.json"))
    monkeypatch.setenv("MLIPQ_OFFLINE", "1")
    ended = mlipq("data", "pull", "molecules", "--json")
    assert ended.code == ended.json["exit_code"] == 3
    first, *missing = ended.json["error"].splitlines()
    assert first.startswith("molecules@1.0.0: offline; these files")
    assert [line.split()[0] for line in missing] == ["shards/part-00001.zarr.zip"]
    assert mlipq("data", "pull", "molecules", "--shards", "0").code == 0
