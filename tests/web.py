"""A web server on loopback that can be told to misbehave, file by file: real sockets, real HTTP."""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

Behaviour = Callable[["Handler", bytes], None]
"""Answers a request for a file, given what is in it."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.behaviours: dict[str, Behaviour] = {}  # by the end of the path
        self.requests: dict[str, list[dict[str, str]]] = defaultdict(list)  # path to the headers of each request
        self.sent: list[int] = []  # bytes of each body that reply() sent
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are none of our business."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path  # a proxy is asked for whole URLs
        self.server.requests[path].append(dict(self.headers))
        file = self.server.root / path.lstrip("/")
        if not file.is_file():
            self.reply(404, b"")
            return
        behave = next((b for end, b in self.server.behaviours.items() if path.endswith(end)), well)
        behave(self, file.read_bytes())

    def wanted(self) -> int:
        """First byte of the range that is asked for."""
        return int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])

    def range(self, size: int) -> tuple[int, int]:
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        return (int(found[1]), int(found[2]) + 1 if found[2] else size) if found else (0, size)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        self.server.sent.append(len(body))

    def log_message(self, *arguments) -> None:
        """Keep quiet."""


def well(handler: Handler, data: bytes) -> None:
    start, stop = handler.range(len(data))
    if "Range" in handler.headers:
        handler.reply(206, data[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(data)}")
    else:
        handler.reply(200, data)


def no_ranges(handler: Handler, data: bytes) -> None:
    handler.reply(200, data)


def refusing_ranges(handler: Handler, data: bytes) -> None:
    if "Range" in handler.headers:
        handler.reply(416, b"")
    else:
        handler.reply(200, data)


def wrong_range(handler: Handler, data: bytes) -> None:
    """Sends a range, but from the beginning."""
    if "Range" in handler.headers:
        handler.reply(206, data, Content_Range=f"bytes 0-{len(data) - 1}/{len(data)}")
    else:
        handler.reply(200, data)


def wrong_bytes(handler: Handler, data: bytes) -> None:
    changed = bytearray(data)
    changed[len(data) // 2] ^= 4
    well(handler, bytes(changed))


def longer(handler: Handler, data: bytes) -> None:
    well(handler, data + b"more")


def endless(handler: Handler, data: bytes) -> None:
    """Sends no length, and does not stop."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(data)


def shorter(handler: Handler, data: bytes) -> None:
    well(handler, data[:-7])


def status(code: int) -> Behaviour:
    return lambda handler, data: handler.reply(code, b"")


def cut_off(part: float) -> Behaviour:
    """Sends a part of what is left, then hangs up."""

    def behave(handler: Handler, data: bytes) -> None:
        start = handler.wanted()
        rest = data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(rest)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(rest[: int(part * len(rest))])
        handler.close_connection = True

    return behave


def never_more_than(n_bytes: int) -> Behaviour:
    """Knows no ranges, and hangs up after so many bytes."""

    def behave(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:n_bytes])
        handler.close_connection = True

    return behave


def dripping(handler: Handler, data: bytes) -> None:
    """Sends a byte now and then: never silent, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    for byte in data:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.02)


def silent(handler: Handler, data: bytes) -> None:
    time.sleep(20)


def redirect(target: str) -> Behaviour:
    return lambda handler, data: handler.reply(302, b"", Location=target)


def compressed(handler: Handler, data: bytes) -> None:
    handler.reply(200, data, Content_Encoding="gzip")


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    with Server(root) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
