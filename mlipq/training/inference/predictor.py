"""Predictions for any number of structures, in batches of so many edges that memory stays bounded."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor, nn

from mlipq.errors import InputError
from mlipq.store.table import offsets_from
from mlipq.structures import Structure
from mlipq.training.inference.blocks import bound_memory
from mlipq.training.loop.stops import out_of_memory
from mlipq.training.models.batch import BadGeometryError, Neighbours, collate, find_neighbours
from mlipq.training.models.heads import EnergyHead
from mlipq.training.models.layers import N_ELEMENTS
from mlipq.training.models.moments import populations
from mlipq.training.saved.model import SavedModel, built, load_model

BATCH_EDGES = {"cpu": 4_000, "cuda": 200_000}
"""Edges at once: more of them leave the caches of a processor. A structure that has more is a batch of its own."""
BLOCK_EDGES = {"cpu": 10_000, "cuda": 200_000}
"""Edges at once of a structure that has more than these (see :mod:`mlipq.training.inference.blocks`)."""
_BLOCK_ATOMS = 5_000
"""Atoms whose neighbours are found before they are put into batches."""

_OF_ATOMS = {"orbital_charges", "orbital_moments", "atomic_charges", "atom_values"}

Arrays = Mapping[str, NDArray]
Level = Literal["structure", "atom"]
Found = TypeVar("Found")


class Predictor:
    """Predicts what a trained model was trained to predict.

    Parameters
    ----------
    model
        As :func:`~mlipq.training.saved.model.load_model` gives it, or where to read it from.
    device
        ``cpu``, ``cuda`` …
    dtype
        Precision to compute in; that of the weights by default. Energies are summed in float64 in any case.

    Attributes
    ----------
    outputs
        What there is to predict, and whether it has a row a structure or a row an atom: the heads of the model, the forces of
        each energy, ``stress``, and ``orbital_populations`` where there are orbital moments.

    Examples
    --------
    >>> predictor = Predictor("runs/qm7")  # doctest: +SKIP
    >>> predictor.predict(structures)["forces"]  # (atoms, 3), eV/Å  # doctest: +SKIP
    """

    def __init__(
        self, model: SavedModel | str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> None:
        self.model = model if isinstance(model, SavedModel) else load_model(model)
        saved = self.model.potential
        self.device = _device(device)
        self.potential = built(saved.config, saved.state_dict(), dtype=dtype).to(self.device).requires_grad_(False)
        bound_memory(cast(nn.Module, self.potential.backbone), BLOCK_EDGES[self.device.type])
        self.dtype = next(self.potential.parameters()).dtype
        heads = self.potential.config.heads
        self._forces = {forces: energy for energy, forces in self.potential.config.energies.items()}
        self.outputs: dict[str, Level] = {
            **{name: "atom" if head.kind in _OF_ATOMS else "structure" for name, head in heads.items()},
            **dict.fromkeys(self._forces, "atom"),
            **({"stress": "structure"} if "energy" in heads else {}),
            **({"orbital_populations": "atom"} if "orbital_moments" in heads else {}),
        }

    def predict(
        self, structures: Sequence[Structure] | Arrays, outputs: Collection[str] | None = None
    ) -> dict[str, NDArray]:
        """Predict for some structures.

        Parameters
        ----------
        structures
            Structures; or arrays as :meth:`mlipq.store.Dataset.batch` gives them: ``atom_offsets``, ``atomic_numbers``,
            ``positions``, ``charge``, ``multiplicity``, and ``cell`` and ``pbc`` where any is periodic.
        outputs
            Of :attr:`outputs`; all by default.

        Returns
        -------
        dict[str, ndarray]
            By output, rows of structures or of their atoms one after the other, in eV, Å and e: ``energy`` ``(S,)`` float64,
            ``forces`` ``(N, 3)``, ``orbital_charges`` ``(N, 3)`` … ``stress`` is ``(S, 3, 3)``, NaN for what is not periodic
            along all three cell vectors.

        Raises
        ------
        InputError
            If there is no such output, or a structure has an element that the model was not trained on, a coordinate that is
            no finite number, periodic cell vectors that span no cell, or two atoms at the same place, or does not fit into memory; if
            the model gives no finite number.
        """
        wanted = tuple(self.outputs if outputs is None else outputs)
        unknown = [name for name in wanted if name not in self.outputs]
        if unknown:
            raise InputError(f"this model does not predict {unknown[0]!r}; it predicts {', '.join(self.outputs)}")
        parts = self._each_batch(structures, wanted, lambda part, neighbours: self._predict(part, neighbours, wanted))
        found = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
        for name in wanted:
            broken = np.flatnonzero(~np.isfinite(found[name]).reshape(len(found[name]), -1).all(axis=1))
            if len(broken) and name != "stress":
                row = int(broken[0])
                if self.outputs[name] == "atom":
                    row = int(np.searchsorted(_arrays(structures)["atom_offsets"], row, side="right")) - 1
                raise InputError(f"{_where(structures, row)}: the model gives no finite number for {name}")
        return found

    def embeddings(self, structures: Sequence[Structure] | Arrays) -> NDArray:
        """Return what the model knows of each atom before its heads read it.

        Parameters
        ----------
        structures
            As for :meth:`predict`.

        Returns
        -------
        NDArray
            ``(atoms, channels)`` without a unit: the scalar features of the backbone, which stay the same however a structure is
            turned, shifted or ordered.

        Raises
        ------
        InputError
            As :meth:`predict`.
        """

        def scalars(arrays: Arrays, neighbours: Neighbours) -> NDArray:
            with _memory_explained(arrays, neighbours), torch.no_grad():
                features = self.potential.backbone(collate(arrays, neighbours, self.dtype).to(self.device))
            return features.scalars.cpu().numpy()

        return np.concatenate(self._each_batch(structures, (), scalars))

    def elements(self, outputs: Collection[str] | None = None) -> NDArray[np.uint8]:
        """Return the atomic numbers that these outputs can be predicted for; for all of them by default.

        Of several datasets, one may have elements that the energies of another lack.
        """
        wanted = self.outputs if outputs is None else outputs
        config = self.potential.config
        known = np.isin(np.arange(N_ELEMENTS), config.elements) if config.elements else np.arange(N_ELEMENTS) > 0
        energies = {self._forces.get(name, name) for name in wanted} | ({"energy"} if "stress" in wanted else set())
        if config.composite and "energy" in energies:
            energies.add("gfn1_energy")
        for name in energies & config.energies.keys():
            known &= np.isfinite(cast(EnergyHead, self.potential.heads[name]).references.cpu().numpy())
        return np.flatnonzero(known).astype(np.uint8)

    def problems(self, arrays: Arrays, outputs: Collection[str] | None = None) -> dict[int, str]:
        """Return what makes structures impossible to predict, by their row: elements not in training, no finite coordinates."""
        found: dict[int, str] = {}
        known = self.elements(outputs)
        symbols = ", ".join(chemical_symbols[z] for z in known)
        for row, atom in _atoms_where(~np.isin(arrays["atomic_numbers"], known), arrays):
            element = arrays["atomic_numbers"][atom]
            symbol, seen = chemical_symbols[element], element in self.potential.config.elements
            what = f"no energy of the element {symbol} was" if seen else f"the element {symbol} was not"
            found[row] = f"{what} in training; this model knows {symbols}"
        for row, atom in _atoms_where(~np.isfinite(arrays["positions"]).all(axis=1), arrays):
            found[row] = f"atom {atom - arrays['atom_offsets'][row]} (from 0) has a coordinate that is no finite number"
        return dict(sorted(found.items()))

    def _each_batch(
        self,
        structures: Sequence[Structure] | Arrays,
        outputs: Collection[str],
        compute: Callable[[Arrays, Neighbours], Found],
    ) -> list[Found]:
        """Compute something of all structures, if the model knows their elements and their geometry is one; see :meth:`predict`."""
        arrays = _arrays(structures)
        for row, problem in self.problems(arrays, outputs).items():
            raise InputError(f"{_where(structures, row)}: {problem}")
        try:
            parts = [compute(part, neighbours) for part, neighbours in self._batches(arrays)]
        except BadGeometryError as error:
            raise InputError(f"{_where(structures, error.row)} {error.problem}") from None
        if not parts:
            raise InputError("there is nothing to predict for: no structure was given")
        return parts

    def _predict(self, arrays: Arrays, neighbours: Neighbours, wanted: Collection[str]) -> dict[str, NDArray]:
        forces_of = [energy for forces, energy in self._forces.items() if forces in wanted]
        if "stress" in wanted and "energy" not in forces_of:
            forces_of.append("energy")
        with _memory_explained(arrays, neighbours), torch.set_grad_enabled(bool(forces_of)):
            batch = collate(arrays, neighbours, self.dtype).to(self.device)
            out = self.potential(batch.differentiable() if forces_of else batch, forces_of)
        if "stress" in wanted:
            out["stress"] = _stress(out["strain_gradient"], arrays)
        if "orbital_populations" in wanted:
            out["orbital_populations"] = populations(out["orbital_moments"])
        return {name: out[name].detach().cpu().numpy() for name in wanted}

    def _batches(self, arrays: Arrays) -> Iterator[tuple[Arrays, Neighbours]]:
        for rows in _cut(np.diff(arrays["atom_offsets"]), _BLOCK_ATOMS):
            block = _rows_of(arrays, rows)
            try:
                neighbours = find_neighbours(block, self.potential.config.cutoff)
            except BadGeometryError as error:
                raise BadGeometryError(int(rows[0]) + error.row, error.problem) from None
            for part in _cut(np.diff(neighbours.offsets), BATCH_EDGES[self.device.type]):
                yield _rows_of(block, part), neighbours.take(part)


def _arrays(structures: Sequence[Structure] | Arrays) -> Arrays:
    return structures if isinstance(structures, Mapping) else arrays_of(structures)


def arrays_of(structures: Sequence[Structure]) -> dict[str, NDArray]:
    """Return the arrays that a model reads of some structures."""
    arrays = {
        "atom_offsets": offsets_from(np.array([len(structure) for structure in structures], dtype=np.int64)),
        "atomic_numbers": np.concatenate([np.empty(0, "u1"), *(structure.numbers for structure in structures)]),
        "positions": np.concatenate([np.empty((0, 3)), *(structure.positions for structure in structures)]),
        "charge": np.array([structure.charge for structure in structures], dtype="i4"),
        "multiplicity": np.array([structure.multiplicity for structure in structures], dtype="i4"),
    }
    if any(structure.is_periodic for structure in structures):
        none, open_ = np.zeros((3, 3)), np.zeros(3, dtype=bool)
        arrays["cell"] = np.array([none if structure.cell is None else structure.cell for structure in structures])
        arrays["pbc"] = np.array([open_ if structure.pbc is None else structure.pbc for structure in structures])
    return arrays


def _device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InputError(f"there is no device {device!r}; use {' or '.join(BATCH_EDGES)}") from None
    if found.type not in BATCH_EDGES:
        raise InputError(f"the device {found} is not supported; use {' or '.join(BATCH_EDGES)}")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here, or this torch cannot use it; use cpu")
    return found


@contextmanager
def _memory_explained(arrays: Arrays, neighbours: Neighbours) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        n, atoms = len(arrays["atom_offsets"]) - 1, int(arrays["atom_offsets"][-1])
        raise InputError(
            f"out of memory: {atoms:,} atoms in {n:,} structures, with {int(neighbours.offsets[-1]):,} neighbours, do not fit; use a "
            "machine with more memory"
        ) from error


def _rows_of(arrays: Arrays, rows: NDArray[np.int64]) -> dict[str, NDArray]:
    """Take what a model reads of some structures that follow each other."""
    offsets = arrays["atom_offsets"]
    atoms = slice(int(offsets[rows[0]]), int(offsets[rows[-1] + 1]))
    structures = slice(int(rows[0]), int(rows[-1]) + 1)
    taken = {name: arrays[name][atoms] for name in ("atomic_numbers", "positions")}
    taken |= {name: arrays[name][structures] for name in ("charge", "multiplicity", "cell", "pbc") if name in arrays}
    return {**taken, "atom_offsets": offsets[rows[0] : rows[-1] + 2] - offsets[rows[0]]}


def _cut(sizes: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Cut structures into runs whose sizes add up to ``most`` or less, or that are a single structure."""
    start, total = 0, 0
    for row, size in enumerate(sizes.tolist()):
        if row > start and total + size > most:
            yield np.arange(start, row)
            start, total = row, 0
        total += size
    if start < len(sizes):
        yield np.arange(start, len(sizes))


def _atoms_where(wrong: NDArray[np.bool_], arrays: Arrays) -> Iterator[tuple[int, int]]:
    """Yield the first such atom of each structure that has one: row of the structure, row of the atom."""
    atoms = np.flatnonzero(wrong)
    rows = np.searchsorted(arrays["atom_offsets"], atoms, side="right") - 1
    for row, first in zip(*np.unique(rows, return_index=True)):
        yield int(row), int(atoms[first])


def _where(structures: Sequence[Structure] | Arrays, row: int) -> str:
    if not isinstance(structures, Mapping):
        return structures[row].where
    name = structures["name"][row] if "name" in structures else ""
    return f"structure {row} (from 0{f', {name}' if name else ''})"


def _stress(strain_gradient: Tensor, arrays: Arrays) -> Tensor:  # (S, 3, 3) eV -> (S, 3, 3) eV/Å³
    if "pbc" not in arrays:
        return torch.full_like(strain_gradient, torch.nan)
    volumes = np.where(arrays["pbc"].all(axis=1), np.abs(np.linalg.det(arrays["cell"])), np.nan)
    symmetric = 0.5 * (strain_gradient + strain_gradient.transpose(1, 2))  # rounding apart it is so already
    return symmetric / torch.from_numpy(volumes).to(strain_gradient)[:, None, None]
