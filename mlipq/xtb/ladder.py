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
    Rung("more iterations", {"mixer-memory": 50}, iterations=500),
    Rung("a short mixing history", {"mixer-memory": 8}, iterations=500),
    Rung("stronger damping", {**_SHORT, "mixer-damping": 0.3}, iterations=500),
    Rung("another guess (CEH)", {**_SHORT, "guess": _CEH_GUESS}, iterations=500),
    Rung("annealing from 3000 K", {**_SHORT, "annealing": (3000 * KELVIN_IN_HARTREE, 5, 5)}, iterations=500),
    Rung("electronic temperature of 1000 K", _SHORT, iterations=500, temperature=1000.0),
)
"""Tried from the top; the row's number is what ``gfn1/scf_attempt`` holds.

Chosen on the structures of MOPAC PM7 and GSCDB138 that the defaults fail on (tests/oracles/README.md): rungs 1, 2, 3 and 6 find
every physical solution that any option found. Damping of 0.1 and tblite's EEQ guess are left out: on lanthanide complexes they converge to
spurious solutions hundreds of Hartree too low, or to states 0.4 to 0.8 Hartree too high.
"""
