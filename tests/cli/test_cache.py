"""The verbs of the cache: what is in it, putting in, taking out."""

from pathlib import Path

import pytest
from command import run_apart

from mlipq.store import cached_datasets, open_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_empty_cache(mlipq, cache):
    assert mlipq("cache", "list").out == f"{cache}: 0 datasets, 0.0 MB\n"
    assert mlipq("cache", "list", "--json").json == {"cache": str(cache), "datasets": []}
    assert mlipq("cache", "clear", "--all").out == "0 datasets removed from the cache, 0.0 MB freed\n"


def test_adding_listing_and_clearing(mlipq, finished):
    added = mlipq("cache", "add", finished, "--json").json
    assert (added["made_from"], added["structures"], added["whole"]) == (str(finished), 1, True)
    folder = Path(added["folder"])
    assert added["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    again = mlipq("cache", "add", finished)
    assert again.code == 0 and f"{finished}: 1 structure, 0.0 MB in {folder}" in again.out
    shown = mlipq("cache", "list")
    assert added["key"][:12] in shown.out and str(finished) in shown.out
    assert mlipq("cache", "list", "--json").json["datasets"][0]["key"] == added["key"]
    cleared = mlipq("cache", "clear", finished, "--json").json
    assert cleared == {"removed": [added["key"]], "bytes": added["bytes"]}
    assert not folder.exists() and cached_datasets() == []


@pytest.mark.parametrize("which", ["key", "start of the key", "moved folder", "gone folder", "--all"])
def test_ways_to_name_an_entry(mlipq, finished, tmp_path, which):
    (tmp_path / "ds").symlink_to(finished)
    key = open_dataset(tmp_path / "ds").materialise().cache_key
    if which == "gone folder":
        (tmp_path / "ds").unlink()
    named = {"key": key, "start of the key": key[:3], "moved folder": finished, "gone folder": "ds"}
    assert mlipq("cache", "clear", named.get(which, which)).code == 0
    assert cached_datasets() == []


def test_what_is_not_there_is_not_cleared(mlipq, finished, tmp_path):
    for arguments, said in (
        ((), "name a dataset, or a key that mlipq cache list shows"),
        (("a", "--all"), "name a dataset"),
        (("zz",), "'zz' is the start of 0 keys; see what there is:  mlipq cache list"),
        ((finished,), "is the start of 0 keys"),
        ((tmp_path,), "manifest.json cannot be opened"),
    ):
        ended = mlipq("cache", "clear", *arguments)
        assert ended.code == 2 and said in ended.err


def test_a_damaged_entry_is_listed_and_cleared(mlipq, finished):
    mapped = open_dataset(finished).materialise()
    (entry,) = cached_datasets()
    (entry.folder / "0000.npy").unlink()
    assert "damaged: it will be made anew" in mlipq("cache", "list").out
    assert mlipq("cache", "clear", mapped.cache_key).code == 0
    assert cached_datasets() == []


def test_the_cache_folder_is_the_users(finished, tmp_path, monkeypatch):
    monkeypatch.delenv("MLIPQ_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert run_apart("cache", "add", finished, cwd=tmp_path).code == 0
    assert len(list((tmp_path / "xdg" / "mlipq" / "datasets").glob("*/entry.json"))) == 1
