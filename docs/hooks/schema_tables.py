"""Tables of the schema page, from :mod:`mlipq.schema`."""

from collections.abc import Iterable

from ase.data import chemical_symbols

from mlipq import schema

_DEGREE = {"s": 0, "p": 1, "d": 2}


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def arrays(group: str) -> str:
    """Return the arrays of ``STRUCTURE_ARRAYS`` or ``GFN1_ARRAYS``."""
    rows = [
        (
            f"`{spec.name}`",
            spec.description + (" (only where it is needed)" if spec.optional else ""),
            spec.level,
            " × ".join(map(str, spec.shape)) or "1",
            f"`{spec.dtype}`",
            spec.unit,
        )
        for spec in getattr(schema, group)
    ]
    return table(("array", "meaning", "one row per", "numbers", "type", "unit"), rows)


def moments() -> str:
    """Return where each irrep sits among the 22 orbital moments."""
    rows = []
    for name, numbers in schema.MOMENT_SLICES.items():
        shell, degree = name
        count = numbers.stop - numbers.start
        what = (
            f"trace of the {shell} block, over √{2 * _DEGREE[shell] + 1}" if degree == "0" else f"of the {shell} block"
        )
        where = f"`[{numbers.start}]`" if count == 1 else f"`[{numbers.start}:{numbers.stop}]`"
        rows.append((f"`{name}`", where, f"1x{degree}e", count, what))
    return table(("name", "where", "irrep", "numbers", "what"), rows)


def flags() -> str:
    """Return the quality bits with what they mean."""
    rows = [
        (flag.value.bit_length() - 1, flag.value, f"`{flag.name}`", meaning)
        for flag, meaning in schema.flag_meanings().items()
    ]
    return table(("bit", "value", "flag", "meaning"), rows)


def shells() -> str:
    """Return which elements have which shells in GFN1."""
    elements: dict[str, list[str]] = {"s": [], "sp": [], "spd": []}
    for z in range(1, schema.GFN1_MAX_Z + 1):
        elements[schema.gfn1_shells(z)].append(chemical_symbols[z])
    rows = [(", ".join(f"**{shell}**" for shell in name), " ".join(symbols)) for name, symbols in elements.items()]
    return table(("shells", "elements"), rows)
