"""What makes the same model run faster on a machine: memory that is kept, and compiled kernels."""

import ctypes
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt, in <malloc.h>


def keep_freed_memory() -> bool:
    """Let the C library keep the memory that tensors free, for the next tensors.

    Otherwise every large tensor is asked of the system anew, page by page, in each step: measured on CPU, half of the time of
    a training step. For the whole process, and for good: call it in programs, not in libraries. Returns whether it was done: on
    Linux with glibc it is.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return all(
        mallopt(parameter, value)
        for parameter, value in ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 64 << 20))
    )


def compiled(model: nn.Module) -> Callable[..., dict[str, Tensor]]:
    """Return the model compiled by :func:`torch.compile`, for batches of any size, or as it is where there is no compiler.

    Forces are compiled with the energy, and so are the gradients of a loss of both. Outputs differ by rounding.
    """
    has_compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
    can_trace_gradients = hasattr(torch._dynamo.config, "trace_autograd_ops")  # from torch 2.10 on
    if not (has_compiler and can_trace_gradients):
        return model
    torch._dynamo.config.trace_autograd_ops = True
    return torch.compile(model, dynamic=True)
