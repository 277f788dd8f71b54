"""New molecular graphs by mutation: a stream that depends on the pool and the seed alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

from generation.graphs import environments, formula_of, has_radicals, skeleton, smiles_of
from generation.mutations import NoPlaceError, mutated
from generation.pool import Pool

MOST_MOVES = 3
"""A child is one to this many moves from its parent."""
FRUITLESS = 5_000
"""After so many attempts in a row without a new molecule the pool has no more to give."""


@dataclass(frozen=True)
class Proposal:
    """A molecular graph that the dataset does not have.

    Parameters
    ----------
    smiles
        Canonical, without stereochemistry.
    parent, parent_smiles
        Name and graph of the molecule that it was made from.
    moves
        What was changed, in order.
    attempt
        Number of the attempt, from 0: with the seed it gives the same molecule again.
    """

    smiles: str
    parent: str
    parent_smiles: str
    moves: tuple[str, ...]
    attempt: int


class RefusedError(Exception):
    """Why a mutated graph is not proposed."""


class Proposals(Iterator[Proposal]):
    """The stream; it ends when the pool has no more to give.

    Parameters
    ----------
    pool
        Parents and rules.
    seed
        Of all choices.

    Attributes
    ----------
    counts
        What became of the attempts so far.
    """

    def __init__(self, pool: Pool, seed: int) -> None:
        self._pool, self._seed = pool, seed
        self._made: set[str] = set()
        self._attempt = 0
        self.counts: Counter[str] = Counter()

    def __next__(self) -> Proposal:
        for _ in range(FRUITLESS):
            attempt, self._attempt = self._attempt, self._attempt + 1
            try:
                proposal = self._attempted(attempt)
            except (NoPlaceError, RefusedError) as error:
                self.counts["no place" if isinstance(error, NoPlaceError) else str(error)] += 1
                continue
            self.counts["proposed"] += 1
            return proposal
        raise StopIteration

    def _attempted(self, attempt: int) -> Proposal:
        random = np.random.default_rng([self._seed, attempt])
        parent = self._pool.parents[int(random.integers(len(self._pool.parents)))]
        molecule, moves = parent.molecule, []
        for _ in range(int(random.integers(MOST_MOVES)) + 1):
            molecule, move = mutated(molecule, self._pool.elements, random)
            moves.append(move)
        self._check(molecule)
        return Proposal(smiles_of(molecule), parent.name, parent.smiles, tuple(moves), attempt)

    def _check(self, molecule: Chem.Mol) -> None:
        """Refuse what is not a molecule of the dataset's kind, or is known; remember what is accepted."""
        pool = self._pool
        whole = Chem.AddHs(molecule)
        if molecule.GetNumHeavyAtoms() > pool.most_heavy or whole.GetNumAtoms() > pool.most_atoms:
            raise RefusedError("too large")
        if len(Chem.GetMolFrags(molecule)) > 1 or has_radicals(molecule) or Chem.GetFormalCharge(molecule):
            raise RefusedError("fragments, radicals or charged")
        if not pool.environments.issuperset(environments(molecule)):
            raise RefusedError("a kind of atom or bond that the pool lacks")
        graph = skeleton(whole)
        if graph in pool.test or smiles_of(molecule) in pool.test_groups or formula_of(whole) in pool.test_formulas:
            raise RefusedError("in the test part")
        if graph in pool.known:
            raise RefusedError("in the dataset")
        if graph in self._made:
            raise RefusedError("proposed before")
        self._made.add(graph)
