"""Backbones: from the geometry of a batch to features of its atoms."""

from mlipq.training.models.layers import Backbone, Features
from mlipq.training.models.painn import PaiNN
from mlipq.training.models.schnet import SchNet
from mlipq.training.models.tensornet import TensorNet

BACKBONES = {"schnet": SchNet, "painn": PaiNN, "tensornet": TensorNet}
"""By the name that a configuration gives."""

__all__ = ["BACKBONES", "Backbone", "Features", "PaiNN", "SchNet", "TensorNet"]
