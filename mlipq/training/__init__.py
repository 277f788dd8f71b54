"""Training potentials on mlipq datasets, with orbital charges as auxiliary targets."""

from mlipq.training.batch import Batch, Neighbours, collate, find_neighbours
from mlipq.training.potential import PRESETS, Potential, PotentialConfig

__all__ = ["PRESETS", "Batch", "Neighbours", "Potential", "PotentialConfig", "collate", "find_neighbours"]
