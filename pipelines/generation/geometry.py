"""A geometry for a molecular graph: distance geometry, a force field, then a few steps on the GFN1-xTB surface."""

import hashlib
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import LBFGS
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from generation.graphs import bonded, skeleton
from generation.proposals import Proposal
from mlipq.errors import LabelError
from mlipq.labeling.child import LabelingChild
from mlipq.structures import Structure, rounded

EMBEDDINGS = 10
"""Distance geometry may try so often."""
RELAXED = 0.05
"""eV/Å: relaxation ends early where no force is larger."""


class NoGeometryError(Exception):
    """Why a graph got no geometry, in a few words that are the same for all of its kind."""


def geometry(proposal: Proposal, seed: int, steps: int, child: LabelingChild) -> Atoms:
    """Return a conformer of a proposed molecule, near a minimum of the GFN1-xTB energy.

    Parameters
    ----------
    proposal
        The graph.
    seed
        Together with the graph it decides conformer and stereoisomer.
    steps
        Of relaxation.
    child
        Computes energies and forces.

    Returns
    -------
    Atoms
        With charge, multiplicity, ``group`` (the SMILES) and origin in ``info``.

    Raises
    ------
    NoGeometryError
        If there is none, or its bonds are not those of the graph.
    """
    graph = Chem.MolFromSmiles(proposal.smiles)
    if graph is None:
        raise NoGeometryError("a SMILES that cannot be read")
    molecule = Chem.AddHs(graph)
    _embed(molecule, _own_seed(proposal.smiles, seed))
    atoms = Atoms([atom.GetAtomicNum() for atom in molecule.GetAtoms()], molecule.GetConformer().GetPositions())
    try:
        atoms.calc = _Gfn1(child)
        LBFGS(atoms, logfile=None).run(fmax=RELAXED, steps=steps)
    except LabelError as error:
        raise NoGeometryError(f"GFN1-xTB: {error.error}") from None
    if skeleton(bonded(atoms.numbers, atoms.positions)) != skeleton(molecule):
        raise NoGeometryError("other bonds after relaxation")
    return Atoms(atoms.numbers, rounded(atoms.positions), info=_origin(proposal, seed))


def _origin(proposal: Proposal, seed: int) -> dict[str, str | int]:
    return {
        "charge": 0,
        "spin_multiplicity": 1,
        "name": f"new-{seed}-{proposal.attempt}",
        "group": proposal.smiles,
        "parent": proposal.parent,
        "parent_smiles": proposal.parent_smiles,
        "moves": ", ".join(proposal.moves),
        "seed": seed,
    }


def _own_seed(smiles: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed} {smiles}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1  # RDKit takes 31 bits


def _embed(molecule: Chem.Mol, seed: int) -> None:
    """Give a molecule a conformer by ETKDG (S. Riniker, G. A. Landrum, J. Chem. Inf. Model. 55, 2562 (2015)) and a force field."""
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    parameters.maxIterations = EMBEDDINGS
    if rdDistGeom.EmbedMolecule(molecule, parameters) != 0:
        raise NoGeometryError("no conformer")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.UFFOptimizeMolecule(molecule)


class _Gfn1(Calculator):
    """The labeler as ASE's optimizers want it."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, child: LabelingChild) -> None:
        super().__init__()
        self._child = child

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        numbers, positions = self.atoms.numbers.astype(np.uint8), rounded(self.atoms.positions)
        labels, _ = self._child.label(Structure(numbers, positions, charge=0, multiplicity=1))
        self.results = {"energy": float(labels["gfn1/energy"]), "forces": labels["gfn1/forces"]}
