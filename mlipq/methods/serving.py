"""The child's side of labeling: a structure from the pipe, its labels back."""

from typing import Protocol

from mlipq.errors import LabelError
from mlipq.methods.label import Label
from mlipq.process import Arrays, Header
from mlipq.structures.structure import Structure


class Labels(Protocol):
    """What labels one structure."""

    def label(self, structure: Structure) -> Label:
        """Label one structure, or raise :class:`mlipq.errors.LabelError`."""
        ...


def answer(labeler: Labels, header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """Label one structure; what goes wrong with it becomes part of the answer."""
    structure = Structure(
        numbers=arrays["numbers"],
        positions=arrays["positions"],
        charge=header["charge"],
        multiplicity=header["multiplicity"],
        cell=arrays.get("cell"),
        pbc=arrays.get("pbc"),
    )
    try:
        label = labeler.label(structure)
    except LabelError as error:
        return {"error": error.error, "message": error.message, "attempts": error.attempts}, {}
    except MemoryError:
        return {"error": "out_of_memory", "message": "passed the child's memory limit", "attempts": 1}, {}
    return {"quality": int(label.quality)}, label.arrays
