"""A real nginx on loopback, with a configuration of its own, started by a fixture."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
{user}
events {{ worker_connections 256; }}
http {{
  log_format counted '$request_uri $status $body_bytes_sent $bytes_sent "$http_authorization"';
  access_log {folder}/access.log counted;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {root};
    location /slow/ {{ alias {root}/; limit_rate {slow_rate}; }}
    location /norange/ {{ alias {root}/; max_ranges 0; }}
    location /refusing/ {{ alias {root}/; if ($http_range) {{ return 416; }} }}
    location /status404/ {{ return 404; }}
    location /status416/ {{ return 416; }}
    location /status500/ {{ return 500; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    location /tofile/ {{ return 302 file:///etc/passwd; }}
    location /private/ {{ alias {root}/; if ($http_authorization != "Bearer s3cret") {{ return 401; }} }}
  }}
}}
"""


@dataclass(frozen=True)
class Moved:
    """One request, as nginx logged it."""

    path: str
    status: int
    body: int
    """Bytes of the file."""
    all: int
    """Bytes with the header."""
    authorization: str


@dataclass(frozen=True)
class Nginx:
    url: str
    root: Path
    folder: Path

    def forget(self) -> None:
        """Empty the log."""
        self.requests()
        (self.folder / "access.log").write_bytes(b"")

    def requests(self) -> list[Moved]:
        """All requests since the log was emptied; a last one of our own tells that nginx has written all of them down."""
        mark = f"/mark-{time.monotonic_ns()}"
        with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2]))) as client:
            client.sendall(f"GET {mark} HTTP/1.0\r\n\r\n".encode())
            while client.recv(4096):
                pass
        deadline = time.monotonic() + 10
        while mark not in (text := (self.folder / "access.log").read_text()):
            assert time.monotonic() < deadline, "nginx does not log"
            time.sleep(0.005)
        found = re.findall(r'^(\S+) (\d+) (\d+) (\d+) "([^"]*)"$', text, re.MULTILINE)
        moved = [Moved(path, *map(int, numbers), authorization) for path, *numbers, authorization in found]
        return [request for request in moved if not request.path.startswith("/mark-")]


@contextmanager
def running_nginx(folder: Path, root: Path, slow_rate: str) -> Iterator[Nginx]:
    """Serve ``root`` at its own path, and in the other ways of the configuration below paths such as ``/slow/``."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not read a test's folder
    text = CONFIGURATION.format(folder=folder, root=root, port=port, slow_rate=slow_rate, user=user)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"]
    with subprocess.Popen(command) as process:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, (folder / "error.log").read_text()
                    time.sleep(0.01)
            yield Nginx(f"http://127.0.0.1:{port}", root, folder)
        finally:
            process.terminate()
