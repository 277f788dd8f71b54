"""The machine that a model runs on: memory that is kept or measured, and compiled kernels."""

import ctypes
import resource
import shutil
import sys
import warnings
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from mlipq.training.models.batch import Batch

CPU = torch.device("cpu")
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt, in <malloc.h>


def keep_freed_memory() -> bool:
    """Let the C library keep the memory that tensors free, for the next tensors.

    Otherwise much of it goes back to the system after each step, and is asked for anew, page by page: of a training step of
    110 ms on CPU that took 10. For the whole process, and for good: call it in programs, not in libraries. Returns whether it
    was done: on Linux with glibc it is.
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


def peak_memory(device: torch.device) -> float:
    """Return the most bytes that were in use so far: of a GPU those of tensors, else those of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * (1 if sys.platform == "darwin" else 1024)


Forward = Callable[..., dict[str, Tensor]]


def compiled(potential: nn.Module, batch: Batch, forces_of: Collection[str] = ()) -> Forward:
    """Return the potential compiled by :func:`torch.compile`, for batches of any size.

    Forces are compiled with the energy, and so are the gradients of a loss of both. A compiler can be wrong: outputs and
    gradients of one batch are compared with those of the potential as it is, and where they differ by more than rounding, or
    where there is no compiler, it is returned as it is, with a warning.

    Parameters
    ----------
    potential
        In training mode.
    batch
        Some structures like those to come.
    forces_of
        As it will be called with.
    """
    has_compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
    can_trace_gradients = hasattr(torch._dynamo.config, "trace_autograd_ops")
    if not (has_compiler and can_trace_gradients):
        warnings.warn(
            "no C++ compiler, or this torch cannot trace gradients: the model is not compiled",
            RuntimeWarning,
            stacklevel=2,
        )
        return potential
    torch._dynamo.config.trace_autograd_ops = True
    fast: Forward = torch.compile(potential, dynamic=True)
    expected, found = (_everything(potential, forward, batch, forces_of) for forward in (potential, fast))
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max())) for a, b in zip(expected, found)):
        warnings.warn("torch.compile gives other numbers: the model is not compiled", RuntimeWarning, stacklevel=2)
        return potential
    return fast


def _everything(potential: nn.Module, forward: Forward, batch: Batch, forces_of: Collection[str]) -> list[Tensor]:
    """Return outputs, and the gradient by the parameters of the sum of their squares."""
    out = forward(batch.differentiable() if forces_of else batch, forces_of)
    loss = torch.stack([values.double().square().sum() for values in out.values()]).sum()
    parameters = list(potential.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [values.detach() for values in (*out.values(), *gradients) if values is not None and values.numel()]
