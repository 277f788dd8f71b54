"""Train interatomic potentials from fewer DFT labels: label structures with GFN1-xTB, teach the model orbital charges."""

from typing import TYPE_CHECKING

from mlipq.lazy import loader

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlipq.hub import open_dataset
    from mlipq.labeling import label, label_atoms

__all__ = ["__version__", "label", "label_atoms", "open_dataset"]

__getattr__ = loader(__name__, {"hub": ("open_dataset",), "labeling": ("label", "label_atoms")})


def __dir__() -> list[str]:
    return sorted(__all__)
