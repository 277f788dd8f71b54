"""What the user says about the input, and what becomes of a structure that cannot be used."""

from dataclasses import dataclass
from typing import Literal

from mlipq.errors import InputError
from mlipq.structures.reference import ReferenceSpec

SpinUnit = Literal["2S+1", "2S", "S"]

SPIN_UNITS: tuple[SpinUnit, ...] = ("2S+1", "2S", "S")
"""What a spin field may count: the multiplicity, the unpaired electrons, or the total spin itself."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read charge, spin, reference labels and cell.

    Parameters
    ----------
    charge_key
        The only field to take the total charge from; ``None`` means the field's usual names. A structure that lacks
        it but has one of those is rejected. The same holds for ``spin_key``.
    charge_default
        Charge of a structure that states none, in e; ``None`` rejects such a structure.
    spin_key
        The only field to take the spin from, as ``key`` or ``key:unit`` with unit ``2S+1`` (multiplicity), ``2S``
        (unpaired electrons) or ``S``; ``None`` means the field's usual names.
    spin_default
        Multiplicity of a structure that states none: a number, or ``"lowest"`` (1 or 2, by parity).
    references
        Labels of the input to keep under ``reference/``.
    ignore_pbc
        Drop the cell of periodic structures: molecules in a box.
    """

    charge_key: str | None = None
    charge_default: int | None = 0
    spin_key: str | None = None
    spin_default: int | Literal["lowest"] = "lowest"
    references: tuple[ReferenceSpec, ...] = ()
    ignore_pbc: bool = False

    def __post_init__(self) -> None:
        unit = self.spin_field[1]
        if unit is not None and unit not in SPIN_UNITS:
            raise InputError(f"--spin-key {self.spin_key}: unknown unit {unit!r}; use one of {', '.join(SPIN_UNITS)}")
        names = [spec.name for spec in self.references]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"reference names given twice: {', '.join(repeated)}; each needs its own name")

    @property
    def spin_field(self) -> tuple[str, str | None]:
        """The key and the unit of ``spin_key``; the unit is ``None`` where none was given."""
        key, colon, unit = (self.spin_key or "").partition(":")
        return key, unit if colon else None


@dataclass(frozen=True, slots=True)
class Rejected:
    """One structure that cannot be used: a row of the failure ledger.

    Parameters
    ----------
    source_file, source_index, name
        Where it came from, as in :class:`~mlipq.structures.Structure`.
    error
        Short class of what is wrong: ``no_atoms``, ``unknown_element``, ``bad_coordinates``, ``bad_cell``,
        ``bad_charge``, ``fractional_charge``, ``charge_disagrees``, ``charge_missing``, ``impossible_spin``,
        ``spin_disagrees``, ``ambiguous_spin``, ``spin_missing``, ``reference_bad``, ``unreadable``.
    message
        What was expected, what came, what to do.
    """

    source_file: str
    source_index: int
    name: str
    error: str
    message: str


class RejectError(Exception):
    """Raised inside this package where a structure turns out to be unusable; becomes a :class:`Rejected`."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
