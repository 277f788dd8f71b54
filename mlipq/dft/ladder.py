"""The SCF retry ladder of PBE, as one table. No rung changes what a label means: all seek the same equations' solution.

A rung is tried where all before it failed to converge. ``pbe/scf_attempt`` stores the rung.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Rung:
    """SCF settings of one attempt.

    Parameters
    ----------
    name
        What it does, in words.
    options
        Attributes of PySCF's SCF object, in its own names and units.
    second_order
        Newton's method in place of DIIS: each step costs several times more, and near a solution none is lost.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    second_order: bool = False


LADDER = (
    Rung("defaults", {"max_cycle": 60}),
    Rung("a level shift of 0.3 Hartree", {"level_shift": 0.3, "max_cycle": 150, "conv_check": True}),
    Rung("second-order SCF", {"max_cycle": 40}, second_order=True),
    Rung("second-order SCF from a Hückel guess", {"max_cycle": 40, "init_guess": "huckel"}, second_order=True),
)
"""Tried from the top; the row's number is what ``pbe/scf_attempt`` holds. ``conv_check`` is one more cycle, without the shift."""
