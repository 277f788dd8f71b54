"""The GFN1-xTB labeler: one structure in, its labels out."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlipq.errors import LabelError
from mlipq.irreps import to_moments
from mlipq.schema import GFN1_ARRAYS, ArraySpec, Flag
from mlipq.structures.structure import Structure
from mlipq.xtb import checks
from mlipq.xtb.ladder import LADDER, Rung
from mlipq.xtb.parameters import REFERENCE_OCCUPATION, unpaired_electrons
from mlipq.xtb.singlepoint import ScfFailure, Solution, single_point

FORCE_CHECK_ONE_IN = 1000
FORCE_CHECK_STEP = 1e-3
"""Å: length of the displacement of all atoms together."""
FORCE_CHECK_TOLERANCE = 5e-3
"""eV/Å along that direction."""


@dataclass(frozen=True, slots=True)
class Label:
    """Labels of one structure.

    Parameters
    ----------
    arrays
        By name as in :data:`mlipq.schema.GFN1_ARRAYS`, float64 or int, in mlipq's units.
    quality
        Bits of :class:`mlipq.schema.Flag` that labeling raised.
    """

    arrays: dict[str, NDArray]
    quality: Flag


@dataclass(frozen=True, slots=True)
class Gfn1:
    """GFN1-xTB by tblite.

    Parameters
    ----------
    accuracy
        tblite's accuracy. 1.0 leaves 1e-9 Eh, 2e-6 Eh/a0 and up to 1e-4 e against 0.01.
    electronic_temperature
        In K.
    max_iterations
        SCF iterations of the first attempt.
    """

    accuracy: float = 1.0
    electronic_temperature: float = 300.0
    max_iterations: int = 250

    name: ClassVar[str] = "gfn1"
    version: ClassVar[str] = "1"
    level_of_theory: ClassVar[str] = "GFN1-xTB"
    arrays: ClassVar[tuple[ArraySpec, ...]] = GFN1_ARRAYS

    @property
    def settings(self) -> dict[str, Any]:
        """What the labels depend on, the software included, as it stands in the plan and the manifest."""
        return {
            "name": self.name,
            "version": self.version,
            "level_of_theory": self.level_of_theory,
            "tblite": version("tblite"),
            "accuracy": self.accuracy,
            "electronic_temperature": self.electronic_temperature,
            "max_iterations": self.max_iterations,
        }

    @property
    def child_command(self) -> list[str]:
        """Arguments of the Python interpreter that start this labeler's child."""
        return ["-m", "mlipq.xtb.child", str(self.accuracy), str(self.electronic_temperature), str(self.max_iterations)]

    @staticmethod
    def cost(numbers: NDArray) -> float:
        """Predict the seconds of one single point on the reference machine, from the number of atomic orbitals.

        Parameters
        ----------
        numbers
            ``(n,)`` atomic numbers.
        """
        n = checks.n_orbitals(numbers)
        return 1.0e-3 + 2.0e-6 * n**2 + 1.0e-9 * n**3  # benchmarks/labeling/fit_cost.py

    def label(self, structure: Structure) -> Label:
        """Label one structure.

        Parameters
        ----------
        structure
            Anything; what GFN1 cannot do is refused before tblite sees it.

        Raises
        ------
        LabelError
            As :func:`mlipq.xtb.checks.refuse`, or ``not_converged``, ``unphysical`` and the like where no rung of the ladder
            gave a label.
        """
        closest = checks.refuse(structure)
        uhf = unpaired_electrons(structure.numbers, structure.charge, structure.multiplicity)
        attempt, solution = self._climb(structure, uhf)
        quality = checks.flags(structure, solution, uhf, closest)
        if LADDER[attempt].temperature > self.electronic_temperature:
            quality |= Flag.F_ELECTRONIC_TEMPERATURE
        if _is_force_checked(structure) and not self._forces_agree(structure, uhf, LADDER[attempt], solution):
            quality |= Flag.F_FORCE_CHECK
        arrays = {
            "gfn1/energy": np.float64(solution.energy),
            "gfn1/forces": solution.forces,
            "gfn1/atomic_charges": solution.atomic_charges,
            "gfn1/orbital_charges": REFERENCE_OCCUPATION[structure.numbers] - solution.populations,
            "gfn1/orbital_moments": to_moments(*solution.blocks),
            "gfn1/dipole": solution.dipole - structure.charge * _nuclear_charge_centre(structure),
            "gfn1/homo_lumo_gap": np.float64(solution.gap),
            "gfn1/uhf": np.int32(uhf),
            "gfn1/scf_attempt": np.uint8(attempt),
        }
        return Label({name: np.asarray(values) for name, values in arrays.items()}, quality)

    def _climb(self, structure: Structure, uhf: int) -> tuple[int, Solution]:
        """Try the rungs of the ladder from the top until one gives a physical solution."""
        failures: list[ScfFailure] = []
        for attempt, rung in enumerate(LADDER):
            try:
                return attempt, self._run(structure, uhf, rung)
            except ScfFailure as failure:
                failures.append(failure)
        story = "; ".join(f"{rung.name}: {failure}" for rung, failure in zip(LADDER, failures, strict=True))
        unphysical = [failure for failure in failures if failure.error == "unphysical"]
        raise LabelError((unphysical or failures)[0].error, story, attempts=len(LADDER))

    def _run(self, structure: Structure, uhf: int, rung: Rung) -> Solution:
        return single_point(structure, uhf, rung, self.accuracy, self.electronic_temperature, self.max_iterations)

    def _forces_agree(self, structure: Structure, uhf: int, rung: Rung, solution: Solution) -> bool:
        """Compare the forces with a central difference of the energy along one random direction."""
        seed = int.from_bytes(hashlib.blake2b(structure.identity(), digest_size=8).digest(), "little")
        direction = np.random.default_rng(seed).normal(size=structure.positions.shape)
        direction /= np.linalg.norm(direction)
        energies = []
        for sign in (1, -1):
            moved = Structure(
                structure.numbers,
                structure.positions + sign * FORCE_CHECK_STEP * direction,
                structure.charge,
                structure.multiplicity,
            )
            try:
                energies.append(self._run(moved, uhf, rung).energy)
            except ScfFailure:
                return False
        slope = -(energies[0] - energies[1]) / (2 * FORCE_CHECK_STEP)
        return abs(slope - float((solution.forces * direction).sum())) <= FORCE_CHECK_TOLERANCE


def _is_force_checked(structure: Structure) -> bool:
    """One structure in :data:`FORCE_CHECK_ONE_IN`, chosen by its identity: the same ones wherever it is labelled."""
    return int.from_bytes(structure.identity()[:8], "little") % FORCE_CHECK_ONE_IN == 0


def _nuclear_charge_centre(structure: Structure) -> NDArray[np.float64]:
    weights = structure.numbers / structure.numbers.sum()
    return np.asarray(weights @ structure.positions)
