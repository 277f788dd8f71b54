"""Many structures to shards: plan, partition, finish, and the runner that carries them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlipq.labeling.api import label, label_atoms

__all__ = ["label", "label_atoms"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a worker labels partitions, and needs nothing of planning.
    if name not in __all__:
        raise AttributeError(f"module 'mlipq.labeling' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("mlipq.labeling.api"), name)
