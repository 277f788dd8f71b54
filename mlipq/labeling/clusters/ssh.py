"""Workers on hosts that are reached by ssh, by Dask's SSHCluster."""

import asyncio
import importlib.util
import inspect
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mlipq.errors import InputError
from mlipq.labeling.clusters.cluster import DASK_SETTINGS, Cluster
from mlipq.labeling.clusters.profile import SshProfile, refuse_unknown
from mlipq.labeling.clusters.security import credentials, security_of

REOPEN_SECONDS = 20.0
"""Between two attempts to start workers again on hosts that lost theirs."""


@contextmanager
def ssh_cluster(profile: SshProfile, folder: Path) -> Iterator[Cluster]:
    """Start a scheduler on the first host and workers on the others; they are started again when they are lost.

    Parameters
    ----------
    profile
        SSHCluster's options.
    folder
        On the shared file system, for credentials: what starts a process on a host names files, never their content.

    Raises
    ------
    InputError
        If asyncssh is missing, an option is unknown, or a host cannot be reached.
    """
    import dask
    from distributed import Client, SSHCluster

    check_ssh(profile)
    options = dict(profile.options)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        files = stack.enter_context(credentials(options, profile.unencrypted, folder))
        security = security_of(files)
        settings: dict[str, Any] = {**DASK_SETTINGS, **_tls_settings(files)}  # which the hosts inherit
        stack.enter_context(dask.config.set(settings))
        protocol = {"protocol": "tls://"} if files else {}
        options["scheduler_options"] = {
            "dashboard_address": "127.0.0.1:0",
            **protocol,
            **options.get("scheduler_options", {}),
        }
        options["worker_options"] = {
            "nthreads": 1,
            "memory_limit": 0,  # the labeling child has a limit of its own
            **protocol,
            **options.get("worker_options", {}),
        }
        try:
            deployed = stack.enter_context(SSHCluster(**options, security=security))
        except Exception as error:  # of asyncssh, or of what the remote Python printed
            raise InputError(
                f"cluster ssh: no scheduler and workers on {', '.join(options['hosts'])}: {error}"
            ) from None
        client = stack.enter_context(Client(deployed, security=security, set_as_default=False))
        deployed.loop.add_callback(_reopen, deployed)
        most = len(deployed.worker_spec) * options["worker_options"].get("n_workers", 1)
        yield Cluster(client, most, deployed, replaces=True)


def check_ssh(profile: SshProfile) -> None:
    """Refuse what cannot be started, before any long work.

    Raises
    ------
    InputError
        If asyncssh is missing, or an option is unknown.
    """
    from distributed import SSHCluster

    if importlib.util.find_spec("asyncssh") is None:
        raise InputError("cluster ssh: asyncssh is not installed: pip install 'mlipq[cluster]'")
    refuse_unknown("Dask's SSHCluster", set(inspect.signature(SSHCluster).parameters) - {"kwargs"}, profile.options)


async def _reopen(cluster: Any) -> None:
    """Start workers again on hosts that lost theirs, as long as the cluster is there."""
    while cluster.status.name == "running":
        with suppress(Exception):  # a host that cannot be reached now may be back next time
            await cluster
        await asyncio.sleep(REOPEN_SECONDS)


def _tls_settings(files: dict[str, str] | None) -> dict[str, Any]:
    if files is None:
        return {}
    settings: dict[str, Any] = {"distributed.comm.require-encryption": True}
    for name, path in files.items():
        key = name.removeprefix("tls_").replace("_", ".").replace("ca.file", "ca-file")
        settings[f"distributed.comm.tls.{key}"] = path
    return settings
