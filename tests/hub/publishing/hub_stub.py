"""A server that stands in for the Hugging Face hub: the part of its API that publishing a dataset uses, with Git's semantics."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_ATokenThatMustNotBeSeen"
LARGE = 1_000
"""Files of more bytes go to the large file storage."""


@dataclass
class Hub:
    """What the hub keeps."""

    url: str = ""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    head: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fail: str = ""
    """Requests that match are answered with 501, which the client does not try again."""
    spoil: str = ""
    """Files that match are stored with a wrong byte."""

    def files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        commit = self.tags.get(repository, {}).get(revision) or (
            self.head.get(repository) if revision == "main" else revision
        )
        return self.commits.get(commit or "")

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> str:
        files = dict(self.commits.get(self.head.get(repository, ""), {}))
        for value, key in ((line["value"], line["key"]) for line in lines):
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.storage[value["oid"]]
            elif key == "deletedFile":
                files.pop(value["path"])
            if self.spoil and re.search(self.spoil, value.get("path", "")) and value["path"] in files:
                files[value["path"]] = b"X" + files[value["path"]][1:]
        oid = hashlib.sha1(repr((self.head.get(repository), sorted(files.items()))).encode()).hexdigest()
        self.commits[oid] = files
        self.head[repository] = oid
        return oid


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Run the server on loopback."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def _answer(self, value: Any = None, code: int = 200, data: bytes | None = None, **headers: str) -> None:
        body = json.dumps(value).encode() if data is None else data
        self.send_response(code)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _do(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        line = f"{self.command} {path}"
        hub.requests.append(line)
        if hub.fail and re.search(hub.fail, line):
            return self._answer({"error": "injected"}, 501)
        if not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "no token"}, 401, X_Error_Code="", X_Error_Message="no token")
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                return answer(self, hub, body, **found.groupdict())
        return self._answer({"error": f"no such route: {line}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = _do

    def _create(self, hub: Hub, body: bytes) -> None:
        said = json.loads(body)
        repository = f"{said['organization']}/{said['name']}"
        if repository in hub.head:
            return self._answer({"error": "exists", "url": f"{hub.url}/datasets/{repository}"}, 409)
        hub.head[repository] = hub.commit(repository, [])
        return self._answer({"url": f"{hub.url}/datasets/{repository}", "id": repository})

    def _info(self, hub: Hub, body: bytes, repository: str) -> None:
        if repository not in hub.head:
            return self._answer({"error": "no"}, 404, X_Error_Code="RepoNotFound")
        return self._answer({"id": repository, "sha": hub.head[repository], "private": False, "tags": []})

    def _refs(self, hub: Hub, body: bytes, repository: str) -> None:
        if repository not in hub.head:
            return self._answer({"error": "no"}, 404, X_Error_Code="RepoNotFound")
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in hub.tags.get(repository, {}).items()
        ]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": hub.head[repository]}
        return self._answer({"branches": [main], "converts": [], "tags": tags})

    def _preupload(self, hub: Hub, body: bytes, repository: str) -> None:
        files = json.loads(body)["files"]
        mode = {True: "lfs", False: "regular"}
        return self._answer(
            {
                "files": [
                    {"path": file["path"], "uploadMode": mode[file["size"] > LARGE], "shouldIgnore": False}
                    for file in files
                ]
            }
        )

    def _batch(self, hub: Hub, body: bytes, repository: str) -> None:
        objects = []
        for item in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{hub.url}/lfs/{item['oid']}", "header": {}}}
            objects.append({**item, **({} if item["oid"] in hub.storage else {"actions": upload})})
        return self._answer({"transfer": "basic", "objects": objects})

    def _store(self, hub: Hub, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._answer({"error": "wrong content"}, 422)
        hub.storage[oid] = body
        return self._answer({})

    def _commit(self, hub: Hub, body: bytes, repository: str) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent not in (None, hub.head[repository]):
            return self._answer({"error": "someone else was faster"}, 412)
        oid = hub.commit(repository, lines[1:])
        url = f"{hub.url}/datasets/{repository}/commit/{oid}"
        return self._answer({"success": True, "commitOid": oid, "commitUrl": url})

    def _tag(self, hub: Hub, body: bytes, repository: str, revision: str) -> None:
        tags, name = hub.tags.setdefault(repository, {}), json.loads(body)["tag"]
        if name in tags:
            return self._answer({"error": "exists"}, 409)
        tags[name] = hub.head[repository] if revision == "main" else revision
        return self._answer({})

    def _tree(self, hub: Hub, body: bytes, repository: str, revision: str) -> None:
        files = hub.files(repository, revision) or {}
        return self._answer(
            [{"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in files.items()]
        )

    def _resolve(self, hub: Hub, body: bytes, repository: str, revision: str, file: str) -> None:
        if repository not in hub.head:
            return self._answer({"error": "no"}, 404, X_Error_Code="RepoNotFound")
        files = hub.files(repository, revision)
        if files is None:
            return self._answer({"error": "no"}, 404, X_Error_Code="RevisionNotFound")
        if file not in files:
            return self._answer({"error": "no"}, 404, X_Error_Code="EntryNotFound")
        data = files[file]
        said = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": revision, "Accept_Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self._answer(data=data, **said)
        start, stop = int(asked[1]), int(asked[2] or len(data) - 1) + 1
        part = data[start:stop]
        return self._answer(
            code=206, data=part, Content_Range=f"bytes {start}-{start + len(part) - 1}/{len(data)}", **said
        )

    def _yaml(self, hub: Hub, body: bytes) -> None:
        return self._answer({"errors": [], "warnings": []})


_REPOSITORY = r"(?P<repository>[^/]+/[^/]+)"
_ROUTES = [
    ("POST", "/api/repos/create", _Handler._create),
    ("POST", "/api/validate-yaml", _Handler._yaml),
    ("GET", f"/api/datasets/{_REPOSITORY}(/revision/main)?", _Handler._info),
    ("GET", f"/api/datasets/{_REPOSITORY}/refs", _Handler._refs),
    ("POST", f"/api/datasets/{_REPOSITORY}/preupload/main", _Handler._preupload),
    ("POST", f"/datasets/{_REPOSITORY}\\.git/info/lfs/objects/batch", _Handler._batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", _Handler._store),
    ("POST", f"/api/datasets/{_REPOSITORY}/commit/main", _Handler._commit),
    ("POST", f"/api/datasets/{_REPOSITORY}/tag/(?P<revision>.+)", _Handler._tag),
    ("GET", f"/api/datasets/{_REPOSITORY}/tree/(?P<revision>[^/]+)", _Handler._tree),
    ("GET HEAD", f"/datasets/{_REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler._resolve),
]
