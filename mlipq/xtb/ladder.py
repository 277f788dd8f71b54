"""The SCF retry ladder, as one table.

A rung is tried where all before it failed to converge or converged to an unphysical solution. No rung is believed for
having converged: :mod:`mlipq.xtb.singlepoint` checks the populations of every one. ``gfn1/scf_attempt`` stores the rung.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlipq.units import KELVIN_IN_HARTREE


@dataclass(frozen=True, slots=True)
class Rung:
    """SCF settings of one attempt, where they differ from the job's.

    Parameters
    ----------
    name
        What it does, in words.
    options
        Options of tblite's calculator, in its own names and units.
    iterations
        Most SCF iterations.
    temperature
        Electronic temperature in K. It changes the meaning of the label, which is flagged.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    iterations: int | None = None
    temperature: float | None = None


_SAD, _EEQ, _CEH = 0, 1, 2  # tblite's initial guesses

LADDER = (
    Rung("defaults"),
    Rung("more iterations", iterations=1000),
    Rung("stronger damping", {"mixer-damping": 0.1}, iterations=1000),
    Rung("another guess: CEH", {"guess": _CEH}, iterations=1000),
    Rung("another guess: EEQ, stronger damping", {"guess": _EEQ, "mixer-damping": 0.1}, iterations=1000),
    Rung("annealing from 3000 K", {"annealing": (3000 * KELVIN_IN_HARTREE, 5, 5)}, iterations=1000),
    Rung("electronic temperature of 1000 K", temperature=1000.0, iterations=1000),
)
"""Tried from the top; the row's number is what ``gfn1/scf_attempt`` holds."""
