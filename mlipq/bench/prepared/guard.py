"""The guard: no test structure among those that a run learns xTB labels of.

Beside identity, which is that of every coordinate, rules tell whether two structures are the same molecule. Moving atoms changes none of
them as long as bonds last, another order of atoms neither.

``group``
    The same group. For structures of one dataset: another's groups may mean something else.
``named group``
    The same group, where it is a name that the dataset gave (``aspirin``), and not but formula, charge and multiplicity.
``origin``
    The same frame of a file of the same name, of which both may be copies.
``graph``
    The same atoms, bonded alike, and the same charge (:func:`graph_keys`).
``formula``
    The same formula and charge: what is certain where nothing else is known.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Literal

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from mlipq.store import Table
from mlipq.structures.structure import Structure

Rule = Literal["formula", "graph", "group", "named group", "origin"]

ARRAYS = (
    "atomic_numbers",
    "positions",
    "charge",
    "multiplicity",
    "identity",
    "group",
    "source_file",
    "source_index",
)
"""Arrays that the guard reads."""

BOND = 1.25
"""Two atoms are bonded where they are closer than this times the sum of their covalent radii (Cordero et al., Dalton Trans. 2832
(2008)). Bonds of QM7's molecules end at 1.06. Of 400 of them all keep their graph when each coordinate is displaced by 0.05 Å (standard
deviation), 92 % at 0.07 Å, 56 % at 0.1 Å."""

ROUNDS = 8
"""Bonds as far as which the surroundings of an atom are told apart."""

Keys = list[Hashable]
"""A key a structure, equal where two are the same by a rule; ``None`` where the rule tells nothing of it."""


class HeldOut:
    """The test structures, as what others are compared with.

    Parameters
    ----------
    table
        The test structures, with the arrays of :data:`ARRAYS`.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._keys: dict[str, set[Hashable]] = {}

    def among(self, table: Table, rules: Sequence[Rule]) -> NDArray[np.bool_]:
        """Return which structures are test structures, or the same molecule as one by any of the rules: ``(structures,)``."""
        met = np.zeros(len(table), dtype=bool)
        for rule in ("identity", *rules):
            known = self._known(rule)
            met |= np.fromiter((key in known for key in _KEYS[rule](table)), dtype=bool, count=len(table))
        return met

    def _known(self, rule: str) -> set[Hashable]:
        if rule not in self._keys:
            self._keys[rule] = set(_KEYS[rule](self._table)) - {None}
        return self._keys[rule]


def _identities(table: Table) -> Keys:
    return [tuple(words) for words in table.arrays["identity"].tolist()]


def _groups(table: Table) -> Keys:
    return [str(group) for group in table.arrays["group"]]


def _named_groups(table: Table) -> Keys:
    return [None if group == _default_group(table, row) else group for row, group in enumerate(_groups(table))]


def _default_group(table: Table, row: int) -> str:
    atoms, arrays = table.atoms_of(row), table.arrays
    charge, multiplicity = int(arrays["charge"][row]), int(arrays["multiplicity"][row])
    return Structure(arrays["atomic_numbers"][atoms], arrays["positions"][atoms], charge, multiplicity).default_group


def _origins(table: Table) -> Keys:
    return list(zip(map(str, table.arrays["source_file"]), table.arrays["source_index"].tolist(), strict=True))


def _formulas(table: Table) -> Keys:
    numbers, charges = table.arrays["atomic_numbers"], table.arrays["charge"].tolist()
    return [(np.sort(numbers[table.atoms_of(row)]).tobytes(), charge) for row, charge in enumerate(charges)]


def graph_keys(table: Table) -> Keys:
    """Return a key of each structure's molecular graph and charge, equal where atoms and bonds are.

    Atoms begin with the colour of their element; in each round, a new one follows from an atom's own and those that its neighbours have,
    in no order (Weisfeiler and Leman; see Shervashidze et al., JMLR 12, 2539 (2011), section 2). The key follows from the colours of
    all atoms. So equal graphs always have equal keys, and few others do. Colours are 64-bit numbers that a mixing function makes of each
    other.

    Parameters
    ----------
    table
        With ``atomic_numbers``, ``positions`` and ``charge``. A cell is not heeded: structures with xTB labels have none.
    """
    one, other = _bonds(table)
    colours = _mixed(table.arrays["atomic_numbers"].astype(np.uint64))
    for _ in range(ROUNDS):
        around = np.zeros_like(colours)
        np.add.at(around, one, _mixed(colours[other]))  # sums of whole numbers wrap around: in any order the same
        colours = _mixed(colours + _mixed(around))
    sums = np.add.reduceat(colours, table.arrays["atom_offsets"][:-1]) if len(table) else colours
    return list(zip(sums.tolist(), table.arrays["charge"].tolist(), strict=True))


def _bonds(table: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the atoms that bonds are between, each bond in both directions."""
    radii = covalent_radii[table.arrays["atomic_numbers"]]
    found = [np.empty((0, 2), dtype=np.int64)]
    for row in range(len(table)):
        atoms = table.atoms_of(row)
        positions, own = table.arrays["positions"][atoms], radii[atoms]
        squares = np.square(positions[:, None] - positions[None]).sum(axis=-1)
        bonded = squares < np.square(BOND * (own[:, None] + own[None]))
        np.fill_diagonal(bonded, False)
        found.append(np.argwhere(bonded) + atoms.start)
    pairs = np.concatenate(found)
    return pairs[:, 0], pairs[:, 1]


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers that look like chance, the same for the same (SplitMix64: Steele et al., OOPSLA 2014, figure 17)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_KEYS: dict[str, Callable[[Table], Keys]] = {
    "identity": _identities,
    "group": _groups,
    "named group": _named_groups,
    "origin": _origins,
    "formula": _formulas,
    "graph": graph_keys,
}
