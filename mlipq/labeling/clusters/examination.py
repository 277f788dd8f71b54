"""Is a cluster ready to label? Seen from its workers' seats."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlipq
from mlipq.errors import IncompleteError, MlipqError
from mlipq.labeling.child import LabelingChild
from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.job import Limits
from mlipq.store import unwritable
from mlipq.xtb import Gfn1

CLOCKS_APART = 5.0
"""Seconds."""
RENAMES = 300
_PACKAGES = ("tblite", "numpy", "distributed", "dask")


@dataclass(frozen=True)
class Finding:
    """What one check found on one worker."""

    check: str
    right: bool
    said: str


def examine_cluster(cluster: Cluster, folder: Path, patience: float = 600.0) -> dict[str, list[Finding]]:
    """Look at every worker that is there once the first one has come.

    Parameters
    ----------
    cluster
        An open cluster.
    folder
        Where output folders will lie: it must be on a file system that all workers share.
    patience
        Seconds to wait for the first worker.

    Returns
    -------
    dict
        Findings by worker: its host and address.

    Raises
    ------
    IncompleteError
        If no worker comes.
    """
    _wait_for_workers(cluster, patience)
    cluster.keep_workers()
    with _shared(folder) as shared:
        token = secrets.token_hex(16)
        (shared / "token").write_text(token)
        before = time.time()
        reports = cluster.client.run(_examine, str(shared), token)
        after = time.time()
        found = {}
        for address, report in reports.items():
            own = [Finding(*finding) for finding in report["findings"]]
            own.append(_seen_back(shared, report["left"]))
            own.append(_clock(report["began"], report["ended"], before, after))
            own.append(_versions(report["versions"]))
            found[f"{report['host']} {address}"] = own
        addresses = list(reports)
        found[f"{reports[addresses[0]]['host']} {addresses[0]}"].append(_renames(cluster, shared, addresses[0]))
    return found


def _wait_for_workers(cluster: Cluster, patience: float) -> None:
    """Wait for the first worker: adaptive clusters start some when there is a task."""
    waiting = cluster.client.submit(os.getpid, pure=False)
    deadline = time.monotonic() + patience
    while not waiting.done():
        if cluster.troubles:
            raise IncompleteError(f"no workers: {cluster.troubles[-1]}")
        if time.monotonic() > deadline:
            raise IncompleteError(
                f"no worker came within {patience:.0f} s; see whether jobs wait in the queue, and the logs that they leave"
            )
        time.sleep(0.1)


@contextmanager
def _shared(folder: Path) -> Iterator[Path]:
    """A folder of its own in the one that should be shared."""
    try:
        made = Path(tempfile.mkdtemp(prefix=".mlipq-doctor-", dir=folder)).resolve()
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _examine(shared: str, token: str) -> dict[str, Any]:
    """Look around, in a worker; plain values only, since its mlipq may be another one."""
    began = time.time()
    checks = [_sees(Path(shared), token), _scratch(), *_labels(), _offline()]
    left = secrets.token_hex(8)
    try:
        (Path(shared) / left).write_text(left)
    except OSError:
        pass  # the client will not find it
    return {
        "host": socket.gethostname(),
        "findings": [(finding.check, finding.right, finding.said) for finding in checks],
        "left": left,
        "began": began,
        "ended": time.time(),
        "versions": _installed(),
    }


def _sees(shared: Path, token: str) -> Finding:
    try:
        right = (shared / "token").read_text() == token
        return Finding("shared folder", right, f"{shared.parent}, " + ("seen" if right else "with another content"))
    except OSError as error:
        return Finding(
            "shared folder", False, f"{shared.parent} is not there: {error.strerror}; choose one that all workers share"
        )


def _seen_back(shared: Path, left: str) -> Finding:
    deadline = time.monotonic() + 30  # network file systems show new files late
    while time.monotonic() < deadline:
        if (shared / left).is_file() and (shared / left).read_text() == left:
            return Finding("writes arrive", True, "what the worker wrote is here")
        time.sleep(0.2)
    return Finding("writes arrive", False, f"a file that the worker wrote into {shared.parent} is not here after 30 s")


def _scratch() -> Finding:
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(1 << 20))
            file.flush()
        free = shutil.disk_usage(folder).free / 1e9
        return Finding("scratch", True, f"{folder}, {free:.1f} GB free")
    except OSError as error:
        return Finding(
            "scratch", False, f"{folder} cannot be written: {error.strerror}; set TMPDIR to a folder of the node"
        )


def _labels() -> list[Finding]:
    child = LabelingChild(Gfn1(), Limits())
    try:
        greeting = child.start()
    except MlipqError as error:
        return [Finding("reference molecule", False, str(error))]
    finally:
        child.close()
    blas = f"{greeting['blas']} {greeting['warning']}".strip()
    return [
        Finding("reference molecule", True, f"right; {1e3 * greeting['seconds']:.1f} ms"),
        Finding("BLAS", greeting["blas"] != "stock", blas),
    ]


def _offline() -> Finding:
    """Label with the network cut off, where this user may cut it off."""
    command = [sys.executable, "-m", "mlipq.cli.main", "doctor", "--json"]
    cut = ["unshare", "--map-root-user", "--net"]
    if shutil.which(cut[0]) is None or subprocess.run([*cut, "true"], capture_output=True).returncode:
        return Finding("no internet", True, "not tried: the network cannot be cut off here")
    done = subprocess.run([*cut, *command], capture_output=True, text=True)
    said = (
        "labels with the network cut off"
        if not done.returncode
        else f"fails without a network: {done.stderr.strip()[-300:]}"
    )
    return Finding("no internet", not done.returncode, said)


def _installed() -> dict[str, str]:
    found = {"mlipq": mlipq.__version__, "python": ".".join(map(str, sys.version_info[:2]))}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _versions(theirs: dict[str, str]) -> Finding:
    ours = _installed()
    differing = [
        f"{name} {theirs.get(name)} there, {ours[name]} here" for name in ours if theirs.get(name) != ours[name]
    ]
    return Finding("versions", not differing, "; ".join(differing) or "as here")


def _clock(began: float, ended: float, before: float, after: float) -> Finding:
    """Compare clocks as well as a journey through the scheduler lets us: the worker's span lies within ours."""
    apart = max(before - began, ended - after, 0.0)
    return Finding("clock", apart < CLOCKS_APART, f"{apart:.1f} s apart" if apart else "agrees")


def _renames(cluster: Cluster, shared: Path, worker: str) -> Finding:
    """Let a worker replace a file again and again while it is read here: it must be whole, and there, at all times."""
    path = shared / "renamed"
    path.write_text("0" * 4096)
    renaming = cluster.client.submit(_rename, str(path), workers=[worker], pure=False)
    reads, broken = 0, ""
    while not renaming.done() and not broken:
        try:
            text = path.read_text()
            reads += 1
            broken = "" if len(text) == 4096 and len(set(text)) == 1 else "a file being replaced was seen in part"
        except FileNotFoundError:
            broken = "a file being replaced was seen missing"
    if error := renaming.exception():
        broken = f"the worker cannot replace {path}: {error}"
    return Finding("renames", not broken, broken or f"whole in {reads:,} reads while it was replaced {RENAMES} times")


def _rename(path: str) -> None:
    for number in range(RENAMES):
        other = Path(f"{path}-new")
        other.write_text(str(number % 10) * 4096)
        other.replace(path)
