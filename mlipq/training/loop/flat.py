"""The parameters of a module side by side in one tensor: what is done to all of them is one operation, or one message."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ALIGNMENT = 16
"""Numbers; each parameter starts at a multiple of it, as kernels like it."""


class Layout:
    """Where each parameter lies in the tensor.

    Parameters
    ----------
    parameters
        In their order, of one dtype, on one device.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._shapes = [parameter.shape for parameter in parameters]
        self._sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]

    def end_of(self, count: int) -> int:
        """Return where the first ``count`` parameters end."""
        return sum(self._sizes[:count])

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return the parts of a tensor that belong to each parameter, in its shape."""
        parts = torch.split(flat, self._sizes)
        return [part[: shape.numel()].view(shape) for part, shape in zip(parts, self._shapes)]

    def move(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Move parameters into one tensor, of which they are views from now on; return it."""
        flat = parameters[0].new_zeros(sum(self._sizes)).detach()
        for parameter, view in zip(parameters, self.views(flat)):
            parameter.data = view.copy_(parameter.data)
        return flat
