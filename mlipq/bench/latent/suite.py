"""A suite that ends in a look at metals: suites that train the encoders, and the complexes that these see."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from mlipq.bench.suite import REFUSAL, Suite, find_suite, resolved
from mlipq.settings import Content, accepted, read_yaml

_KEY = "metals"
"""What no other suite has."""

ShortName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(_Record):
    """Some structures of a dataset."""

    dataset: str = Field(min_length=1)
    """Name, folder or manifest."""
    split: str = Field(min_length=1)
    part: str = Field(default="test", min_length=1)

    @property
    def name(self) -> str:
        """Split and part."""
        return f"{self.split}/{self.part}"


class MetalsSuite(_Record):
    """What encoders know of the metals of complexes that none of them learned from."""

    name: str = ""
    """In reports; by default that of the file."""
    title: str = Field(min_length=1)
    """What is looked at, in a line."""
    metals: Part
    """Complexes, labelled with GFN1-xTB: those with metals of one element of the d block are taken. None may be among the structures that
    a suite draws from."""
    suites: dict[ShortName, Suite] = Field(min_length=1)
    """What trains the encoders, by a short name: of each mode, the models of the largest size."""
    permutations: PositiveInt = 2_000
    """How often groups are dealt anew among the metals, for the null."""


def looks_at_metals(source: str | Path) -> bool:
    """Return whether a suite is one of this kind; as for :func:`mlipq.bench.suite.read_suite` otherwise."""
    return _KEY in _content(find_suite(source)).values


def read_metals_suite(source: str | Path, **overrides: Any) -> MetalsSuite:
    """Read a suite.

    Parameters
    ----------
    source
        Name of one that comes with mlipq, or a YAML file, whose relative paths count from its folder.
    overrides
        Keys that replace those of every suite that trains encoders: ``seeds=3``.

    Raises
    ------
    InputError
        If there is no such suite, it is not YAML, or a key is unknown (the nearest known one is named), missing or out of range.
    """
    path = find_suite(source)
    content = _content(path)
    values = {"name": path.stem, **content.values}
    if isinstance(values.get(_KEY), dict):
        values[_KEY] = resolved(values[_KEY], path.parent)
    if isinstance(values.get("suites"), dict):
        values["suites"] = {
            name: {"name": name, **resolved(one, path.parent), **overrides} if isinstance(one, dict) else one
            for name, one in values["suites"].items()
        }
    return accepted(MetalsSuite, Content(values, content.lines), str(path), REFUSAL)


def _content(path: Path) -> Content:
    return read_yaml(path, "suite", "title: …, metals: {dataset: …, split: …}, suites: {…}")
