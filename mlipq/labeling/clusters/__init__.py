"""Where tasks run: this machine, a queueing system, hosts by ssh, or a scheduler that runs already."""

from mlipq.labeling.clusters.opening import Place, open_cluster
from mlipq.labeling.clusters.profile import Profile, read_profile, scheduler_at

__all__ = ["Place", "Profile", "open_cluster", "read_profile", "scheduler_at"]
