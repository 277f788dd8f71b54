"""Structures into a table, and a row of a table back into a structure or an ASE object."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import KNOWN_ARRAYS, PARTIAL_ARRAYS, STRUCTURE_ARRAYS, ArraySpec
from mlipq.store.columns import infer_column, is_nothing, missing_rows, numpy_dtype, storable_text, with_gaps
from mlipq.store.elements import element_bits
from mlipq.store.names import name_part
from mlipq.store.table import Table, offsets_from
from mlipq.structures.structure import Structure, Value, identity_words

REFERENCE = "reference/"
INFO = "info/"

_OWN = {spec.name for spec in STRUCTURE_ARRAYS}
_NOT_IN_ATOMS = {"atom_offsets", "atomic_numbers", "positions", "cell", "pbc", "identity", "elements", "multiplicity"}


def pack(structures: Sequence[Structure], references: Mapping[str, ArraySpec]) -> Table:
    """Put structures into one table, with whatever labels and information they carry.

    Parameters
    ----------
    structures
        Any number, also none.
    references
        Specifications of the ``reference/<name>`` arrays to make from ``Structure.reference``, and of the arrays to
        copy from ``Structure.extra``. A label that a structure lacks becomes NaN, where it may lack it.

    Returns
    -------
    Table
        The arrays of every shard (``cell`` and ``pbc`` only where a structure is periodic), the labels, and one
        ``info/<name>`` column for each name that occurs (types as in :mod:`mlipq.store.columns`).

    Raises
    ------
    InputError
        If a label has the wrong shape or type; a structure carries a label that ``references`` does not name; or one lacks a label
        that the schema wants of all where it wants it of any.
    """
    counts = [len(structure) for structure in structures]
    arrays = {**_own_arrays(structures), **_cells(structures)}
    specs = {name: KNOWN_ARRAYS[name] for name in arrays}
    labels = {spec.name: spec for spec in references.values()}
    _refuse_unnamed_labels(structures, labels)
    for name, spec in labels.items():
        specs[name], arrays[name] = _label_column(spec, structures)
    for name, values in _info_values(structures).items():
        specs[name], arrays[name] = infer_column(name, values, counts)
    return Table(arrays, specs)


def structure_at(table: Table, row: int) -> Structure:
    """Return one row of a table as a structure; labels and information that are missing (NaN, ``""``) are left out.

    Arrays of a labeler (``gfn1/energy``) come back in ``extra``.
    """
    names = [name for name in table.arrays if name in _OWN and _level(table, name) == "structure"]
    fields = {name: table.arrays[name][row] for name in names}
    periodic = "pbc" in fields and bool(fields["pbc"].any())
    atoms = table.atoms_of(row)
    structure = Structure(
        numbers=table.arrays["atomic_numbers"][atoms],
        positions=table.arrays["positions"][atoms],
        charge=int(fields["charge"]),
        multiplicity=int(fields["multiplicity"]),
        cell=fields["cell"] if periodic else None,
        pbc=fields["pbc"] if periodic else None,
        source_file=fields["source_file"],
        source_index=int(fields["source_index"]),
        name=fields["name"],
        group=fields["group"],
        quality=int(fields["quality"]),
    )
    for name, value in _carried(table, row):
        if name.startswith(REFERENCE):
            structure.reference[name.removeprefix(REFERENCE)] = value
        elif name.startswith(INFO):
            structure.info[name.removeprefix(INFO)] = value
        else:
            structure.extra[name] = value
    return structure


def atoms_at(table: Table, row: int) -> Atoms:
    """Return one row of a table as an ASE object without a calculator.

    The slash in names becomes an underscore: ``info["gfn1_energy"]``, ``arrays["gfn1_forces"]``. Charge and spin are
    ``info["charge"]`` and ``info["spin_multiplicity"]``; missing labels and information are left out.
    """
    structure = structure_at(table, row)
    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.info = {"charge": structure.charge, "spin_multiplicity": structure.multiplicity}
    own = {name: table.arrays[name][row] for name in table.arrays if name in _OWN - _NOT_IN_ATOMS - {"charge"}}
    for name, value in [*own.items(), *_carried(table, row)]:
        key = name.replace("/", "_")
        if _level(table, name) == "atom":
            atoms.set_array(key, np.asarray(value.astype(str) if value.dtype == object else value))
        elif not (isinstance(value, str) and value == ""):
            atoms.info[key] = value.item() if isinstance(value, np.generic) else value
    return atoms


def _level(table: Table, name: str) -> str:
    return table.specs[name].level


def _carried(table: Table, row: int) -> Iterator[tuple[str, Value]]:
    """Labels and information of one row: every array that is not the structure's own, where it has a value."""
    for name, values in table.arrays.items():
        if name not in _OWN:
            value = np.asarray(
                values[table.atoms_of(row) if _level(table, name) == "atom" else row], dtype=values.dtype
            )
            if not is_nothing(table.specs[name], value):
                yield name, value if value.ndim else value.item()


def _own_arrays(structures: Sequence[Structure]) -> dict[str, NDArray]:
    """The structures' own arrays, cell and pbc aside."""

    def column(name: str, value: Callable[[Structure], object]) -> NDArray:
        values = np.empty(len(structures), dtype=numpy_dtype(KNOWN_ARRAYS[name]))
        values[:] = [value(structure) for structure in structures]
        return values

    identities = [identity_words(structure.identity()) for structure in structures]
    own = {
        "atom_offsets": offsets_from(np.array([len(structure) for structure in structures], dtype=np.int64)),
        "atomic_numbers": np.concatenate([np.empty(0, "u1"), *(structure.numbers for structure in structures)]),
        "positions": np.concatenate([np.empty((0, 3)), *(structure.positions for structure in structures)]),
        "charge": column("charge", lambda s: s.charge),
        "multiplicity": column("multiplicity", lambda s: s.multiplicity),
        "identity": np.array(identities, dtype="u8").reshape(-1, 2),
        "source_file": column("source_file", lambda s: storable_text(s.source_file)),
        "source_index": column("source_index", lambda s: s.source_index),
        "name": column("name", lambda s: storable_text(s.name)),
        "group": column("group", lambda s: storable_text(s.group) or s.default_group),
        "quality": column("quality", lambda s: s.quality),
    }
    return {**own, "elements": element_bits(own["atomic_numbers"], own["atom_offsets"])}


def _cells(structures: Sequence[Structure]) -> dict[str, NDArray]:
    """Cell and pbc where any structure is periodic; zeros for the molecules among them."""
    if not any(structure.is_periodic for structure in structures):
        return {}
    cell = np.zeros((len(structures), 3, 3))
    pbc = np.zeros((len(structures), 3), dtype=bool)
    for row, structure in enumerate(structures):
        if structure.is_periodic:
            cell[row], pbc[row] = structure.cell, structure.pbc
    return {"cell": cell, "pbc": pbc}


def _labels_of(structure: Structure) -> dict[str, object]:
    """References and extra arrays by their full names."""
    return {**{f"{REFERENCE}{name}": value for name, value in structure.reference.items()}, **structure.extra}


def _refuse_unnamed_labels(structures: Sequence[Structure], labels: Mapping[str, ArraySpec]) -> None:
    for structure in structures:
        for name in _labels_of(structure):
            if name not in labels:
                known = ", ".join(labels) or "none"
                raise InputError(
                    f"{structure.where}: label {name} has no specification (there are: {known}); give its kind and unit"
                )


def _label_column(spec: ArraySpec, structures: Sequence[Structure]) -> tuple[ArraySpec, NDArray]:
    values = [_labels_of(structure).get(spec.name) for structure in structures]
    lacking = [structure for structure, value in zip(structures, values, strict=True) if value is None]
    if lacking and spec.name in KNOWN_ARRAYS and spec.name not in PARTIAL_ARRAYS:
        raise InputError(
            f"{lacking[0].where}: it has no {spec.name}, as other structures have; label it in the same way first, or leave it out"
        )
    if lacking:
        spec = with_gaps(spec)
    parts = [missing_rows(spec, 0)]
    for structure, value in zip(structures, values, strict=True):
        n_rows = len(structure) if spec.level == "atom" else 1
        parts.append(missing_rows(spec, n_rows) if value is None else _label_rows(spec, structure, value))
    return spec, np.concatenate(parts)


def _label_rows(spec: ArraySpec, structure: Structure, value: object) -> NDArray:
    array = np.asarray(value, dtype=object if spec.dtype == "str" else None)
    expected = (len(structure), *spec.shape) if spec.level == "atom" else spec.shape
    if array.shape != expected:
        raise InputError(f"{structure.where}: {spec.name} should have shape {expected}, but has {array.shape}")
    if not _fits(array, numpy_dtype(spec)):
        raise InputError(f"{structure.where}: {spec.name} should be {spec.dtype}, but is {array.dtype}: {value!r}")
    return array.astype(numpy_dtype(spec)).reshape(-1, *spec.shape)


def _fits(array: NDArray, dtype: np.dtype) -> bool:
    """True where a type holds the values; plain integers of Python have no narrower type than i8 to tell."""
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        return np.array_equal(array.astype(dtype), array)
    return np.can_cast(array.dtype, dtype, "same_kind")


def _info_values(structures: Sequence[Structure]) -> dict[str, list[object]]:
    """Values of each info column, ``None`` where a structure has none."""
    columns: dict[str, list[object]] = {}
    for row, structure in enumerate(structures):
        for key, value in structure.info.items():
            name = _info_name(key)
            column = columns.setdefault(name, [None] * len(structures))
            if column[row] is not None:
                raise InputError(f"{structure.where}: two fields would be stored as {name}; rename {key!r}")
            column[row] = value
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


@lru_cache(maxsize=1024)
def _info_name(key: str) -> str:
    return f"{INFO}{name_part(key)}"
