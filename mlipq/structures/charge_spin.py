r"""Total charge and spin multiplicity as a structure states them; never silently zero.

A *statement* is one field of the input that fixes the charge or the multiplicity. All statements of a structure must
agree. Which fields count, whatever their case:

========  ==============================================================  =================================
quantity  field                                                           meaning
========  ==============================================================  =================================
charge    ``charge``, ``total_charge``, ``molecular_charge``              total charge in e
charge    ``initial_charges`` (an array of the atoms), if any is nonzero  its sum
spin      ``spin_multiplicity``, ``multiplicity``, ``mult``,              2S+1
          ``molecular_multiplicity``, ``spin``
spin      ``uhf``                                                         unpaired electrons
spin      ``total_spin``                                                  S, or 2S+1: both are in use
spin      ``initial_magmoms`` (an array of the atoms), if its sum is      \|sum\| unpaired electrons
          nonzero
========  ==============================================================  =================================

``total_spin`` = 1 is a triplet where it means S and a singlet where it means 2S+1. Unless another field decides, or
``--spin-key total_spin:S`` or ``total_spin:2S+1``, such a structure is rejected.

With ``--charge-key`` or ``--spin-key``, that field alone counts. Where it is missing, the default holds; but where one
of the fields above stands instead, the structure is rejected: the key is mistyped, or does not fit this structure.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlipq.schema import Flag
from mlipq.structures.options import ReadOptions, RejectError

CHARGE_KEYS = frozenset({"charge", "total_charge", "molecular_charge"})
"""Fields that hold the total charge."""

SPIN_KEYS = {
    "spin_multiplicity": "2S+1",
    "multiplicity": "2S+1",
    "mult": "2S+1",
    "molecular_multiplicity": "2S+1",
    "spin": "2S+1",
    "uhf": "2S",
    "total_spin": "S or 2S+1",
}
"""Fields that hold the spin, and what they count."""

_SPIN_NAMES = frozenset(SPIN_KEYS)
_EXACT = 1e-6
_SUM_TOLERANCE = 1e-3


class _Statement(NamedTuple):
    """A field, the value that it has, and the charges or multiplicities that it may mean."""

    key: str
    value: Any
    means: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class ChargeSpin(NamedTuple):
    """What was found.

    Parameters
    ----------
    charge, multiplicity
        Total charge in e, 2S+1.
    quality
        ``F_CHARGE_DEFAULT`` and ``F_SPIN_DEFAULT`` where the job's defaults were used.
    used
        Keys of ``info`` that were read, to be left out of what is kept beside.
    """

    charge: int
    multiplicity: int
    quality: int
    used: frozenset[str]


def charge_and_spin(
    info: Mapping[str, Any], arrays: Mapping[str, NDArray], total_z: int, options: ReadOptions
) -> ChargeSpin:
    """Find the charge and the multiplicity of one structure.

    Parameters
    ----------
    info
        Fields of the structure, as in ``atoms.info``.
    arrays
        Fields of its atoms, as in ``atoms.arrays``.
    total_z
        Sum of the atomic numbers.
    options
        Keys and defaults of the job.

    Raises
    ------
    RejectError
        If the fields disagree, are no integers, are missing without a default, if a key of the options is missing
        where a usual field stands, or if no electron configuration has this charge and multiplicity.
    """
    charges, charge_used = _charge_statements(info, arrays, options)
    charge, quality = _charge(charges, options)
    if abs(charge) > total_z:
        message = f"charge {charge:+d} is beyond ±{total_z} e, the charge of the nuclei; correct the charge"
        raise RejectError("bad_charge", message)
    electrons = total_z - charge
    spins, spin_used = _spin_statements(info, arrays, options)
    if spins:
        multiplicity = _agreed_multiplicity(spins)
    else:
        quality |= int(Flag.F_SPIN_DEFAULT)
        lowest = 1 + electrons % 2
        multiplicity = lowest if options.spin_default == "lowest" else options.spin_default
    _check_multiplicity(multiplicity, electrons, charge, spins)
    return ChargeSpin(charge, multiplicity, quality, frozenset((*charge_used, *spin_used)))


def _charge_statements(
    info: Mapping[str, Any], arrays: Mapping[str, NDArray], options: ReadOptions
) -> tuple[list[_Statement], tuple[str, ...]]:
    wanted = frozenset({options.charge_key.lower()}) if options.charge_key else CHARGE_KEYS
    used = _matching(tuple(info), wanted)
    found = [_Statement(key, info[key], (_charge_value(key, info[key]),)) for key in used]
    array_key = options.charge_key or "initial_charges"
    per_atom = arrays.get(array_key) if not (options.charge_key and found) else None
    if per_atom is not None and (options.charge_key or np.any(per_atom)):
        key, total = f"sum of {array_key}", _total(array_key, per_atom, "bad_charge")
        found.append(_Statement(key, f"{total:g}", (_charge_value(key, total, _SUM_TOLERANCE),)))
    if options.charge_key and not found:
        array = "initial_charges" if np.any(arrays.get("initial_charges", 0)) else None
        _check_nothing_else("charge", options.charge_key, _usual_fields(info, CHARGE_KEYS, array))
    return found, used


def _usual_fields(info: Mapping[str, Any], names: frozenset[str], array: str | None) -> list[str]:
    """Show the usual fields that stand there, as they stand: they may well be no numbers."""
    return [f"{key}={info[key]}" for key in _matching(tuple(info), names)] + ([array] if array else [])


def _check_nothing_else(quantity: str, key: str, others: list[str]) -> None:
    """Reject where the user's key is missing beside a usual field: the default would silently replace what it says."""
    if others:
        raise RejectError(
            f"{quantity}_missing",
            f"no field {key!r} (from --{quantity}-key), though {others[0]} stands there; "
            f"correct --{quantity}-key, or leave it out",
        )


@lru_cache(maxsize=256)
def _matching(keys: tuple[str, ...], wanted: frozenset[str]) -> tuple[str, ...]:
    """Keys that are wanted, whatever their case; remembered, as most structures of a file have the same."""
    return tuple(sorted(key for key in keys if key.lower() in wanted))


def _charge_value(key: str, value: Any, tolerance: float = _EXACT) -> int:
    number = _number(value)
    if number is None:
        raise RejectError(
            "bad_charge",
            f"{key}={value!r} is not a number; a total charge in e was expected; correct it or see --charge-key",
        )
    if abs(number - round(number)) > tolerance:
        raise RejectError(
            "fractional_charge",
            f"{key}={value} is not an integer, as a total charge is; correct it or see --charge-key",
        )
    return round(number)


def _charge(statements: list[_Statement], options: ReadOptions) -> tuple[int, int]:
    if not statements:
        if options.charge_default is None:
            looked = options.charge_key or ", ".join(sorted(CHARGE_KEYS))
            raise RejectError(
                "charge_missing", f"no charge found (looked for {looked}) and the job sets no default; see --charge"
            )
        return options.charge_default, int(Flag.F_CHARGE_DEFAULT)
    if any(statement.means != statements[0].means for statement in statements):
        listed = " and ".join(map(str, statements))
        raise RejectError("charge_disagrees", f"{listed} disagree; name the right one with --charge-key")
    return statements[0].means[0], 0


def _spin_statements(
    info: Mapping[str, Any], arrays: Mapping[str, NDArray], options: ReadOptions
) -> tuple[list[_Statement], tuple[str, ...]]:
    wanted, unit = options.spin_field
    names = frozenset({wanted.lower()}) if wanted else _SPIN_NAMES
    used = _matching(tuple(info), names)
    found = [_spin_statement(key, info[key], unit or SPIN_KEYS.get(key.lower(), "2S+1")) for key in used]
    array_key = wanted or "initial_magmoms"
    per_atom = arrays.get(array_key) if not (wanted and found) else None
    if per_atom is not None:
        total = abs(_total(array_key, per_atom, "impossible_spin"))
        if wanted or total > _SUM_TOLERANCE:
            found.append(_spin_statement(f"sum of {array_key}", f"{total:g}", unit or "2S", _SUM_TOLERANCE))
    if wanted and not found:
        magmoms = np.asarray(arrays.get("initial_magmoms", 0.0))
        array = None if abs(magmoms.sum()) <= _SUM_TOLERANCE else "initial_magmoms"
        _check_nothing_else("spin", wanted, _usual_fields(info, _SPIN_NAMES, array))
    return found, used


def _spin_statement(key: str, value: Any, unit: str, tolerance: float = _EXACT) -> _Statement:
    number = _number(value)
    if number is None:
        raise RejectError("impossible_spin", f"{key}={value!r} is not a number; {unit} was expected")
    means = _multiplicities(number, unit)
    if any(abs(meant - round(meant)) > tolerance for meant in means):
        raise RejectError("impossible_spin", f"{key}={value} gives no integer multiplicity (read as {unit})")
    return _Statement(key, value, tuple([round(meant) for meant in means]))


def _multiplicities(number: float, unit: str) -> tuple[float, ...]:
    if unit == "2S+1":
        return (number,)
    if unit == "2S":
        return (number + 1,)
    if unit == "S" or number < 1 or number % 1:  # zero and half-integers can only be S
        return (2 * number + 1,)
    return (2 * number + 1, number)


def _agreed_multiplicity(statements: list[_Statement]) -> int:
    common = set(statements[0].means).intersection(*[statement.means for statement in statements[1:]])
    if not common:
        read = " and ".join(f"{s} (multiplicity {' or '.join(map(str, s.means))})" for s in statements)
        raise RejectError("spin_disagrees", f"{read} disagree; name the right one with --spin-key")
    if len(common) > 1:
        key = statements[0].key
        raise RejectError(
            "ambiguous_spin",
            f"{statements[0]} may mean S (multiplicity {max(common)}) or 2S+1 (multiplicity {min(common)}); "
            f"say which with --spin-key {key}:S or --spin-key {key}:2S+1",
        )
    return common.pop()


def _check_multiplicity(multiplicity: int, electrons: int, charge: int, statements: list[_Statement]) -> None:
    unpaired = multiplicity - 1
    if 0 <= unpaired <= electrons and (electrons - unpaired) % 2 == 0:
        return
    source = " and ".join(map(str, statements)) or "the job's default"
    if unpaired < 0:
        hint = "; if the field counts unpaired electrons, say so with --spin-key KEY:2S, such as --spin-key spin:2S"
        raise RejectError("impossible_spin", f"multiplicity {multiplicity} from {source} is below 1{hint}")
    raise RejectError(
        "impossible_spin",
        f"multiplicity {multiplicity} from {source} needs {unpaired} unpaired electrons, which {electrons} "
        f"electrons (charge {charge:+d}) cannot have; check the charge and the spin",
    )


def _total(key: str, per_atom: NDArray, error: str) -> float:
    """Sum a field of the atoms; one number an atom, all finite."""
    values = np.asarray(per_atom)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        got = f"shape {values.shape} of {values.dtype}" if values.dtype.kind in "iuf" and values.ndim != 1 else per_atom
        raise RejectError(error, f"{key} should be one finite number an atom, got {got}")
    return float(values.sum())


def _number(value: Any) -> float | None:
    """Read a finite number from what a file may give; booleans are none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool | np.bool_):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
