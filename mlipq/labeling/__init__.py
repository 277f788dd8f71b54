"""Many structures to shards: plan, partition, finish, and the runner that carries them."""

from mlipq.labeling.api import label, label_atoms

__all__ = ["label", "label_atoms"]
