"""The only unit conversions in mlipq: everything inside is eV, Å, e.

Factors are those of :mod:`ase.units` (CODATA 2014 as ASE ships them).
"""

from ase import units as _u

from mlipq.errors import InputError

HARTREE = _u.Hartree
"""One Hartree in eV."""

BOHR = _u.Bohr
"""One Bohr radius in Å."""

HARTREE_PER_BOHR = _u.Hartree / _u.Bohr
"""One Hartree per Bohr in eV/Å."""

KELVIN_IN_HARTREE = _u.kB / _u.Hartree
"""Boltzmann's constant in Hartree/K: tblite takes electronic temperatures in Hartree."""

TO_INTERNAL: dict[str, tuple[float, str]] = {
    "eV": (1.0, "eV"),
    "meV": (1e-3, "eV"),
    "Hartree": (HARTREE, "eV"),
    "Eh": (HARTREE, "eV"),
    "Ha": (HARTREE, "eV"),
    "Ry": (_u.Ry, "eV"),
    "kcal/mol": (_u.kcal / _u.mol, "eV"),
    "kJ/mol": (_u.kJ / _u.mol, "eV"),
    "eV/Å": (1.0, "eV/Å"),
    "eV/Ang": (1.0, "eV/Å"),
    "eV/A": (1.0, "eV/Å"),
    "meV/Å": (1e-3, "eV/Å"),
    "Hartree/Bohr": (HARTREE_PER_BOHR, "eV/Å"),
    "Eh/a0": (HARTREE_PER_BOHR, "eV/Å"),
    "Hartree/Å": (HARTREE, "eV/Å"),
    "Hartree/Ang": (HARTREE, "eV/Å"),
    "kcal/mol/Å": (_u.kcal / _u.mol, "eV/Å"),
    "kcal/mol/Ang": (_u.kcal / _u.mol, "eV/Å"),
    "kJ/mol/nm": (_u.kJ / _u.mol / 10.0, "eV/Å"),
    "eV/Å³": (1.0, "eV/Å³"),
    "eV/Ang^3": (1.0, "eV/Å³"),
    "GPa": (_u.GPa, "eV/Å³"),
    "e": (1.0, "e"),
    "e·Å": (1.0, "e·Å"),
    "e*Ang": (1.0, "e·Å"),
    "Debye": (_u.Debye, "e·Å"),
    "D": (_u.Debye, "e·Å"),
    "e*Bohr": (BOHR, "e·Å"),
    "e·a0": (BOHR, "e·Å"),
    "Å": (1.0, "Å"),
    "Ang": (1.0, "Å"),
    "Bohr": (BOHR, "Å"),
    "1": (1.0, "1"),
}
"""Unit as users write it: (factor, internal unit it becomes)."""


def to_internal(unit: str) -> tuple[float, str]:
    """Return the factor that turns ``unit`` into mlipq's own unit, and that unit's name.

    Parameters
    ----------
    unit
        A unit as written in a job file, one of :data:`TO_INTERNAL`.

    Returns
    -------
    tuple[float, str]
        Multiply a value in ``unit`` by the factor to have it in the named internal unit.

    Raises
    ------
    InputError
        If the unit is not known; the message lists the known ones.

    Examples
    --------
    >>> to_internal("meV")
    (0.001, 'eV')
    """
    try:
        return TO_INTERNAL[unit]
    except KeyError:
        known = ", ".join(TO_INTERNAL)
        raise InputError(f"unknown unit {unit!r}; mlipq knows {known}") from None
