"""Reading what users have: files, charge and spin, identity, reference labels."""

from typing import TYPE_CHECKING

from mlipq.lazy import loader

if TYPE_CHECKING:
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

# Workers and children never read files, and ASE's readers cost them half a second and 50 MB.
__getattr__ = loader(
    __name__,
    {
        "atoms": ("from_atoms",),
        "inputs": ("InputFile", "find_inputs"),
        "options": ("ReadOptions", "Rejected"),
        "read": ("read_structures",),
        "reference": ("KINDS", "ReferenceSpec"),
        "structure": ("Structure", "identity", "identity_hex", "identity_words", "rounded"),
    },
)
