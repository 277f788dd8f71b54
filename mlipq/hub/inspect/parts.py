"""What is counted of a dataset: each part a class that takes in blocks of structures and keeps none of them.

A part names the arrays that it reads, is given all structures once, and once more where it first has to know what is usual. It
ranks the structures that stick out by what it measures, and says of one of them why it does.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from mlipq.hub.inspect.histogram import Histogram
from mlipq.hub.inspect.ranking import Ranking
from mlipq.hub.inspect.texts import number, signed
from mlipq.schema import GFN1_MAX_Z, ArraySpec, Flag, flag_meanings, gfn1_shells
from mlipq.store.statistics import N_ELEMENTS, CompositionFit, compositions_of
from mlipq.store.table import Table

KEPT = 8
"""Structures that each part ranks."""

SUSPICIOUS = (
    Flag.F_FORCE_CHECK,
    Flag.F_CHARGE_SUM,
    Flag.F_NET_FORCE,
    Flag.F_NET_TORQUE,
    Flag.F_POPULATION,
    Flag.F_CLOSE_ATOMS,
    Flag.F_LARGE_FORCE,
    Flag.F_SMALL_GAP,
    Flag.F_ELECTRONIC_TEMPERATURE,
)
"""Flags that cast doubt on a label, the gravest first; the others say how it was made."""

_N_TERMS = N_ELEMENTS + 2

LEAST_FORCE = 1e-4
"""eV/Å: smaller forces, which symmetry makes zero, count as this on the logarithmic axis."""

LEAST_SPREAD = 0.05
"""e: the least range that charges of an element are held to have."""

LEAST_ATOMS = 50
"""Of an element, before its charges say what is usual."""


@dataclass(frozen=True)
class Reason:
    """Why a structure is suspicious, with the atoms that it concerns, counted from 0."""

    kind: str
    text: str
    atoms: tuple[int, ...] = ()


class Part:
    """What all parts have in common; a part overrides the passes that it needs.

    Attributes
    ----------
    kind
        Word for its reasons.
    reads, reads_again
        Arrays of the first and of the second pass.
    ranking
        Structures that stick out.
    """

    kind = ""

    def __init__(self, reads: list[str], reads_again: list[str] | None = None) -> None:
        self.reads = reads
        self.reads_again = reads_again or []
        self.ranking = Ranking(KEPT)

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Take in the structures with these numbers."""

    def add_again(self, rows: NDArray[np.int64], table: Table) -> None:
        """Take them in once more."""

    def reason(self, table: Table) -> Reason:
        """Say why the one structure of a table, which the ranking holds, sticks out."""
        raise NotImplementedError


class Makeup(Part):
    """Sizes, elements, charges and multiplicities."""

    def __init__(self) -> None:
        super().__init__(["atomic_numbers", "charge", "multiplicity"])
        self.sizes = Histogram(finest=0)
        self.structures_with = np.zeros(256, dtype=np.int64)
        self.atoms_of = np.zeros(256, dtype=np.int64)
        self.charges: Counter[int] = Counter()
        self.multiplicities: Counter[int] = Counter()

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count sizes, elements, charges and multiplicities."""
        counts = np.diff(table.arrays["atom_offsets"])
        self.sizes.add(counts)
        numbers = table.arrays["atomic_numbers"].astype(np.int64)
        self.atoms_of += np.bincount(numbers, minlength=256)
        once = np.unique(np.repeat(np.arange(len(rows)), counts) * 256 + numbers) % 256
        self.structures_with += np.bincount(once, minlength=256)
        for counter, name in ((self.charges, "charge"), (self.multiplicities, "multiplicity")):
            values, times = np.unique(table.arrays[name], return_counts=True)
            counter.update(dict(zip(values.tolist(), times.tolist(), strict=True)))


class Energy(Part):
    """One total energy, less what composition and total charge say by a linear fit; in eV per atom.

    The fit is E ≈ Σ n(Z)·e(Z) + a·q + b·q²: without the charge, all ions of a dataset would stick out.
    """

    kind = "energy"

    def __init__(self, spec: ArraySpec) -> None:
        reads = ["atomic_numbers", "charge", spec.name]
        super().__init__(reads, reads)
        self.spec = spec
        self.fit = CompositionFit(_N_TERMS)
        self.residuals = Histogram(bins=65_536)
        self._fitted: tuple[NDArray[np.float64], int] | None = None

    @property
    def fitted(self) -> tuple[NDArray[np.float64], int]:
        """Energy of one atom of each element, then a and b; and the rank of the fit. Known after the first pass."""
        if self._fitted is None:
            self._fitted = self.fit.solve()
        return self._fitted

    @property
    def n_terms(self) -> int:
        """How many of the fit's terms occur."""
        return int((self.fit.normal.diagonal() > 0).sum())

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Fit."""
        self.fit.add(_terms_of(table), table.arrays[self.spec.name])

    def add_again(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count what the fit leaves."""
        residuals = self._residuals(table)
        self.residuals.add(residuals)
        binds = np.diff(table.arrays["atom_offsets"]) > 1  # a single atom lies above the rest by what they are bound
        self.ranking.add(rows, np.abs(residuals) * binds)

    def reason(self, table: Table) -> Reason:
        """How far off, and how many usual spreads that is."""
        residual, spread = float(self._residuals(table)[0]), self.residuals.spread()
        times = f", {abs(residual) / spread:,.0f} times the usual spread" if abs(residual) > 2 * spread > 0 else ""
        side = "above" if residual > 0 else "below"
        return Reason(
            self.kind,
            f"{self.spec.name} lies {number(abs(residual))} eV/atom {side} what its composition and charge say{times}",
        )

    def _residuals(self, table: Table) -> NDArray[np.float64]:
        residuals = table.arrays[self.spec.name] - _terms_of(table) @ self.fitted[0]
        # rounded, so that what is zero but for the last bits of a sum falls into one bin whatever the order of the sum
        return np.asarray(np.round(residuals / np.maximum(np.diff(table.arrays["atom_offsets"]), 1), 6) + 0.0)


class Forces(Part):
    """Lengths of the force on each atom, by their decadic logarithm."""

    kind = "forces"

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__([spec.name])
        self.spec = spec
        self.logarithms = Histogram(finest=-6)

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count lengths; rank by the largest of each structure."""
        lengths = self._lengths(table)
        self.logarithms.add(np.log10(np.maximum(lengths, LEAST_FORCE)))
        self.ranking.add(rows, largest_of_each(lengths, table))

    def reason(self, table: Table) -> Reason:
        """The largest force, and on which atom."""
        lengths = np.nan_to_num(self._lengths(table))
        atom = int(lengths.argmax())
        return Reason(self.kind, f"{self.spec.name}: {number(lengths[atom])} eV/Å on {atom_name(table, atom)}", (atom,))

    def _lengths(self, table: Table) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(table.arrays[self.spec.name].astype(np.float64), axis=1))


class Charges(Part):
    """Charges of atoms by element, and by shell where the array tells shells apart."""

    kind = "charges"

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__(["atomic_numbers", spec.name], ["atomic_numbers", spec.name])
        self.spec = spec
        self.by_element: dict[int, list[Histogram]] = {}

    def shells_of(self, z: int) -> str:
        """Which of s, p and d an element has, or one nameless shell for charges of whole atoms."""
        if not self.spec.shape:
            return " "
        return gfn1_shells(z) if 1 <= z <= GFN1_MAX_Z else ""

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count charges."""
        for z, atoms in atoms_by_element(table):
            found = self.by_element.setdefault(z, [Histogram(finest=-12) for _ in self.shells_of(z)])
            for shell, histogram in enumerate(found):
                histogram.add(self._values(table)[atoms, shell])

    def add_again(self, rows: NDArray[np.int64], table: Table) -> None:
        """Rank by how unusual the charges are for their elements."""
        self.ranking.add(rows, largest_of_each(self._unusual(table).max(axis=1, initial=0.0), table))

    def reason(self, table: Table) -> Reason:
        """The most unusual charge, beside what is usual."""
        unusual = self._unusual(table)
        atom, shell = (int(number) for number in np.unravel_index(unusual.argmax(), unusual.shape))
        z = int(table.arrays["atomic_numbers"][atom])
        usual, value = self.by_element[z][shell], self._values(table)[atom, shell]
        what = f"{self.shells_of(z)[shell]} charge".strip()
        low, high = usual.quantile(0.05), usual.quantile(0.95)
        return Reason(
            self.kind,
            f"{what} of {atom_name(table, atom)} is {signed(value)} e; nine in ten {chemical_symbols[z]} have {signed(low)} to {signed(high)} e",
            (atom,),
        )

    def _values(self, table: Table) -> NDArray:
        values = table.arrays[self.spec.name]
        return values.reshape(len(values), -1)

    def _unusual(self, table: Table) -> NDArray[np.float64]:
        """How far each charge lies beyond nine in ten of its element and shell, in units of their range."""
        values = self._values(table)
        unusual = np.zeros(values.shape)
        for z, atoms in atoms_by_element(table):
            for shell, usual in enumerate(self.by_element[z]):
                if usual.total >= LEAST_ATOMS:
                    low, high = usual.quantile(0.05), usual.quantile(0.95)
                    beyond = np.maximum(low - values[atoms, shell], values[atoms, shell] - high)
                    unusual[atoms, shell] = np.nan_to_num(beyond / max(high - low, LEAST_SPREAD))
        return unusual


class Gap(Part):
    """HOMO-LUMO gaps; the small ones are flagged, so none is ranked here."""

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__([spec.name])
        self.spec = spec
        self.values = Histogram()

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count gaps."""
        self.values.add(table.arrays[self.spec.name])


class Flags(Part):
    """The quality bits."""

    kind = "flags"

    def __init__(self) -> None:
        super().__init__(["quality"])
        self.counts: Counter[Flag] = Counter()
        self.flagged = 0

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count flags; rank by the gravest."""
        quality = table.arrays["quality"]
        self.counts.update({flag: n for flag in Flag if (n := int((quality & flag.value != 0).sum()))})
        self.flagged += int((quality != 0).sum())
        weights = [(quality & flag.value != 0) * 0.5**place for place, flag in enumerate(SUSPICIOUS)]
        self.ranking.add(rows, np.sum(weights, axis=0))

    def reason(self, table: Table) -> Reason:
        """What the flags mean, and which two atoms are close."""
        found = [flag for flag in SUSPICIOUS if int(table.arrays["quality"][0]) & flag.value]
        text = " ".join(f"{flag.name}: {flag_meanings()[flag].replace('``', '')}" for flag in found)
        if Flag.F_CLOSE_ATOMS not in found:
            return Reason(self.kind, text)
        first, second, distance = closest_pair(table)
        names = f"{atom_name(table, first)} and {atom_name(table, second)}"
        return Reason(self.kind, f"{text} {names}: {number(distance)} Å.", (first, second))


class Rungs(Part):
    """On which rung of the retry ladder each label was found."""

    kind = "SCF"

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__([spec.name])
        self.spec = spec
        self.counts: Counter[int] = Counter()

    def add(self, rows: NDArray[np.int64], table: Table) -> None:
        """Count rungs; the later, the more suspicious."""
        rungs, times = np.unique(table.arrays[self.spec.name], return_counts=True)
        self.counts.update(dict(zip(rungs.tolist(), times.tolist(), strict=True)))
        self.ranking.add(rows, table.arrays[self.spec.name])

    def reason(self, table: Table) -> Reason:
        """The rung."""
        rung = int(table.arrays[self.spec.name][0])
        return Reason(self.kind, f"The SCF converged only on rung #{rung} of the retry ladder; #0 is the first try")


def _terms_of(table: Table) -> NDArray[np.float64]:
    """What energies are fitted on: the atoms of each element, the total charge and its square."""
    charge = table.arrays["charge"].astype(np.float64)
    return np.column_stack([compositions_of(table), charge, charge**2])


def atoms_by_element(table: Table) -> list[tuple[int, NDArray[np.int64]]]:
    """Return each element's atoms, by atomic number."""
    numbers = table.arrays["atomic_numbers"]
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def largest_of_each(values: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
    """Return the largest value among each structure's atoms, 0 where there is none that is a number."""
    largest = np.zeros(len(table))
    structures = np.repeat(np.arange(len(table)), np.diff(table.arrays["atom_offsets"]))
    np.maximum.at(largest, structures, np.nan_to_num(values, posinf=np.finfo(np.float64).max))
    return largest


def closest_pair(table: Table) -> tuple[int, int, float]:
    """Return the two atoms of the only structure of a table that are closest for their covalent radii, and their distance in Å."""
    positions, radii = table.arrays["positions"], covalent_radii[table.arrays["atomic_numbers"]]
    best = (0, 0, np.inf, np.inf)
    for atom in range(1, len(positions)):  # a row at a time: all pairs of a large structure do not fit into memory
        distances = np.linalg.norm(positions[:atom] - positions[atom], axis=1)
        shares = distances / (radii[:atom] + radii[atom])
        other = int(shares.argmin())
        best = min(best, (other, atom, float(distances[other]), float(shares[other])), key=lambda pair: pair[3])
    return best[:3]


def atom_name(table: Table, atom: int) -> str:
    """Say which atom of the only structure of a table: ``C 5``, on one line."""
    return f"{chemical_symbols[table.arrays['atomic_numbers'][atom]]}\N{NO-BREAK SPACE}{atom}"
