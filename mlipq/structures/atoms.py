"""From ASE's ``Atoms`` to a :class:`~mlipq.structures.Structure`, or to the reason why not."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import Flag
from mlipq.structures.charge_spin import charge_and_spin
from mlipq.structures.options import ReadOptions, Rejected, RejectError
from mlipq.structures.structure import Structure, Value, rounded

LARGEST_COORDINATE = 1e9
"""In Å; beyond it 1e-8 Å ticks do not fit an integer of 64 bits."""

_MAX_Z = len(chemical_symbols) - 1
_OWN_ARRAYS = frozenset({"numbers", "positions", "initial_charges", "initial_magmoms"})
_OWN_INFO = frozenset({"name", "group"})
_CALCULATOR_KEYS = {"charge": "charge", "mult": "multiplicity", "multiplicity": "multiplicity"}


def from_atoms(
    atoms: Atoms, options: ReadOptions | None = None, source_file: str = "", source_index: int = 0
) -> Structure | Rejected:
    """Turn ASE's ``Atoms`` into a structure.

    Charge and spin come from ``atoms.info``, ``initial_charges``, ``initial_magmoms`` and the calculator's parameters
    (see :mod:`mlipq.structures.charge_spin`). ``info["name"]`` and ``info["group"]`` become name and group. Everything
    else in ``atoms.info``, ``atoms.arrays`` (one row an atom) and ``atoms.calc.results`` that no reference takes is
    kept under ``info``: numbers, booleans, strings and numeric arrays as they are, anything else as JSON or text. In
    names, ``/`` and blanks become ``_``; a name already taken gets another ``_``.

    Parameters
    ----------
    atoms
        Positions and cell in Å; results of the calculator only count where they belong to these positions.
    options
        Keys, defaults, references; the defaults of :class:`ReadOptions` where left out.
    source_file, source_index
        Where the structure came from.

    Returns
    -------
    Structure or Rejected
        The structure, positions and cell rounded to 1e-8 Å, or what is wrong with it.

    Raises
    ------
    InputError
        If ``atoms`` is something else than ASE's ``Atoms``.
    """
    if not isinstance(atoms, Atoms):
        raise InputError(
            f"structure {source_index} (from 0): expected ase.Atoms, got {type(atoms).__name__} ({_shown(atoms)}); "
            "label takes several of them, as in [atoms], and label_atoms one"
        )
    info = {str(key): value for key, value in atoms.info.items() if value is not None}
    name = str(info.get("name", ""))
    try:
        structure = _convert(atoms, info, options or ReadOptions())
    except RejectError as reject:
        return Rejected(source_file, source_index, name, reject.error, reject.message)
    structure.source_file, structure.source_index, structure.name = source_file, source_index, name
    return structure


def _convert(atoms: Atoms, info: dict[str, Any], options: ReadOptions) -> Structure:
    arrays = atoms.arrays
    numbers = _checked_numbers(arrays["numbers"])
    positions = _checked_lengths(arrays["positions"], "position")
    cell, pbc, quality = _cell(atoms, options)
    results, parameters = _calculator(atoms)
    electronic = charge_and_spin({**parameters, **info}, arrays, int(arrays["numbers"].sum()), options)
    reference, mapped = _references(results, info, arrays, options)
    skipped = electronic.used | mapped | _OWN_INFO
    kept: dict[str, Value] = {}
    for key, value in (*info.items(), *results.items()):
        if key not in skipped:
            _keep(kept, key, value)
    for key, rows in arrays.items():
        if key not in _OWN_ARRAYS and key not in mapped and not (key == "tags" and not rows.any()):
            _keep(kept, key, rows)
    return Structure(
        numbers=numbers,
        positions=positions,
        charge=electronic.charge,
        multiplicity=electronic.multiplicity,
        cell=cell,
        pbc=pbc,
        group=str(info.get("group", "")),
        reference=reference,
        info=kept,
        quality=electronic.quality | quality,
    )


def _checked_numbers(numbers: NDArray) -> NDArray[np.uint8]:
    if not len(numbers):
        raise RejectError("no_atoms", "the structure has no atoms")
    if not 1 <= numbers.min() <= numbers.max() <= _MAX_Z:
        row = int(np.flatnonzero((numbers < 1) | (numbers > _MAX_Z))[0])
        message = (
            f"atom {row} (from 0) has Z = {numbers[row]}; elements are 1 to {_MAX_Z}: dummy atoms must be taken out"
        )
        raise RejectError("unknown_element", message)
    return numbers.astype(np.uint8)


def _checked_lengths(lengths: NDArray, what: str) -> NDArray[np.float64]:
    if not np.abs(lengths).max() < LARGEST_COORDINATE:  # false for NaN too
        row = int(np.flatnonzero(~(np.abs(lengths) < LARGEST_COORDINATE).all(axis=1))[0])
        raise RejectError(
            "bad_coordinates",
            f"{what} {row} (from 0) is {lengths[row].tolist()}; "
            f"finite numbers below {LARGEST_COORDINATE:g} Å were expected; correct the file, or leave the structure out",
        )
    return rounded(lengths)


def _cell(atoms: Atoms, options: ReadOptions) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_] | None, int]:
    pbc = atoms.pbc
    if not any(pbc.tolist()):
        return None, None, 0
    if options.ignore_pbc:
        return None, None, int(Flag.F_PBC_IGNORED)
    cell = _checked_lengths(atoms.cell.array, "cell vector")
    if np.linalg.matrix_rank(cell[pbc]) < pbc.sum():
        message = f"periodic along {pbc.tolist()}, but the cell vectors {cell.tolist()} span no such cell"
        raise RejectError("bad_cell", message)
    return cell, pbc.copy(), 0


def _calculator(atoms: Atoms) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the results that belong to these positions, and charge and multiplicity where the calculator has them."""
    calc = atoms.calc
    if calc is None:
        return {}, {}
    parameters = getattr(calc, "parameters", None) or {}
    stated = {
        _CALCULATOR_KEYS[key]: value
        for key, value in parameters.items()
        if key in _CALCULATOR_KEYS and value is not None
    }
    results = getattr(calc, "results", {})
    if results and not _same_geometry(atoms, getattr(calc, "atoms", None) or atoms):
        results = {}
    return {key: value for key, value in results.items() if value is not None}, stated


def _same_geometry(atoms: Atoms, other: Atoms) -> bool:
    """Compare bytes, which costs next to nothing: ``Calculator.check_state`` takes as long as parsing the structure."""
    return atoms is other or all(
        ours.tobytes() == theirs.tobytes()
        for ours, theirs in (
            (atoms.positions, other.positions),
            (atoms.numbers, other.numbers),
            (atoms.cell.array, other.cell.array),
            (atoms.pbc, other.pbc),
        )
    )


def _references(
    results: Mapping[str, Any], info: Mapping[str, Any], arrays: Mapping[str, NDArray], options: ReadOptions
) -> tuple[dict[str, Value], set[str]]:
    reference: dict[str, Value] = {}
    mapped = set()
    for spec in options.references:
        source = next((fields for fields in (results, info, arrays) if spec.field in fields), None)
        if source is None:
            continue
        try:
            value = spec.convert(source[spec.field], len(arrays["numbers"]))
        except ValueError as err:
            raise RejectError("reference_bad", f"reference {spec.name} from field {spec.field!r}: {err}") from None
        mapped.add(spec.field)
        if value is not None:
            reference[spec.name] = value
    return reference, mapped


def _keep(kept: dict[str, Value], key: str, value: Any) -> None:
    plain = _plain(value)
    if plain is None:
        return
    name = _stored_name(key)
    while name in kept:
        name += "_"
    kept[name] = plain


@lru_cache(maxsize=1024)
def _stored_name(key: str) -> str:
    return "_".join(key.replace("/", " ").split()) or "_"


def _plain(value: Any) -> Value | None:
    """Return a number, boolean, string or array that a shard can hold; ``None`` where there is nothing to keep."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, list | tuple):
        value = _array(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            return value.item() if value.ndim == 0 else value
        value = value.tolist()
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _array(values: list[Any] | tuple[Any, ...]) -> Any:
    try:
        return np.array(values)
    except ValueError:  # ragged
        return list(values)
