"""Training potentials on mlipq datasets, with orbital charges as auxiliary targets."""

from typing import TYPE_CHECKING

from mlipq.lazy import loader

if TYPE_CHECKING:
    from mlipq.training.architecture import PRESETS, HeadConfig, PotentialConfig
    from mlipq.training.config import RunConfig, read_config
    from mlipq.training.data.source import Source
    from mlipq.training.inference.calculator import MLIPQCalculator
    from mlipq.training.inference.evaluation import Evaluation, evaluate
    from mlipq.training.inference.predictor import Predictor
    from mlipq.training.loop.trainer import Trainer
    from mlipq.training.models.batch import Batch, Neighbours, collate, find_neighbours
    from mlipq.training.models.potential import Potential
    from mlipq.training.runs.launch import Watcher, resume, train
    from mlipq.training.runs.run import Run
    from mlipq.training.saved.model import SavedModel, load_model
    from mlipq.training.saved.packaging import package

__all__ = [
    "PRESETS",
    "Batch",
    "Evaluation",
    "HeadConfig",
    "MLIPQCalculator",
    "Neighbours",
    "Potential",
    "PotentialConfig",
    "Predictor",
    "Run",
    "RunConfig",
    "SavedModel",
    "Source",
    "Trainer",
    "Watcher",
    "collate",
    "evaluate",
    "find_neighbours",
    "load_model",
    "package",
    "read_config",
    "resume",
    "train",
]

# To read a configuration needs no torch.
__getattr__ = loader(
    __name__,
    {
        "architecture": ("PRESETS", "HeadConfig", "PotentialConfig"),
        "models.batch": ("Batch", "Neighbours", "collate", "find_neighbours"),
        "inference.calculator": ("MLIPQCalculator",),
        "config": ("RunConfig", "read_config"),
        "data.source": ("Source",),
        "inference.evaluation": ("Evaluation", "evaluate"),
        "runs.launch": ("Watcher", "resume", "train"),
        "loop.trainer": ("Trainer",),
        "saved.packaging": ("package",),
        "models.potential": ("Potential",),
        "inference.predictor": ("Predictor",),
        "runs.run": ("Run",),
        "saved.model": ("SavedModel", "load_model"),
    },
)
