"""The PBE labeler: one structure in, its labels out."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlipq.dft import checks
from mlipq.dft.basis import N_FUNCTIONS, REFERENCE
from mlipq.dft.ladder import LADDER
from mlipq.dft.singlepoint import AUXILIARY_BASIS, CONVERGENCE, single_point
from mlipq.errors import InputError
from mlipq.methods import Label, climb, force_check
from mlipq.methods.electrons import nuclear_charge_centre
from mlipq.schema import PBE, PBE_ARRAYS, ArraySpec, Flag
from mlipq.structures.structure import Structure


@dataclass(frozen=True, slots=True)
class Pbe:
    """PBE/def2-SVP by PySCF, the Coulomb energy by density fitting.

    Parameters
    ----------
    forces
        Whether to compute forces.
    grid
        Level of PySCF's grid of integration points, 0 to 9.

    Raises
    ------
    InputError
        If PySCF is not installed.
    """

    forces: bool = True
    grid: int = 3

    name: ClassVar[str] = "pbe"
    version: ClassVar[str] = "1"
    level_of_theory: ClassVar[str] = PBE

    def __post_init__(self) -> None:
        _pyscf_version()

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """What it makes."""
        return tuple(spec for spec in PBE_ARRAYS if self.forces or spec.name != "pbe/forces")

    @property
    def settings(self) -> dict[str, Any]:
        """What the labels depend on, the software included, as it stands in the plan and the manifest."""
        return {
            "name": self.name,
            "version": self.version,
            "level_of_theory": self.level_of_theory,
            "pyscf": _pyscf_version(),
            "auxiliary_basis": AUXILIARY_BASIS,
            "convergence": CONVERGENCE,
            "forces": self.forces,
            "grid": self.grid,
        }

    @property
    def child_command(self) -> list[str]:
        """Arguments of the Python interpreter that start this labeler's child."""
        return ["-m", "mlipq.dft.child", str(int(self.forces)), str(self.grid)]

    def cost(self, numbers: NDArray) -> float:
        """Predict the seconds of one single point on the reference machine, from the number of basis functions.

        Parameters
        ----------
        numbers
            ``(n,)`` atomic numbers.
        """
        n = int(N_FUNCTIONS[np.minimum(numbers, len(N_FUNCTIONS) - 1)].sum())
        return (0.1 + 5e-4 * n**2) * (2 if self.forces else 1)

    def label(self, structure: Structure) -> Label:
        """Label one structure.

        Parameters
        ----------
        structure
            Anything; what cannot be done is refused before PySCF sees it.

        Raises
        ------
        LabelError
            As :func:`mlipq.dft.checks.refuse`, or ``not_converged`` where no rung of the ladder gave a label.
        """
        closest = checks.refuse(structure)
        attempt, solution = climb(LADDER, lambda rung: single_point(structure, rung, self.grid, self.forces))
        orbital_charges = REFERENCE[structure.numbers] - solution.populations
        quality = checks.flags(structure, solution, orbital_charges, closest)
        arrays = {
            "pbe/energy": np.float64(solution.energy),
            "pbe/atomic_charges": orbital_charges.sum(axis=1),
            "pbe/orbital_charges": orbital_charges,
            "pbe/dipole": solution.dipole - structure.charge * nuclear_charge_centre(structure),
            "pbe/homo_lumo_gap": np.float64(solution.gap),
            "pbe/scf_attempt": np.uint8(attempt),
        }
        if solution.forces is not None:
            arrays["pbe/forces"] = solution.forces
            if force_check.is_chosen(structure) and not force_check.forces_agree(
                structure,
                solution.forces,
                lambda moved: single_point(moved, LADDER[attempt], self.grid, forces=False).energy,
            ):
                quality |= Flag.F_FORCE_CHECK
        return Label({name: np.asarray(values) for name, values in arrays.items()}, quality)


def _pyscf_version() -> str:
    try:
        return version("pyscf")
    except PackageNotFoundError:
        raise InputError(
            "the labeler pbe needs PySCF, which is not here; install it with: pip install 'mlipq[dft]'"
        ) from None
