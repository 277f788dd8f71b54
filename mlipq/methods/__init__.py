"""What all methods that label structures share: labels, checks, valence electrons, the climb of a ladder, the child's answers."""

from mlipq.methods.label import Label
from mlipq.methods.ladder import ScfFailure, climb

__all__ = ["Label", "ScfFailure", "climb"]
