"""Labels that came with the input, mapped to ``reference/<name>`` with kind, unit and level of theory."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import ArraySpec, Level
from mlipq.units import TO_INTERNAL, to_internal


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of label looks like: its level, the shape of one row, mlipq's unit."""

    level: Level
    shape: tuple[int, ...]
    unit: str


KINDS: dict[str, Kind] = {
    "energy": Kind("structure", (), "eV"),
    "gap": Kind("structure", (), "eV"),
    "dipole": Kind("structure", (3,), "e·Å"),
    "stress": Kind("structure", (3, 3), "eV/Å³"),
    "virial": Kind("structure", (3, 3), "eV"),
    "forces": Kind("atom", (3,), "eV/Å"),
    "charges": Kind("atom", (), "e"),
}
"""The kinds of reference label that mlipq knows."""

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, slots=True)
class ReferenceSpec:
    """Where a reference label stands in the input and what it means.

    Parameters
    ----------
    name
        Name under ``reference/``: letters, digits and ``_ . + -``.
    field
        Exact name of the field in ``atoms.calc.results``, ``atoms.info`` or ``atoms.arrays`` (looked up in this order).
    kind
        One of :data:`KINDS`.
    unit
        Unit of the values in the input, as :mod:`mlipq.units` knows it.
    level_of_theory
        How the label was computed, such as ``PBE0/def2-TZVP``.

    Raises
    ------
    InputError
        If the name, kind or unit cannot be used.

    Examples
    --------
    >>> ReferenceSpec.parse("pbe0_energy=atomization_energy:energy:eV:PBE0").field
    'atomization_energy'
    """

    name: str
    field: str
    kind: str
    unit: str
    level_of_theory: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"reference name {self.name!r} may hold only letters, digits and _ . + -")
        if not self.field:
            raise InputError(f"reference {self.name}: the field of the input that holds it is empty")
        if self.kind not in KINDS:
            raise InputError(f"reference {self.name}: unknown kind {self.kind!r}; mlipq knows {', '.join(KINDS)}")
        fitting = [unit for unit, (_, internal) in TO_INTERNAL.items() if internal == KINDS[self.kind].unit]
        if self.unit not in fitting:
            raise InputError(
                f"reference {self.name}: {self.unit!r} is no unit of kind {self.kind} that mlipq knows; "
                f"use one of {', '.join(fitting)}"
            )

    @classmethod
    def parse(cls, text: str) -> "ReferenceSpec":
        """Read the form of the command line, ``name=field:kind:unit:level_of_theory``.

        Raises
        ------
        InputError
            If the text has another form, or names an unknown kind or unit.
        """
        name, equals, rest = text.partition("=")
        parts = rest.split(":", 3)
        if not equals or len(parts) != 4:
            raise InputError(
                f"--reference {text!r}: expected name=field:kind:unit:level_of_theory, "
                "such as pbe0_energy=atomization_energy:energy:eV:PBE0"
            )
        return cls(name, *parts)

    def array_spec(self) -> ArraySpec:
        """Return how the label is stored: ``reference/<name>``, in mlipq's unit, optional."""
        kind = KINDS[self.kind]
        description = f"{self.kind} that came with the input as {self.field!r}"
        return ArraySpec(
            name=f"reference/{self.name}",
            level=kind.level,
            shape=kind.shape,
            dtype="f8",
            unit=kind.unit,
            description=description,
            kind=self.kind,
            level_of_theory=self.level_of_theory,
            optional=True,
        )

    def convert(self, value: Any, n_atoms: int) -> float | NDArray[np.float64] | None:
        """Turn a value of the input into mlipq's unit and the shape of its kind.

        Parameters
        ----------
        value
            As the file gave it. A stress or virial may be 3 × 3, its 9 numbers, or 6 in Voigt order (xx yy zz yz xz
            xy).
        n_atoms
            Atoms in the structure.

        Returns
        -------
        float or ndarray or None
            ``None`` where every number is NaN: that is how tables write a missing label.

        Raises
        ------
        ValueError
            If the value is not numbers of the right shape, or some are not finite.
        """
        kind = KINDS[self.kind]
        shape = kind.shape if kind.level == "structure" else (n_atoms, *kind.shape)
        if isinstance(value, str | bytes | bool | np.bool_):
            raise ValueError(f"expected numbers of shape {shape}, got {value!r}")
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"expected numbers of shape {shape}, got {str(value)[:40]!r}") from None
        if shape == (3, 3) and numbers.shape == (6,):
            numbers = numbers[_VOIGT]
        if numbers.shape != shape and not (numbers.shape in ((9,), (n_atoms, 1)) and numbers.size == np.prod(shape)):
            raise ValueError(f"expected numbers of shape {shape}, got shape {numbers.shape}")
        finite = np.isfinite(numbers)
        if not finite.all():
            if np.isnan(numbers).all():
                return None
            raise ValueError(f"expected finite numbers, {finite.size - int(finite.sum())} of {finite.size} are not")
        factor = to_internal(self.unit)[0]
        return float(numbers) * factor if shape == () else numbers.reshape(shape) * factor
