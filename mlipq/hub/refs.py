"""What a published dataset is called: ``qm7-gfn1@1.0.0``, a name and a version."""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from mlipq.errors import InputError

_NAME = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_NUMBER = "(0|[1-9][0-9]{0,8})"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}", re.ASCII)


class Version(NamedTuple):
    """A version, in the order of its numbers; what makes a step major, minor or patch stands in the documentation."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1.0.0``.

        Raises
        ------
        InputError
            If it is not three numbers.
        """
        found = _VERSION.fullmatch(text)
        if found is None:
            raise InputError(f"a version is MAJOR.MINOR.PATCH, as in 1.0.0, not {text!r}")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return ".".join(map(str, self))


@dataclass(frozen=True)
class DatasetRef:
    """A published dataset, or, where ``version`` is ``None``, the latest version of it.

    Examples
    --------
    >>> ref = DatasetRef.parse("qm7-gfn1@1.0.0")
    >>> ref.name, ref.version < Version(1, 0, 1), str(ref)
    ('qm7-gfn1', True, 'qm7-gfn1@1.0.0')
    """

    name: str
    version: Version | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name`` or ``name@version``.

        Raises
        ------
        InputError
            If the name has other characters than lower-case letters, digits and single dashes between them, or more than
            64, or the version is not three numbers.
        """
        name, at, version = text.partition("@")
        if not _NAME.fullmatch(name):
            raise InputError(
                f"a dataset's name has lower-case letters and digits, with dashes between, as in qm7-gfn1@1.0.0, not {text!r}"
            )
        return cls(name, Version.parse(version) if at else None)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"
