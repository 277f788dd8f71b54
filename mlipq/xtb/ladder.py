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
        Most SCF iterations, where the job does not allow more.
    temperature
        Electronic temperature in K, where the job's is lower. It changes the meaning of the label, which is flagged.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    iterations: int = 0
    temperature: float = 0.0


_CEH_GUESS = 2
_SHORT = {"mixer-memory": 20}
"""tblite's Broyden mixer remembers every iteration by default, which makes long runs slow and no likelier to converge."""

LADDER = (
    Rung("defaults"),
    Rung("stronger damping", {**_SHORT, "mixer-damping": 0.3}),
    Rung("more iterations", {"mixer-memory": 50}, iterations=300),
    Rung("a short mixing history", {"mixer-memory": 8}, iterations=300),
    Rung("another guess (CEH)", {**_SHORT, "guess": _CEH_GUESS}),
    Rung("annealing from 3000 K", {**_SHORT, "annealing": (3000 * KELVIN_IN_HARTREE, 5, 5)}, iterations=300),
    Rung("electronic temperature of 1000 K", _SHORT, iterations=400, temperature=1000.0),
)
"""Tried from the top; the row's number is what ``gfn1/scf_attempt`` holds.

Chosen on the structures of MOPAC PM7, GSCDB138 and tmQM that the defaults fail on (benchmarks/labeling/ladder.py): what helps most in the
fewest iterations comes first, and no rung is given more iterations than it ever needed, since a structure that none helps pays for all.
Annealing comes late: it finds the real solution where all others find spurious ones, but for 2 of 47 structures a state 5 and 11 eV too high.
Damping of 0.1 and tblite's EEQ guess are left out: on lanthanide complexes they converge to spurious solutions hundreds of Hartree too low, or
to states 0.4 to 0.8 Hartree too high.
"""
