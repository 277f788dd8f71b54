"""Publishing to a server that stands in for the Hugging Face hub, by the real huggingface_hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Ended
from hub_stub import TOKEN, Hub, serving_hub
from labelled import RELEASE, content, labelled, publish_command

from mlipq.hub import publish

REPOSITORY = "me/g-set"
TO = f"hf://datasets/{REPOSITORY}"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return labelled(tmp_path_factory.mktemp("source"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving_hub() as hub:
        yield hub


@pytest.fixture(autouse=True)
def environment(hub, tmp_path, monkeypatch) -> None:
    """The hub, and no token that the user of this computer may have."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@pytest.fixture
def run(source, mlipq, monkeypatch):
    """Publish to the hub, with a token."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def publish(*more: object, **release: str) -> Ended:
        ended = mlipq(*publish_command(source, TO, "--shard-mb", 0.02, *more, **release))
        assert TOKEN not in ended.out + ended.err
        return ended

    return publish


def test_a_version_is_a_commit_and_a_tag(hub, run, source, tmp_path):
    ended = run("--json")
    assert ended.code == 0, ended.err
    publish(source, **RELEASE, to=str(tmp_path / "folder"), shard_bytes=20_000)
    assert hub.files(REPOSITORY, "1.0.0") == content(tmp_path / "folder" / "g-set" / "1.0.0")
    assert hub.tags[REPOSITORY] == {"1.0.0": hub.head[REPOSITORY]}
    assert sum(line.endswith("/commit/main") for line in hub.requests) == 1
    again = run("--json")
    assert (again.code, again.json["was_there"], again.json["bytes_moved"]) == (0, True, 0)


def test_a_version_is_never_changed(hub, run):
    assert run().code == 0
    before = dict(hub.tags[REPOSITORY]), dict(hub.head)
    ended = run(licence="MIT")
    assert (ended.code, "published already, with other content" in ended.err) == (2, True)
    assert (hub.tags[REPOSITORY], hub.head) == before


def test_the_next_version_takes_the_place_of_the_last_one_which_stays(hub, run, tmp_path):
    assert run().code == 0
    first = hub.files(REPOSITORY, "1.0.0")
    hub.commits[hub.head[REPOSITORY]]["notes.txt"] = b"put there by hand"
    ended = run("--shard-mb", 1, version="1.0.1")  # fewer shards
    assert ended.code == 0, ended.err
    assert hub.files(REPOSITORY, "1.0.0") == first
    second = hub.files(REPOSITORY, "1.0.1")
    shards = [file for file in second if file.startswith("shards/")]
    assert shards == ["shards/part-00000.zarr.zip"]
    assert "notes.txt" in second


@pytest.mark.parametrize("broken", ["PUT /lfs/", r"POST .*/commit/main", r"POST .*/tag/", r"GET .*README\.md"])
def test_an_interrupted_publish_has_no_tag_and_goes_on(hub, run, broken):
    hub.fail = broken
    ended = run()
    assert ended.code == 3, ended.err
    assert "Run the same command again" in ended.err
    assert not hub.tags.get(REPOSITORY)
    hub.fail = ""
    hub.requests.clear()
    assert run().code == 0
    assert list(hub.tags[REPOSITORY]) == ["1.0.0"]
    if "PUT" not in broken:  # large files were there
        assert not any(line.startswith("PUT") for line in hub.requests)


def test_a_file_that_comes_back_otherwise_gets_no_tag(hub, run):
    hub.spoil = "shards/part-00001"
    ended = run()
    assert (ended.code, "read back" in ended.err) == (1, True), ended.err
    assert not hub.tags.get(REPOSITORY)


def test_without_a_token_it_says_what_to_set(source, mlipq):
    ended = mlipq(*publish_command(source, TO))
    assert (ended.code, "HF_TOKEN" in ended.err) == (2, True), ended.err
