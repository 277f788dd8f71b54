"""One ASE object as a frame of extended XYZ that ASE reads back value by value."""

import json
import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_.+-]")
_COLUMN_KINDS = {"f": "R", "i": "I", "u": "I", "b": "L", "U": "S"}


def frame_text(atoms: Atoms, energy: float | None, forces: NDArray | None) -> str:
    """Return one frame: positions to 1e-8 Å (all that mlipq stores), other floats with every digit they have.

    Parameters
    ----------
    atoms
        All of its ``info`` and ``arrays`` is written.
    energy, forces
        What the standard keys ``energy`` (eV) and ``forces`` (``(n, 3)``, eV/Å) shall hold; left out where ``None``.
    """
    columns = {"species": np.array(atoms.get_chemical_symbols(), dtype=str), "pos": atoms.positions}
    columns |= {name: values for name, values in atoms.arrays.items() if name not in ("numbers", "positions")}
    if forces is not None:
        columns["forces"] = forces
    flat = {key_text(name): values.reshape(len(atoms), -1) for name, values in columns.items()}
    rows = zip(*(column for name, values in flat.items() for column in _column_texts(name, values)), strict=True)
    return "\n".join([str(len(atoms)), _comment(atoms, energy, flat), *map(" ".join, rows), ""])


def _comment(atoms: Atoms, energy: float | None, columns: dict[str, NDArray]) -> str:
    said = []
    if atoms.pbc.any():
        said.append(f'Lattice="{_numbers(np.asarray(atoms.cell).ravel())}"')
    properties = (f"{name}:{_COLUMN_KINDS[values.dtype.kind]}:{values.shape[1]}" for name, values in columns.items())
    said.append(f"Properties={':'.join(properties)}")
    said += [f"{key_text(key)}={value_text(value)}" for key, value in atoms.info.items()]
    if energy is not None:
        said.append(f"energy={value_text(energy)}")
    said.append(f'pbc="{_numbers(atoms.pbc)}"')
    return " ".join(said)


def key_text(key: str) -> str:
    """Return a name as an extended XYZ key: everything but ``A-Za-z0-9_.+-`` becomes ``_``."""
    return _NOT_IN_KEYS.sub("_", key)


def value_text(value: object) -> str:
    """Return a value as it stands after ``key=``: bare, quoted, or as JSON where ASE would read something else."""
    if isinstance(value, str):
        return _string_text(value)
    if isinstance(value, np.ndarray) and (value.ndim != 1 or len(value) < 2 or value.dtype.kind not in "fiu"):
        return _json_text(value.tolist())
    if isinstance(value, np.ndarray):
        return f'"{_numbers(value)}"'
    return _number(value)


@lru_cache(maxsize=10_000)
def _string_text(text: str) -> str:
    from ase.io.extxyz import key_val_str_to_dict  # here, as ASE's readers take half a second to load

    plain = f'"{_escaped(text)}"'
    same = "\n" not in text and "\r" not in text and key_val_str_to_dict(f"key={plain}").get("key")
    return plain if isinstance(same, str) and same == text else _json_text(text)


def _json_text(value: object) -> str:
    return f'"_JSON {_escaped(json.dumps(value))}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _number(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    return str(value)  # the shortest text that gives the same float back


def _numbers(values: NDArray) -> str:
    return " ".join(map(_number, values))


def _column_texts(name: str, values: NDArray) -> Iterator[list[str]]:
    for column in values.T:
        if name == "pos":
            yield [f"{x:.8f}" for x in column]
        elif column.dtype.kind == "U":
            yield ["_".join(text.split()) or "_" for text in column]
        else:
            yield [_number(value) for value in column]
