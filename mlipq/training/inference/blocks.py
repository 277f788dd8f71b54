"""Large structures in little memory: the layers of a backbone, a block of atoms at a time.

What a layer says of an atom needs the features of the atom and of its neighbours, no more. So a layer can go over the atoms block
by block, and forget what it computed on the edges of a block; for forces it computes that again. It takes a third more time,
and the memory of one block.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from mlipq.training.models.batch import Batch


def bound_memory(backbone: nn.Module, edges: int) -> None:
    """Let the layers of a backbone go over batches of more than so many edges block by block.

    Features and gradients stay the same, rounding apart. Fewer edges need less memory, but more atoms then are neighbours of
    several blocks, and are computed as often.
    """
    for name in ("messages", "interactions"):  # what joins atoms: elsewhere each is by itself, or joined to all
        if hasattr(backbone, name):
            setattr(backbone, name, nn.ModuleList(_InBlocks(layer, edges) for layer in getattr(backbone, name)))


class _InBlocks(nn.Module):
    """Takes tensors of one row an atom or one row an edge, also nested in tuples, and the batch; returns rows of atoms."""

    def __init__(self, layer: nn.Module, edges: int) -> None:
        super().__init__()
        self.layer, self.edges = layer, edges

    def forward(self, *arguments: Any) -> Any:
        *values, batch = arguments
        n_edges = len(batch.senders)
        if n_edges <= self.edges or n_edges == batch.n_atoms:  # where equal, the rows do not say whose they are
            return self.layer(*arguments)
        flat, form = pytree.tree_flatten(values)
        parts = [self._block(flat, form, batch, *atoms) for atoms in _blocks(batch, self.edges)]
        columns = zip(*(pytree.tree_leaves(part) for part in parts))
        return pytree.tree_unflatten([torch.cat(column) for column in columns], pytree.tree_structure(parts[0]))

    def _block(self, flat: list[Tensor], form: pytree.TreeSpec, batch: Batch, start: int, stop: int) -> Any:
        """Return what the layer says of the atoms from ``start`` to ``stop``."""
        first, last = torch.searchsorted(
            batch.receivers, torch.tensor([start, stop], device=batch.receivers.device)
        ).tolist()
        senders, receivers = batch.senders[first:last], batch.receivers[first:last]
        own = torch.arange(start, stop, device=senders.device)
        near = torch.unique(torch.cat([own, senders]))  # ascending, so the block's own atoms stay together
        place = int(torch.searchsorted(near, start))
        part = replace(
            batch,
            atomic_numbers=batch.atomic_numbers[near],
            positions=batch.positions[near],
            structures=batch.structures[near],
            senders=torch.searchsorted(near, senders),
            receivers=torch.searchsorted(near, receivers),
            vectors=batch.vectors[first:last],
        )

        def run(*tensors: Tensor) -> Any:
            rows = [t.index_select(0, near) if len(t) == batch.n_atoms else t[first:last] for t in tensors]
            out = self.layer(*pytree.tree_unflatten(rows, form), part)
            return pytree.tree_map(lambda values: values[place : place + stop - start], out)

        return checkpoint(run, *flat, use_reentrant=False) if torch.is_grad_enabled() else run(*flat)


def _blocks(batch: Batch, edges: int) -> list[tuple[int, int]]:
    """Cut the atoms into runs of about so many edges: first atom, and the one after the last."""
    ends = torch.bincount(batch.receivers, minlength=batch.n_atoms).cumsum(0)
    targets = torch.arange(edges, int(ends[-1]) + edges, edges, device=ends.device)
    cuts = torch.unique(torch.searchsorted(ends, targets).clamp(max=batch.n_atoms)).tolist()
    return [(a, b) for a, b in zip([0, *cuts], [*cuts, batch.n_atoms]) if b > a]
