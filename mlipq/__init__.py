"""Train interatomic potentials from fewer DFT labels: label structures with GFN1-xTB, teach the model orbital charges."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlipq.labeling import label, label_atoms
    from mlipq.store import open_dataset

__all__ = ["__version__", "label", "label_atoms", "open_dataset"]

_HOMES = {"label": "mlipq.labeling", "label_atoms": "mlipq.labeling", "open_dataset": "mlipq.store"}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import mlipq` alone loads neither tblite nor dask.
    if name not in _HOMES:
        raise AttributeError(f"module 'mlipq' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
