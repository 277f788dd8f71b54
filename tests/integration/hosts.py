"""Several hosts on this machine: namespaces with names, addresses and processes of their own, joined by a bridge.

Each lives as long as a process that the tests started, and everything that runs there dies with it, however the tests end.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

NETWORK = "10.213.7"
"""The same for all tests, also for those that run at the same time: their bridges have nothing to do with each other."""


@dataclass(frozen=True)
class Host:
    """One host: what runs there sees its own network and processes, and this machine's files and processors."""

    name: str
    address: str
    holder: int
    """The process that keeps its namespaces."""
    switch: "Host | None" = None
    """Where the other end of its cable is."""

    def command(self, *command: object) -> list[str]:
        """Return a command that runs another one there; whoever kills the first also kills the second."""
        entered = ["--target", str(self.holder), "--mount", "--uts", "--net"]
        processes = f"--pid=/proc/{self.holder}/ns/pid_for_children"
        return ["nsenter", *entered, processes, "setpriv", "--pdeathsig", "KILL", *map(str, command)]

    def run(self, *command: object, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return subprocess.run(self.command(*command), capture_output=True, text=True, **{"timeout": 120, **settings})

    def popen(self, *command: object, **settings: Any) -> subprocess.Popen[str]:
        """Start a command there."""
        return subprocess.Popen(self.command(*command), text=True, **settings)

    def ip(self, *command: str) -> None:
        """Configure its network; processes are numbered as they are here."""
        subprocess.run(["nsenter", "--target", str(self.holder), "--net", _program("ip"), *command], check=True)

    def cut(self) -> None:
        """Pull its cable at the bridge: nobody is told, packets are lost in both directions."""
        assert self.switch is not None
        self.switch.ip("link", "set", "dev", self.name, "nomaster")

    def restore(self) -> None:
        """Plug it in again."""
        assert self.switch is not None
        self.switch.ip("link", "set", "dev", self.name, "master", "bridge")


@contextmanager
def running_hosts(*names: str) -> Iterator[list[Host]]:
    """Make hosts that reach each other by address, and nothing else.

    Parameters
    ----------
    names
        At most 15 letters each: their interfaces at the bridge are called so too.
    """
    with ExitStack() as stack:
        switch = stack.enter_context(_holding("switch", "", None))
        switch.ip("link", "add", "name", "bridge", "type", "bridge", "forward_delay", "0")
        switch.ip("link", "set", "dev", "bridge", "up")
        hosts = []
        for number, name in enumerate(names, 1):
            host = stack.enter_context(_holding(name, f"{NETWORK}.{number}", switch))
            switch.ip("link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", str(host.holder))
            switch.ip("link", "set", "dev", name, "master", "bridge", "up")
            host.ip("address", "add", f"{host.address}/24", "dev", "eth0")
            host.ip("link", "set", "dev", "eth0", "up")
            hosts.append(host)
        yield hosts


@contextmanager
def _holding(name: str, address: str, switch: Host | None) -> Iterator[Host]:
    """Start the first process of a host, which waits for nothing, and whose end is the end of all others there."""
    apart = ["unshare", "--net", "--uts", "--mount-proc", "--pid", "--fork", "--kill-child"]
    first = f"hostname {name}; {_program('ip')} link set lo up; echo up; sleep infinity & wait"
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *apart, "sh", "-c", first],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "up\n", f"no namespace for {name}"
            yield Host(name, address, holder.pid, switch)
        finally:
            holder.kill()


def _program(name: str) -> str:
    """Debian keeps it where the path of a user does not lead."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "run tests/integration/install.sh"
    return program
