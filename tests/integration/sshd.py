"""A real sshd on loopback, with keys of its own: nobody's ``~/.ssh`` is read or written."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
"""


@dataclass(frozen=True)
class Sshd:
    folder: Path
    port: int

    @property
    def connect_options(self) -> dict[str, object]:
        """What asyncssh, and with it Dask's SSHCluster, needs to log in."""
        return {
            "port": self.port,
            "client_keys": [str(self.folder / "user")],
            "known_hosts": str(self.folder / "known_hosts"),
        }

    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text()


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Start it at a free port, with its keys in a folder."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "run tests/integration/install.sh"
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host_key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "config").write_text(CONFIGURATION.format(folder=folder, port=port))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it refuses to start without
    # sshd starts itself again and wants a full path; -D stays in the foreground
    with subprocess.Popen([program, "-D", "-f", folder / "config", "-E", folder / "log"]) as process:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.01)
            yield Sshd(folder, port)
        finally:
            process.terminate()
