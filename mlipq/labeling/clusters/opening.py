"""Open the cluster that a profile describes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.clusters.local import core_count, local_cluster
from mlipq.labeling.clusters.profile import LocalProfile, Profile, QueueProfile, SshProfile
from mlipq.labeling.clusters.queues import check_queue, most_workers, queue_cluster
from mlipq.labeling.clusters.running import running_cluster
from mlipq.labeling.clusters.ssh import check_ssh, ssh_cluster
from mlipq.store import unwritable

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Place:
    """Where the tasks of one command run."""

    profile: Profile
    workers: int | None = None
    """On this machine, or of the client: at a time; by default as many as there are cores for."""
    client: "Client | None" = None
    """In place of the profile's cluster."""

    def check(self) -> None:
        """Refuse a cluster that cannot be opened, before any long work.

        Raises
        ------
        InputError
            With the reason.
        """
        if isinstance(self.profile, QueueProfile):
            check_queue(self.profile)
        elif isinstance(self.profile, SshProfile):
            check_ssh(self.profile)

    def most_workers(self) -> int | None:
        """Return how many workers there may be, where that is known before they are started."""
        if isinstance(self.profile, QueueProfile):
            return most_workers(self.profile)
        if isinstance(self.profile, SshProfile):
            each = self.profile.options.get("worker_options", {}).get("n_workers", 1)
            return int(each) * (len(self.profile.options["hosts"]) - 1)
        return self.local_workers() if self.is_here else self.workers

    @contextmanager
    def opened(self, tasks: int, folder: Path, threads: int = 1) -> Iterator[Cluster]:
        """Open the cluster for so many tasks; ``folder`` and ``threads`` as for :func:`open_cluster`."""
        if self.client is not None:
            cores = sum(self.client.nthreads().values())
            yield Cluster(self.client, self.workers or max(1, cores // threads))
            return
        with open_cluster(self.profile, folder, min(self.local_workers(threads), tasks), threads) as cluster:
            yield cluster

    def local_workers(self, threads: int = 1) -> int:
        """Workers at a time on this machine."""
        return self.workers or max(1, core_count() // threads)

    @property
    def is_here(self) -> bool:
        """Whether this machine does the work."""
        return self.client is None and isinstance(self.profile, LocalProfile)


def open_cluster(profile: Profile, folder: Path, workers: int = 1, threads: int = 1) -> AbstractContextManager[Cluster]:
    """Open a cluster, to be used as a context manager that closes it.

    Parameters
    ----------
    profile
        Which one.
    folder
        For logs and credentials, on a file system that all of it share; made if need be.
    workers
        Processes on this machine, for a local one.
    threads
        Cores that one task uses.

    Raises
    ------
    InputError
        If it cannot be opened, with the reason.
    """
    if isinstance(profile, LocalProfile):
        return local_cluster(workers)
    return _remote(profile, folder, threads)


@contextmanager
def _remote(profile: Profile, folder: Path, threads: int) -> Iterator[Cluster]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    if isinstance(profile, QueueProfile):
        opened = queue_cluster(profile, folder, threads)
    elif isinstance(profile, SshProfile):
        opened = ssh_cluster(profile, folder)
    else:
        assert not isinstance(profile, LocalProfile)
        opened = running_cluster(profile)
    with opened as cluster:
        yield cluster
