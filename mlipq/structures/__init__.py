"""Reading what users have: files, charge and spin, identity, reference labels."""

from mlipq.structures.atoms import from_atoms
from mlipq.structures.inputs import InputFile, find_inputs
from mlipq.structures.options import ReadOptions, Rejected
from mlipq.structures.read import read_structures
from mlipq.structures.reference import KINDS, ReferenceSpec
from mlipq.structures.structure import Structure, identity, identity_hex, identity_words, rounded

__all__ = [
    "KINDS",
    "InputFile",
    "ReadOptions",
    "ReferenceSpec",
    "Rejected",
    "Structure",
    "find_inputs",
    "from_atoms",
    "identity",
    "identity_hex",
    "identity_words",
    "read_structures",
    "rounded",
]
