"""What a dataset says about new molecules: their parents, what they may consist of, and which of them are taken."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from generation.graphs import UnclearBondsError, bonded, environments, perceived, skeleton, smiles_of
from mlipq.errors import InputError
from mlipq.schema import STRUCTURE_ARRAYS
from mlipq.store import Dataset, structure_at
from mlipq.structures import Structure

OnRead = Callable[[int, int], None]

ARRAYS = [spec.name for spec in STRUCTURE_ARRAYS]


@dataclass(frozen=True)
class Parent:
    """A molecule of the pool."""

    molecule: Chem.Mol
    smiles: str
    name: str


@dataclass
class Pool:
    """Molecules that may be changed, and rules for what comes out.

    Parameters
    ----------
    parents
        Each graph of the pool once, in the order of the dataset: neutral, closed-shell, with clear bonds.
    environments
        Kinds of atoms and bonds that the parents have (see :func:`generation.graphs.environments`).
    elements
        Atomic numbers of their heavy atoms, and how many there are.
    most_heavy, most_atoms
        Size of the largest parents.
    known
        Skeletons of all structures of the dataset but the test part's.
    test, test_groups, test_formulas
        Skeletons of the test part's structures; the groups that its file named; formulas of those whose bonds are not clear.
    counts
        What became of the dataset's structures.
    """

    parents: list[Parent] = field(default_factory=list)
    environments: set[tuple[object, ...]] = field(default_factory=set)
    elements: Counter[int] = field(default_factory=Counter)
    most_heavy: int = 0
    most_atoms: int = 0
    known: set[str] = field(default_factory=set)
    test: set[str] = field(default_factory=set)
    test_groups: set[str] = field(default_factory=set)
    test_formulas: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    _tried: set[str] = field(default_factory=set)

    def add_test(self, structure: Structure) -> None:
        """Take what a structure of the test part forbids."""
        molecule = bonded(structure.numbers, structure.positions)
        self.test.add(skeleton(molecule))
        self.counts["test structures"] += 1
        if structure.group != structure.default_group:
            self.test_groups.add(structure.group)
        if _closed_shell(structure):
            try:
                perceived(molecule)
            except UnclearBondsError:
                self.test_formulas.add(structure.formula)

    def add(self, structure: Structure, is_parent: bool) -> None:
        """Take a structure that is not of the test part; call after all that are."""
        molecule = bonded(structure.numbers, structure.positions)
        graph = skeleton(molecule)
        self.known.add(graph)
        if is_parent and graph not in self._tried:
            self._tried.add(graph)
            self.counts[self._try_parent(structure, molecule, graph)] += 1

    def _try_parent(self, structure: Structure, molecule: Chem.Mol, graph: str) -> str:
        """Make a parent of a structure; return what became of it."""
        if not _closed_shell(structure):
            return "not a neutral, closed-shell molecule"
        if graph in self.test or structure.group in self.test_groups:
            return "also in the test part"
        try:
            bare = perceived(molecule)
        except UnclearBondsError:
            return "bonds not clear"
        self.parents.append(Parent(bare, smiles_of(bare), structure.name or structure.where))
        self.environments.update(environments(bare))
        self.elements.update(atom.GetAtomicNum() for atom in bare.GetAtoms())
        self.most_heavy = max(self.most_heavy, bare.GetNumHeavyAtoms())
        self.most_atoms = max(self.most_atoms, len(structure))
        return "parents"


def read_pool(dataset: Dataset, split: str | None, test: str, progress: OnRead = lambda done, total: None) -> Pool:
    """Read the molecular graphs of a dataset.

    Parameters
    ----------
    dataset
        With positions, charges and multiplicities.
    split
        Parents are the structures of its parts but for ``test``; without a split all structures of the dataset.
    test
        The part whose molecules must not come out.
    progress
        Called with how many structures were read, and how many there are.

    Raises
    ------
    InputError
        If there is no such split or part, or nothing that could be changed.
    """
    parts = np.full(len(dataset), "pool")
    if split is not None:
        parts = dataset.split(split).of(dataset["identity"][:])
        if test not in parts:
            there = ", ".join(part for part in np.unique(parts).tolist() if part)
            raise InputError(
                f"{dataset.path}: split {split} has no part {test!r}; there are: {there}. Name it with --test"
            )
    pool = Pool()
    of_test = parts == test if split is not None else np.zeros(len(dataset), dtype=bool)
    read = 0
    for wanted in (True, False):  # what the test part forbids is known before the first parent
        for row, structure in _structures(dataset, of_test == wanted):
            if wanted:
                pool.add_test(structure)
            else:
                pool.add(structure, is_parent=bool(parts[row]))
            read += 1
            if read % 100 == 0 or read == len(dataset):
                progress(read, len(dataset))
    if not pool.parents:
        why = ", ".join(f"{count:,} {reason}" for reason, count in pool.counts.items())
        raise InputError(f"{dataset.path}: no molecule to begin with ({why})")
    return pool


def _structures(dataset: Dataset, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Structure]]:
    row = 0
    for table in dataset.tables([name for name in ARRAYS if name in dataset.specs]):
        for at in range(len(table)):
            if wanted[row]:
                yield row, structure_at(table, at)
            row += 1


def _closed_shell(structure: Structure) -> bool:
    return structure.charge == 0 and structure.multiplicity == 1 and not structure.is_periodic
