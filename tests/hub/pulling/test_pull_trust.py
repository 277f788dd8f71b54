"""Whom a pull believes, and whom it tells what: forged manifests, odd servers, tokens and passwords."""

import base64
import json
import sys

import pytest
import web
from published import publish_structures, rewrite_manifest, same_files

import mlipq
from mlipq.errors import CheckError, IncompleteError, InputError
from mlipq.hub import pull

SHARD = "shards/part-00002.zarr.zip"


@pytest.fixture
def url(server) -> str:
    return f"{server.url}/complexes/1.0.0/manifest.json"


@pytest.fixture
def changed(samples, tmp_path):
    """A version that a test may change."""
    return publish_structures(tmp_path / "changed", samples("qm7")[:40], 20, "changed@1.0.0")


@pytest.mark.parametrize(
    ("field", "value"),
    [("file", "../../evil.zarr.zip"), ("file", "/tmp/evil.zarr.zip"), ("file", "shards/../../evil"), ("file", "C:\\evil"),
     ("file", "manifest.json"), ("file", "pulled.json"), ("file", ".partial/x"), ("urls", ["file:///etc/passwd"]),
     ("urls", ["../../../etc/passwd"]), ("urls", ["/etc/passwd"]), ("urls", ["local:///etc/passwd"]),
     ("urls", ["http://[host/x"]), ("urls", ["hf://x"]), ("urls", ["simplecache::file:///etc/passwd"]), ("urls", ["//127.0.0.1/x"]), ("urls", ["https://me:hunter2@host/x"])],
)  # fmt: skip
def test_a_manifest_that_points_outside_is_refused(field, value, changed, home, tmp_path):
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["shards"][1][field] = value
    (changed / "manifest.json").write_text(json.dumps(manifest))
    with web.serving(changed.parents[1]) as server, pytest.raises((CheckError, InputError)) as raised:
        pull(f"{server.url}/changed/1.0.0/manifest.json")
    assert "hunter2" not in str(raised.value)
    written = {path.name for path in tmp_path.rglob("*") if "changed" not in path.parts[len(tmp_path.parts)]}
    assert not written - {"home", "changed", "1.0.0", "manifest.json", "pulled.json", ".partial", ".1.0.0.lock"}


@pytest.mark.parametrize("field", ["name", "version"])
def test_a_manifest_of_an_impossible_version_is_refused(field, changed):
    rewrite_manifest(changed, **{field: "../x"})
    with pytest.raises(CheckError, match=r"manifest.json: a .*not '.*\.\./x.*nothing was pulled"):
        pull(changed)


def test_a_mirror_in_a_store_that_is_not_installed_is_left_for_the_next(
    published, samples, server, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    urls = ["gs://bucket/complexes/1.0.0/{file}", f"{server.url}/complexes/1.0.0/{{file}}"]
    folder = publish_structures(tmp_path / "mirrored", samples("tmqm"), 10, "complexes@1.0.0", urls)
    assert (pull(folder, [2]).folder / SHARD).read_bytes() == (published / SHARD).read_bytes()
    assert len(mlipq.open_dataset(folder, stream=True, shards=[2]).batch([1, 2])["positions"]) > 0
    with pytest.raises(InputError, match=r"gs://bucket/x/manifest.json: .*pip install 'mlipq\[remote\]'"):
        pull("gs://bucket/x")


def test_an_unpublished_dataset_is_not_pulled(changed):
    rewrite_manifest(changed, name="", version="")
    with pytest.raises(InputError, match=r"expected a published version.*mlipq data publish"):
        pull(changed)


def test_a_page_where_a_manifest_should_be_is_named_as_what_it_is(server, url):
    server.behaviours["manifest.json"] = lambda handler, data: handler.reply(200, b"<!DOCTYPE html><p>Sign in</p>")
    with pytest.raises(
        CheckError, match="not a valid manifest: expected JSON, got what begins with '<!DOCTYPE html><p>Si'"
    ):
        pull(url)


def test_an_endless_manifest_is_not_read(server, url, monkeypatch):
    monkeypatch.setattr("mlipq.hub.pulling.origin.MOST_BYTES", 100_000)
    server.behaviours["manifest.json"] = web.endless
    with pytest.raises(IncompleteError, match="expected at most 100,000 bytes, but there are more"):
        pull(url)


def test_a_token_goes_to_the_server_that_was_named_and_no_other(published, samples, tmp_path, monkeypatch):
    monkeypatch.setenv("MLIPQ_TOKEN", "s3cret")
    with web.serving(published.parents[1]) as mirror:
        urls = [f"{mirror.url}/complexes/1.0.0/{{file}}"]
        folder = publish_structures(tmp_path / "private", samples("tmqm"), 10, "complexes@1.0.0", urls)
        with web.serving(folder.parents[1]) as named:
            named.behaviours["README.md"] = web.redirect(f"{mirror.url}/complexes/1.0.0/README.md")
            pulled = pull(f"{named.url}/complexes/1.0.0/manifest.json?signature=hidden")
    named_headers = [headers for requests in named.requests.values() for headers in requests]
    other_headers = [headers for requests in mirror.requests.values() for headers in requests]
    assert {headers["Authorization"] for headers in named_headers} == {"Bearer s3cret"}
    assert len(other_headers) == 6 and not any("Authorization" in headers for headers in other_headers)
    for path in pulled.folder.rglob("*"):
        if path.suffix == ".json":
            assert "s3cret" not in path.read_text() and "hidden" not in path.read_text()


def test_hugging_face_is_asked_in_its_own_way(published, monkeypatch, tmp_path):
    """A stand-in for the hub: its addresses, its token, its redirect to another host."""
    root = tmp_path / "hub" / "datasets" / "me" / "complexes" / "resolve" / "v1.0.0"
    root.parent.mkdir(parents=True)
    root.symlink_to(published)
    with web.serving(published.parents[1]) as storage, web.serving(tmp_path / "hub") as hub:
        hub.behaviours["part-00000.zarr.zip"] = web.redirect(
            f"{storage.url}/complexes/1.0.0/shards/part-00000.zarr.zip"
        )
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "s3cret")
        pulled = pull("hf://datasets/me/complexes@v1.0.0/manifest.json")
    assert same_files(pulled.folder, published)
    assert {headers["Authorization"] for requests in hub.requests.values() for headers in requests} == {"Bearer s3cret"}
    assert not any("Authorization" in headers for requests in storage.requests.values() for headers in requests)
    assert storage.requests
    with pytest.raises(InputError, match="expected hf://datasets/<organisation>/<name>"):
        pull("hf://models/x")


def test_a_place_that_nobody_knows():
    with pytest.raises(InputError, match="expected a path, or a URL of http"):
        pull("nonsense://bucket/manifest.json")


def test_urls_with_a_password_are_refused_unshown(server):
    with pytest.raises(InputError, match="with a user or a password in it; take them out") as raised:
        pull("https://me:hunter2@host/complexes/1.0.0/manifest.json?key=hidden")
    assert "hunter2" not in str(raised.value) and "hidden" not in str(raised.value)


def test_errors_and_logs_keep_queries_and_tokens_to_themselves(server, monkeypatch, caplog):
    monkeypatch.setenv("MLIPQ_TOKEN", "s3cret")
    with pytest.raises(InputError, match=r"answered 404 .*Expected there: the manifest.json") as raised:
        pull(f"{server.url}/nothing/manifest.json?signature=hidden")
    with pytest.raises(IncompleteError) as unreachable:
        pull("http://127.0.0.1:9/manifest.json?signature=hidden")
    said = f"{raised.value} {unreachable.value} {caplog.text}"
    assert "hidden" not in said and "s3cret" not in said


def test_a_proxy_and_its_password(published, server, monkeypatch):
    """The server plays the proxy; what it is asked for is on no host that exists."""
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "me:hunt%3Aer2@"))
    url = "http://datasets.invalid/complexes/1.0.0/manifest.json"
    assert same_files(pull(url, workers=1).folder, published)
    expected = "Basic " + base64.b64encode(b"me:hunt:er2").decode()
    assert {headers["proxy-authorization"] for requests in server.requests.values() for headers in requests} == {
        expected
    }
    monkeypatch.setenv("http_proxy", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(IncompleteError, match="no connection to the proxy that the environment names") as raised:
        pull(url)
    assert "hunter2" not in str(raised.value)
