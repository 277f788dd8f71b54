"""Names of arrays: what a path inside a shard may be, in either format."""

import re

from mlipq.schema import KNOWN_ARRAYS

_NOT_IN_PARTS = re.compile(r"[/\\\0-\x1f\x7f\ud800-\udfff]")
_NOT_A_PART = re.compile(r"\.*|zarr\.json")


def name_part(text: str) -> str:
    """Return a text as one part of an array's name: what cannot stand in a path becomes ``_``."""
    part = _NOT_IN_PARTS.sub("_", text)
    return f"_{part}" if _NOT_A_PART.fullmatch(part) else part


def is_array_name(name: str) -> bool:
    """True for a name of the schema, or ``<source>/<name>`` with parts that :func:`name_part` leaves as they are."""
    source, slash, rest = name.partition("/")
    named = bool(slash) and source not in KNOWN_ARRAYS  # nothing lies below an array
    return name in KNOWN_ARRAYS or (named and all(name_part(part) == part for part in (source, rest)))
