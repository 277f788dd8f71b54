"""Several processes that train one model, as ``torchrun`` starts them; one process is the simplest case."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from mlipq.errors import InputError
from mlipq.training.models.machine import CPU


@dataclass(frozen=True)
class World:
    """The processes of a run, as one of them sees them."""

    rank: int = 0
    """Number of this process; process 0 writes."""
    size: int = 1
    """How many there are."""
    device: torch.device = CPU
    """Where this process computes."""

    def total(self, values: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def same(self, values: Tensor) -> Tensor:
        """Give all processes the tensor that process 0 has, in place, and return it."""
        if self.size > 1:
            dist.broadcast(values, 0)
        return values


ALONE = World()
"""One process, on a CPU."""


@contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Join the processes that ``torchrun`` started; without it, be the only one.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, or ``auto``: a GPU where there is one. Under ``torchrun`` each process of a machine has its own GPU.

    Raises
    ------
    InputError
        If there is no GPU for this process, and one is asked for; if the variables that torchrun sets are not all there.

    Examples
    --------
    >>> with joined("cpu") as world:
    ...     print(world.rank, world.size)
    0 1
    """
    size, gpus = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.device_count()
    on_gpu = device == "cuda" or (device == "auto" and gpus > 0)
    where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else CPU
    if on_gpu and where.index >= gpus:
        raise InputError(
            f"device: expected a GPU for each process of this machine, found {gpus} for process {where.index + 1}; "
            "start fewer processes, or say device: cpu"
        )
    if on_gpu:
        torch.cuda.set_device(where)
    if size == 1:
        yield World(device=where)
        return
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    except ValueError as error:
        raise InputError(
            f"WORLD_SIZE is {size}, but: {error}; start the processes with torchrun, or unset it"
        ) from error
    try:
        yield World(dist.get_rank(), dist.get_world_size(), where)
    finally:
        dist.destroy_process_group()
