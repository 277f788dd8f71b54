"""Structures as a model reads them: flat atoms, and flat edges to the neighbours of each atom.

Neighbour lists are found once a structure (:func:`find_neighbours`) and kept; a batch picks the lists of its structures
and turns them into vectors (:func:`collate`). All geometry is float64 until the vectors, which are short, are rounded to the
precision of the model: a molecule far from the origin loses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlipq.errors import InputError
from mlipq.store.table import offsets_from, ragged_rows

MODEL_INPUTS = ("atomic_numbers", "positions", "charge", "multiplicity")
"""Arrays of a dataset that a model reads; ``cell`` and ``pbc`` too, where a dataset has them."""

FARTHEST = 1e8
"""Largest coordinate, in Å: the search for neighbours crashes beyond some 1e9."""
THINNEST = 0.01
"""Smallest extent of a cell along which a structure is periodic, in Å."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some structures, N atoms and E edges in all, S structures.

    An edge goes from a sender to a receiver no farther away than the cutoff; each pair of neighbours makes two edges, one
    each way. Edges are sorted by receiver.
    """

    atomic_numbers: Tensor  # (N,) int64
    positions: Tensor  # (N, 3) float64, Å
    structures: Tensor  # (N,) int64: which structure an atom belongs to
    charge: Tensor  # (S,) e
    multiplicity: Tensor  # (S,) 2S+1
    senders: Tensor  # (E,) int64
    receivers: Tensor  # (E,) int64, ascending
    vectors: Tensor  # (E, 3) from receiver to sender, Å

    @property
    def n_atoms(self) -> int:
        """Atoms in all structures together."""
        return self.atomic_numbers.shape[0]

    @property
    def n_structures(self) -> int:
        """Structures in the batch."""
        return self.charge.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def differentiable(self) -> "Batch":
        """Return the batch with vectors that forces can be had from: leaves of the graph of an energy."""
        return replace(self, vectors=self.vectors.detach().requires_grad_())


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Neighbour lists of many structures, one after the other; atoms are counted within their structure.

    Attributes
    ----------
    offsets
        ``(structures + 1,)``: where the edges of each structure start.
    senders, receivers
        ``(edges,)`` int32; receivers ascend within a structure.
    shifts
        ``(edges, 3)`` int32, by how many cell vectors the sender is moved; ``None`` where nothing is periodic.
    """

    offsets: NDArray[np.int64]
    senders: NDArray[np.int32]
    receivers: NDArray[np.int32]
    shifts: NDArray[np.int32] | None = None

    def take(self, rows: NDArray[np.int64]) -> "Neighbours":
        """Return the lists of these structures, in this order."""
        starts = self.offsets[rows]
        counts = self.offsets[rows + 1] - starts
        edges = ragged_rows(starts, counts)
        shifts = None if self.shifts is None else self.shifts[edges]
        return Neighbours(offsets_from(counts), self.senders[edges], self.receivers[edges], shifts)


class BadGeometryError(InputError):
    """A structure whose neighbours cannot be found.

    Parameters
    ----------
    row
        Of the structure, among those given.
    problem
        What is wrong with it.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"structure {row} of those given {problem}")
        self.row, self.problem = row, problem


def find_neighbours(arrays: Mapping[str, NDArray], cutoff: float) -> Neighbours:
    """Find the neighbours of every atom, across the faces of the cell where the structure is periodic.

    Parameters
    ----------
    arrays
        ``atom_offsets`` and ``positions``, and ``cell`` and ``pbc`` where the dataset has them, as
        :meth:`mlipq.store.Dataset.batch` gives them.
    cutoff
        Largest distance between neighbours, in Å.

    Raises
    ------
    BadGeometryError
        If two atoms are at the same place, a coordinate is no finite number or beyond 1e8 Å, or the periodic cell vectors span no
        cell.
    """
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    offsets, positions = arrays["atom_offsets"], arrays["positions"]
    near = (np.abs(positions) <= FARTHEST).all(axis=1)  # false for NaN too
    if not near.all():
        row = np.searchsorted(offsets, np.flatnonzero(~near)[0], side="right") - 1
        raise BadGeometryError(int(row), f"has a coordinate that is no finite number, or beyond {FARTHEST:g} Å")
    pbc = arrays.get("pbc")
    cells = np.zeros((len(offsets) - 1, 3, 3)) if pbc is None else arrays["cell"]
    found = []
    for row in range(len(offsets) - 1):
        periodic = np.zeros(3, dtype=bool) if pbc is None else pbc[row]
        if periodic.any() and not _spans(cells[row], periodic):
            raise BadGeometryError(
                row, f"is periodic along {periodic.tolist()}, but its cell vectors span no such cell"
            )
        points = positions[offsets[row] : offsets[row + 1]]
        receivers, senders, shifts, distances = finder.compute(points, cells[row], periodic, "ijSd")
        if len(distances) and distances.min() < 1e-3:
            pair = distances.argmin()
            raise BadGeometryError(
                row, f"has atoms {receivers[pair]} and {senders[pair]} at the same place; remove one of them"
            )
        found.append((receivers, senders, shifts))
    receivers, senders, shifts = (
        np.concatenate([lists[part] for lists in found] or [np.zeros((0, 3) if part == 2 else 0)]).astype(np.int32)
        for part in range(3)
    )
    counts = np.array([len(lists[0]) for lists in found], dtype=np.int64)
    return Neighbours(offsets_from(counts), senders, receivers, shifts if pbc is not None and pbc.any() else None)


def _spans(cell: NDArray, periodic: NDArray[np.bool_]) -> bool:
    """Return whether the periodic vectors are finite and independent; the search for neighbours crashes, or never ends, else."""
    return bool(np.isfinite(cell).all() and np.linalg.svd(cell[periodic], compute_uv=False)[-1] > THINNEST)


def collate(arrays: Mapping[str, NDArray], neighbours: Neighbours, dtype: torch.dtype = torch.float32) -> Batch:
    """Make a batch of structures.

    Parameters
    ----------
    arrays
        ``atom_offsets`` and :data:`MODEL_INPUTS`, and ``cell`` where lists have shifts.
    neighbours
        Of the same structures, in the same order.
    dtype
        Precision of the vectors, charges and multiplicities.
    """
    offsets, positions = arrays["atom_offsets"], arrays["positions"]
    edges = np.diff(neighbours.offsets)
    starts = np.repeat(offsets[:-1], edges)
    senders, receivers = neighbours.senders + starts, neighbours.receivers + starts
    vectors = positions[senders] - positions[receivers]
    if neighbours.shifts is not None:
        vectors += np.einsum("ex,exy->ey", neighbours.shifts, np.repeat(arrays["cell"], edges, axis=0))
    return Batch(
        atomic_numbers=torch.from_numpy(arrays["atomic_numbers"].astype(np.int64)),
        positions=torch.from_numpy(positions.astype(np.float64)),
        structures=torch.from_numpy(np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))),
        charge=torch.from_numpy(arrays["charge"]).to(dtype),
        multiplicity=torch.from_numpy(arrays["multiplicity"]).to(dtype),
        senders=torch.from_numpy(senders),
        receivers=torch.from_numpy(receivers),
        vectors=torch.from_numpy(vectors).to(dtype),
    )
