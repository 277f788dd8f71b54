"""A cluster that runs: its client, how large it may get, and how workers leave it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.adaptive import Adaptive
    from distributed.deploy.spec import SpecCluster

DASK_SETTINGS = {
    "distributed.scheduler.work-stealing-interval": "100ms",  # the least partitions take a quarter of a second
    "distributed.worker.profile.enabled": False,  # 100 times a second it would see the worker wait for its child
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
}
"""With Dask's defaults, looking on takes 3 to 4 % of the cores that are to label."""


@dataclass
class Cluster:
    """What tasks run on."""

    client: "Client"
    most: int = 0
    """The most workers that there may ever be; 0 where somebody else decides that."""
    deployed: "SpecCluster | None" = None
    """What started the workers; ``None`` where somebody else did."""
    adaptive: "Adaptive | None" = None
    """What starts workers and sends them home, by how much there is to do."""
    replaces: bool = False
    """Whether workers that are gone come back as others."""
    troubles: list[str] = field(default_factory=list)
    """Why no workers come, where that is known; the runner gives up then."""

    def workers(self) -> set[str]:
        """Addresses of the workers that are there."""
        return set(self.client.nthreads())

    def keep_workers(self) -> None:
        """Start no more workers and send none home that is idle: from now on those stay that are there."""
        if self.adaptive is not None:
            self.adaptive.stop()

    def set_aside(self, address: str, name: str | int) -> None:
        """Take a worker out that cannot do its work; what it was given goes to others."""
        if self.deployed is None:
            self.client.retire_workers([address])
        else:
            self.deployed.loop.add_callback(self.deployed.scale_down, {name})
