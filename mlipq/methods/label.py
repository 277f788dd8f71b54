"""What a method makes of one structure."""

from dataclasses import dataclass

from numpy.typing import NDArray

from mlipq.schema import Flag


@dataclass(frozen=True, slots=True)
class Label:
    """Labels of one structure.

    Parameters
    ----------
    arrays
        By name as in :mod:`mlipq.schema` (``gfn1/energy``), float64 or int, in mlipq's units.
    quality
        Bits of :class:`mlipq.schema.Flag` that labeling raised.
    """

    arrays: dict[str, NDArray]
    quality: Flag
