"""What an importer is: which files a format has, what they mean, and how they are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ase import Atoms

from mlipq.errors import InputError
from mlipq.formats import IMPORTERS
from mlipq.structures.options import RejectError
from mlipq.structures.reference import ReferenceSpec


class Image(NamedTuple):
    """One structure of a source file, or why it is none, and how much of the file (0 to 1) is read with it.

    ``atoms.info`` holds what the file says, in the file's own units and under the names that the importer's
    references take: charge and spin under ``charge`` and ``spin_multiplicity``, and ``name`` and ``group``.
    """

    atoms: Atoms | RejectError
    done: float


@dataclass(frozen=True)
class Importer:
    """A source format.

    Parameters
    ----------
    title
        What it is, for the help text.
    patterns
        Which files of a folder are meant, as :meth:`pathlib.Path.match` takes them.
    read
        Reads one file. Whatever it raises but an :class:`~mlipq.errors.InputError` becomes one that names the file.
    references
        Labels in the fields of ``atoms.info``, as the format defines them; a structure may lack some. Where the files
        themselves do not say how they were computed, the level of theory is empty, and the user is asked for it.
    """

    title: str
    patterns: tuple[str, ...]
    read: Callable[[Path], Iterator[Image]]
    references: tuple[ReferenceSpec, ...]


def importer_of(source_format: str) -> Importer:
    """Return the importer of a format.

    Raises
    ------
    InputError
        If there is none of this name; the message lists them.
    """
    if source_format not in IMPORTERS:
        raise InputError(
            f"unknown format {source_format!r}; mlipq imports {', '.join(IMPORTERS)}. Extended XYZ and whatever else ASE "
            "reads needs no import: mlipq label takes it, and --reference says what its labels are"
        )
    importer: Importer = import_module(f"mlipq.hub.importers.{source_format}").IMPORTER
    return importer


def formats_named_so(path: Path) -> list[str]:
    """Return the formats whose files have names like this one."""
    return [name for name in IMPORTERS if any(map(path.match, importer_of(name).patterns))]
