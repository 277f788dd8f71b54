"""MDL molfiles and SD files (V2000), with what ASE's reader leaves out.

ASE reads the first record alone and drops formal charges, radicals and data items, so that an ion would look neutral.
Formal charges become ``initial_charges`` and radicals ``initial_magmoms``, from where they count as any other statement
of charge and spin; data items become ``info``.
"""

import math
import re
from collections.abc import Iterator

from ase import Atoms
from ase.data import atomic_numbers

from mlipq.errors import InputError
from mlipq.structures.options import RejectError

_CHARGE_CODES = {"1": 3.0, "2": 2.0, "3": 1.0, "5": -1.0, "6": -2.0, "7": -3.0}
_DOUBLET_CODE = "4"
_UNPAIRED = {1: 0.0, 2: 1.0, 3: 2.0}
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")


def read_sdf(text: str, where: str) -> Iterator[Atoms | RejectError]:
    """Read every record.

    Parameters
    ----------
    text
        The whole file.
    where
        Name of the file, for messages.

    Yields
    ------
    Atoms or RejectError
        One a record; the error where that record cannot be used.

    Raises
    ------
    InputError
        If a record is damaged; the message names the record and the line.
    """
    lines = text.rstrip().splitlines()
    start = index = 0
    while start < len(lines):
        end = next((row for row in range(start, len(lines)) if lines[row].startswith("$$$$")), len(lines))
        yield _read_record(lines[start:end], start + 1, f"{where} record {index}")
        start, index = end + 1, index + 1


def _read_record(lines: list[str], first: int, where: str) -> Atoms | RejectError:
    counts = lines[3] if len(lines) > 3 else ""
    if counts.rstrip().endswith("V3000"):
        return RejectError("unreadable", "molfile V3000 is not read; convert it to V2000 or XYZ")
    try:
        n_atoms, n_bonds = int(counts[0:3]), int(counts[3:6])
    except ValueError:
        raise InputError(f"{where} line {first + 3}: expected the counts of atoms and bonds, got {counts!r}") from None
    symbols, positions, charges, radicals = [], [], [], []
    for row in range(4, 4 + n_atoms):
        line = lines[row] if row < len(lines) else ""
        try:
            positions.append([float(line[column : column + 10]) for column in (0, 10, 20)])
        except ValueError:
            raise InputError(f"{where} line {first + row}: expected x, y, z and an element, got {line!r}") from None
        symbols.append(line[31:34].strip())
        code = line[36:39].strip()
        charges.append(_CHARGE_CODES.get(code, 0.0))
        radicals.append(1.0 if code == _DOUBLET_CODE else 0.0)
    unknown = next((symbol for symbol in symbols if symbol not in atomic_numbers), None)
    if unknown is not None:
        return RejectError("unknown_element", f"no element has the symbol {unknown!r}")
    rest = lines[4 + n_atoms + n_bonds :]
    end = next((row for row, line in enumerate(rest) if line.startswith("M  END")), None)
    if end is None:
        raise InputError(f"{where} line {first}: the record has no 'M  END'; the file is truncated")
    charges, radicals = _properties(rest[:end], charges, radicals, f"{where} line {first}")
    atoms = Atoms(symbols, positions, charges=charges, magmoms=radicals)
    atoms.info.update(_data_items(rest[end + 1 :]))
    if lines[0].strip():
        atoms.info.setdefault("name", lines[0].strip())
    return atoms


def _properties(
    lines: list[str], charges: list[float], radicals: list[float], where: str
) -> tuple[list[float], list[float]]:
    """Read ``M  CHG`` and ``M  RAD``: where either stands, it replaces all codes of the atom block."""
    entries = {tag: [line for line in lines if line.startswith(f"M  {tag}")] for tag in ("CHG", "RAD")}
    if not any(entries.values()):
        return charges, radicals
    charges, radicals = [0.0] * len(charges), [0.0] * len(radicals)
    try:
        for tag, values, meaning in (("CHG", charges, float), ("RAD", radicals, _UNPAIRED.__getitem__)):
            for line in entries[tag]:
                numbers = [int(word) for word in line[6:].split()]
                for atom, value in zip(numbers[1::2], numbers[2::2], strict=True):
                    values[atom - 1] = meaning(value)
    except (ValueError, IndexError, KeyError):
        raise InputError(f"{where}: the record has a damaged line M  CHG or M  RAD") from None
    return charges, radicals


def _data_items(lines: list[str]) -> dict[str, str | float]:
    items: dict[str, str | float] = {}
    key: str | None = None
    values: list[str] = []
    for line in [*lines, ""]:
        if key is None and line.startswith(">") and "<" in line:
            key, values = line[line.index("<") + 1 : line.rindex(">")], []
        elif key is not None and line.strip():
            values.append(line.rstrip())
        elif key is not None:
            items[key] = _value("\n".join(values))
            key = None
    return items


def _value(text: str) -> str | float:
    """Read numbers as such, but leave identifiers like ``007``, ``1_000`` or ``12E3456`` as they are."""
    word = text.strip()
    if len(word) < 20 and _INTEGER.fullmatch(word):
        return int(word)
    if _REAL.fullmatch(word) and math.isfinite(number := float(word)):
        return number
    return text
