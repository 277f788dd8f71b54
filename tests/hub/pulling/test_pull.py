"""Pulling over HTTP on loopback and from folders: what comes, what is refused, what is kept."""

import json
import threading

import pytest
import web
from published import file_entry, publish_structures, rewrite_manifest, same_files

import mlipq
from mlipq.errors import CheckError, IncompleteError, InputError
from mlipq.hub import DatasetRef, locate, pull
from mlipq.hub.pulling import home
from mlipq.hub.pulling.wanted import shard_numbers
from mlipq.store import Manifest

REF = DatasetRef.parse("complexes@1.0.0")
SHARD = "shards/part-00002.zarr.zip"


@pytest.fixture
def url(server) -> str:
    return f"{server.url}/complexes/1.0.0/manifest.json"


@pytest.fixture
def changed(samples, tmp_path):
    """A version that a test may change."""
    return publish_structures(tmp_path / "changed", samples("qm7")[:40], 20, "changed@1.0.0")


def test_what_is_pulled_is_what_was_published(published, server, url, home):
    calls = []
    pulled = pull(url, progress=lambda done, total: calls.append((done, total)))
    assert pulled.folder == home / "complexes" / "1.0.0"
    assert same_files(pulled.folder, published)
    sizes = sum(path.stat().st_size for path in published.rglob("*") if path.is_file() and path.name != "manifest.json")
    assert pulled.bytes_moved == sizes == calls[-1][0] == calls[-1][1]
    assert len(mlipq.open_dataset(pulled.folder)) == 50
    assert json.loads((pulled.folder / "pulled.json").read_text())["location"] == url
    before = sum(map(len, server.requests.values()))
    assert pull(url).bytes_moved == 0
    assert sum(map(len, server.requests.values())) == before + 1  # the manifest alone


@pytest.mark.parametrize(
    "behaviour",
    [web.no_ranges, web.refusing_ranges, web.wrong_range, web.cut_off(0.6), web.never_more_than(10_000), web.wrong_bytes, web.longer,
     web.shorter, web.status(404), web.status(416), web.status(500), web.status(403), web.redirect("file:///etc/passwd"),
     web.redirect("ftp://127.0.0.1/x"), web.redirect("/complexes/loop"), web.dripping, web.silent, web.endless, web.compressed],
)  # fmt: skip
def test_a_bad_mirror_is_survived(behaviour, published, samples, tmp_path, monkeypatch):
    """The first mirror misbehaves in every way, also on what came before; the second is good."""
    monkeypatch.setenv("MLIPQ_TIMEOUT", "0.5")
    with web.serving(published.parents[1]) as bad, web.serving(published.parents[1]) as good:
        bad.behaviours[".zip"] = behaviour
        urls = [f"{server.url}/complexes/1.0.0/{{file}}" for server in (bad, good)]
        folder = publish_structures(tmp_path / "mirrored", samples("tmqm"), 10, "complexes@1.0.0", urls)
        pulled = pull(folder, "2-3", workers=2)
    for number in (2, 3):
        file = f"shards/part-0000{number}.zarr.zip"
        assert (pulled.folder / file).read_bytes() == (published / file).read_bytes()
    assert not (pulled.folder / ".partial").exists()
    assert bad.requests, "the first mirror is asked first"


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        (web.wrong_bytes, CheckError, "expected sha256 [0-9a-f]{16}…, got [0-9a-f]{16}…; the bytes were thrown away"),
        (web.longer, CheckError, r"expected [\d,]+ bytes, as the manifest says, got [\d,]+"),
        (web.endless, CheckError, r"expected [\d,]+ bytes, as the manifest says, got more"),
        (web.shorter, CheckError, r"expected [\d,]+ bytes, as the manifest says, got [\d,]+"),
        (web.never_more_than(9000), IncompleteError, r"cut off: [\d,]+ bytes too early"),
        (web.status(404), IncompleteError, "answered 404"),
        (web.status(416), IncompleteError, "answered 416"),
        (web.status(500), IncompleteError, "answered 500"),
        (web.status(403), IncompleteError, "answered 403 .*MLIPQ_TOKEN"),
        (web.dripping, IncompleteError, "bytes came in .* s: too slow|nothing came"),
        (web.silent, IncompleteError, "nothing came for 0.5 s"),
        (web.compressed, IncompleteError, "compressed on the way"),
        (
            web.redirect("file:///etc/passwd"),
            IncompleteError,
            "got a redirect to 'file:///etc/passwd'; it was not followed",
        ),
        (web.redirect("loop.zip"), IncompleteError, "redirected more than 5 times"),
    ],
)
def test_a_bad_server_is_refused(behaviour, error, message, published, server, url, monkeypatch):
    monkeypatch.setenv("MLIPQ_TIMEOUT", "0.5")
    (published / "shards" / "loop.zip").touch()
    try:
        server.behaviours["part-00002.zarr.zip"] = server.behaviours["loop.zip"] = behaviour
        with pytest.raises(error, match=message) as raised:
            pull(url)
    finally:
        (published / "shards" / "loop.zip").unlink()
    assert "complexes@1.0.0: 1 of 6 files did not come" in str(raised.value)
    assert "kept" in str(raised.value)
    assert not (home.folder_of(REF) / SHARD).exists()
    server.behaviours.clear()
    pulled = pull(url)  # the rest was kept, and a good server ends it
    assert same_files(pulled.folder, published)
    assert pulled.bytes_moved <= (published / SHARD).stat().st_size


@pytest.mark.parametrize("behaviour", [web.well, web.no_ranges, web.refusing_ranges, web.wrong_range])
@pytest.mark.parametrize("begun", ["right", "wrong", "too long", "whole", "whole but wrong"])
def test_what_was_begun_is_gone_on_from(behaviour, begun, published, server, url):
    server.behaviours[".zip"] = behaviour
    entry = Manifest.read(published / "manifest.json").shards[2]
    data = (published / SHARD).read_bytes()
    half = len(data) // 2
    partial = home.partial_of(home.folder_of(REF), entry)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(
        {
            "right": data[:half],
            "wrong": bytes(half),
            "too long": data + b"x",
            "whole": data,
            "whole but wrong": bytes(len(data)),
        }[begun]
    )
    pulled = pull(url, [2])
    assert (pulled.folder / SHARD).read_bytes() == data
    asked = [request.get("Range") for request in server.requests[f"/complexes/1.0.0/{SHARD}"]]
    if begun == "whole":
        assert asked == []
    elif begun == "right":
        assert asked[0] == f"bytes={half}-"
        assert len(asked) == (1 if behaviour in (web.well, web.no_ranges) else 2)


def test_two_files_of_the_same_content_do_not_get_in_each_others_way(changed, home, monkeypatch):
    """Both come at the same time, half by half."""
    names = ["one.csv", "two.csv"]
    for name in names:
        (changed / name).write_bytes(b"0123456789" * 100_000)
    rewrite_manifest(changed, documents=[file_entry(changed, name).model_dump() for name in names])
    both = threading.Barrier(2)

    def together(handler: web.Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for half in (data[:500_000], data[500_000:]):
            both.wait(10)
            handler.wfile.write(half)

    with web.serving(changed.parents[1]) as server:
        server.behaviours[".csv"] = together
        pulled = pull(f"{server.url}/changed/1.0.0", [0], workers=2)
    for name in names:
        assert (pulled.folder / name).read_bytes() == (changed / name).read_bytes()


def test_a_file_that_changes_on_the_server_is_not_mixed(published, server, url):
    """Between two attempts the server's file becomes another one, then the right one: If-Range tells."""
    states = iter(["old", "new", "new"])

    def changing(handler: web.Handler, data: bytes) -> None:
        tag = f'"{next(states)}"'
        if tag == '"old"':
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.send_header("ETag", tag)
            handler.end_headers()
            handler.wfile.write(bytes(len(data) // 2))
            handler.close_connection = True
        elif handler.headers.get("If-Range", tag) != tag:
            handler.reply(200, data, ETag=tag)
        else:
            web.well(handler, data)

    server.behaviours["part-00002.zarr.zip"] = changing
    pulled = pull(url, [2])
    assert (pulled.folder / SHARD).read_bytes() == (published / SHARD).read_bytes()
    asked = server.requests[f"/complexes/1.0.0/{SHARD}"]
    assert len(asked) == 2 and asked[1]["If-Range"] == '"old"'


def test_a_cache_that_was_damaged_is_mended(published, server, url):
    folder = pull(url).folder
    (folder / "shards/part-00000.zarr.zip").unlink()
    (folder / "README.md").unlink()
    cut, flipped = folder / "shards/part-00001.zarr.zip", folder / SHARD
    cut.write_bytes(cut.read_bytes()[:-1])
    data = bytearray(flipped.read_bytes())
    data[1000] ^= 1
    flipped.write_bytes(data)
    (folder / "manifest.json").write_text("{}")
    server.requests.clear()
    assert same_files(pull(url).folder, published)
    asked = {path.rpartition("/")[2] for path in server.requests}
    assert asked == {"manifest.json", "README.md", "part-00000.zarr.zip", "part-00001.zarr.zip", "part-00002.zarr.zip"}


@pytest.mark.filterwarnings("ignore:another process is pulling")
def test_two_pulls_at_once_move_everything_once(published, server, url):
    ended = []

    def run() -> None:
        ended.append(pull(url))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same_files(ended[0].folder, published)
    assert sorted(pulled.bytes_moved > 0 for pulled in ended) == [False, False, False, True]
    assert all(len(requests) == 1 for path, requests in server.requests.items() if path.endswith(".zip"))


def test_a_pull_that_waited_finds_its_folders(published, url, monkeypatch):
    """The one that it waits for removes, at its end, the folder of what is still coming."""
    waiting, ended = threading.Event(), []
    monkeypatch.setattr(home.warnings, "warn", lambda *said, **how: waiting.set())
    second = threading.Thread(target=lambda: ended.append(pull(url)))
    with home.held(REF) as folder:
        second.start()
        assert waiting.wait(10)
        home.tidy(folder)
    second.join()
    assert same_files(ended[0].folder, published)


def test_some_shards_then_the_others(published, server, url):
    folder = pull(url, "1,3-4").folder
    with pytest.warns(UserWarning, match="2 of 5 shards are not here"):
        assert len(mlipq.open_dataset(folder)) == 30
    assert len(mlipq.open_dataset(url, shards=[3])) == 10
    assert not (folder / "shards/part-00000.zarr.zip").exists()
    assert len(mlipq.open_dataset(url)) == 50
    assert same_files(folder, published)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", [0]), ("0-2", [0, 1, 2]), ("4,1-2, 2", [1, 2, 4]), (None, [0, 1, 2, 3, 4]), ([3, 0], [0, 3])],
)
def test_which_shards(published, text, numbers):
    assert shard_numbers(text, Manifest.read(published / "manifest.json")) == numbers


@pytest.mark.parametrize("text", ["5", "0-5", "2-1", "", "a", "-1", "1-", "0-99999999999999", [-1], [5]])
def test_shards_that_are_not_there(published, text):
    with pytest.raises(InputError, match=r"there is no shard|numbers and ranges"):
        shard_numbers(text, Manifest.read(published / "manifest.json"))


def test_offline(published, server, url, monkeypatch):
    pull(url, "0-1")
    server.requests.clear()
    monkeypatch.setenv("MLIPQ_OFFLINE", "1")
    with pytest.raises(IncompleteError) as raised:
        pull(url)
    lacking = [line.split()[0] for line in str(raised.value).splitlines()[1:]]
    assert lacking == [f"shards/part-0000{number}.zarr.zip" for number in (2, 3, 4)]
    assert pull(url, "0-1").bytes_moved == 0
    assert len(mlipq.open_dataset(url, shards="0-1")) == 20
    with pytest.raises(IncompleteError, match=r"offline, and .* is not here; what is: complexes@1.0.0"):
        pull(f"{server.url}/other/manifest.json")
    assert not server.requests


def test_a_catalogue_that_cannot_be_reached_leaves_what_was_pulled(published, server, url, monkeypatch):
    pull(url)
    monkeypatch.setenv("MLIPQ_CATALOGUE", "http://127.0.0.1:9/catalogue.json")
    assert len(mlipq.open_dataset("complexes")) == 50
    with pytest.raises(IncompleteError, match=r"the catalogue does not come: .*no connection.*MLIPQ_CATALOGUE names"):
        mlipq.open_dataset("complexes@1.1.0")
    monkeypatch.setenv("MLIPQ_CATALOGUE", f"{server.url}/nothing.json")
    assert len(mlipq.open_dataset("complexes")) == 50
    monkeypatch.setenv("MLIPQ_CATALOGUE", "nothing.json")
    with pytest.raises(InputError, match=r"nothing.json: there is no such file. MLIPQ_CATALOGUE names"):
        mlipq.open_dataset("complexes")


def test_a_name_is_what_the_catalogue_says(changed, catalogue, tmp_path, monkeypatch):
    """Another dataset that calls itself complexes@1.0.0, pulled before, is not taken for it."""
    rewrite_manifest(changed, name="complexes")
    pull(changed)
    with pytest.raises(CheckError, match=r"was pulled from .*changed.*remove the folder and pull again"):
        mlipq.open_dataset("complexes")
    other = json.loads(catalogue.read_text())
    other["datasets"]["complexes"]["1.0.0"]["manifest_sha256"] = "0" * 64
    other["base_url"] = str(catalogue.parent)
    (tmp_path / "catalogue.json").write_text(json.dumps(other))
    monkeypatch.setenv("MLIPQ_CATALOGUE", str(tmp_path / "catalogue.json"))
    with pytest.raises(CheckError, match="expected sha256 0000000000000000…, as the catalogue says, got"):
        pull("complexes@1.0.0")


def test_a_folder_that_cannot_be_written_to_says_what_to_do(published, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLIPQ_DATA_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(InputError, match="MLIPQ_DATA_HOME"):
        pull(published)


def test_verbs_find_a_name_and_take_what_was_pulled_as_it_is(published, catalogue):
    folder = locate("complexes", shards=())
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "pulled.json", "README.md"}
    pull("complexes", "2")
    assert locate("complexes") == folder
    assert [path.name for path in (folder / "shards").iterdir()] == ["part-00002.zarr.zip"]
    assert locate(published) == locate(published / "manifest.json") == published
    with pytest.raises(InputError, match="nothing: no such file or folder, and the catalogue has no dataset 'nothing'"):
        locate("nothing")


def test_a_download_that_is_stopped_keeps_what_came(published, server, url, monkeypatch):
    """Ctrl-C while a server is silent: what came is kept, nothing waits for the server."""
    monkeypatch.setenv("MLIPQ_TIMEOUT", "19")
    server.behaviours["part-00002.zarr.zip"] = web.silent

    def interrupt(done: int, total: int) -> None:
        if done == total - (published / SHARD).stat().st_size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(url, progress=interrupt)
    server.behaviours.clear()
    pulled = pull(url)
    assert same_files(pulled.folder, published)
    assert pulled.bytes_moved == (published / SHARD).stat().st_size
