"""The GFN1-xTB labeler: one structure in, its labels out."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlipq.irreps import to_moments
from mlipq.methods import Label, climb, force_check
from mlipq.methods.electrons import REFERENCE_OCCUPATION, nuclear_charge_centre
from mlipq.schema import GFN1_ARRAYS, ArraySpec, Flag
from mlipq.structures.structure import Structure
from mlipq.xtb import checks
from mlipq.xtb.ladder import LADDER, Rung
from mlipq.xtb.parameters import unpaired_electrons
from mlipq.xtb.singlepoint import Solution, single_point


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
        attempt, solution = climb(LADDER, lambda rung: self._run(structure, uhf, rung))
        quality = checks.flags(structure, solution, uhf, closest)
        if LADDER[attempt].temperature > self.electronic_temperature:
            quality |= Flag.F_ELECTRONIC_TEMPERATURE
        if force_check.is_chosen(structure) and not force_check.forces_agree(
            structure, solution.forces, lambda moved: self._run(moved, uhf, LADDER[attempt]).energy
        ):
            quality |= Flag.F_FORCE_CHECK
        arrays = {
            "gfn1/energy": np.float64(solution.energy),
            "gfn1/forces": solution.forces,
            "gfn1/atomic_charges": solution.atomic_charges,
            "gfn1/orbital_charges": REFERENCE_OCCUPATION[structure.numbers] - solution.populations,
            "gfn1/orbital_moments": to_moments(*solution.blocks),
            "gfn1/dipole": solution.dipole - structure.charge * nuclear_charge_centre(structure),
            "gfn1/homo_lumo_gap": np.float64(solution.gap),
            "gfn1/uhf": np.int32(uhf),
            "gfn1/scf_attempt": np.uint8(attempt),
        }
        return Label({name: np.asarray(values) for name, values in arrays.items()}, quality)

    def _run(self, structure: Structure, uhf: int, rung: Rung) -> Solution:
        return single_point(structure, uhf, rung, self.accuracy, self.electronic_temperature, self.max_iterations)
