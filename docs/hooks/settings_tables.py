"""Tables of settings: the fields of a pydantic record, with their docstrings."""

import json
import typing
from collections.abc import Iterator
from html import escape
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import griffe
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from schema_tables import table

import mlipq.training


def settings(module: str, record: str) -> str:
    """Return the keys of a record: what each may be, its default, what it means."""
    model: type[BaseModel] = getattr(import_module(module), record)
    meanings = _docstrings(model)
    rows = [
        (f"`{name}`", _default(field), escape(meanings.get(name, _of_record(field)), quote=False) + _choices(field))
        for name, field in model.model_fields.items()
    ]
    return table(("key", "default", "meaning"), rows).replace("``", "`")


def presets() -> str:
    """Return the bundled presets, with what each says of itself in its first lines."""
    folder = Path(mlipq.training.__path__[0]) / "presets"
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
        rows.append((f"`{path.stem}`", " ".join(line.lstrip("# ") for line in lines)))
    return table(("preset", "what is learned"), rows)


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each field; of one that is redefined, the last."""
    found = {}
    for cls in reversed(model.__mro__):
        if cls.__module__.startswith("mlipq."):
            members = griffe.load(cls.__module__)[cls.__name__].members
            found |= {name: member.docstring.value for name, member in members.items() if member.docstring}
    return {name: " ".join(text.split()) for name, text in found.items()}


def _of_record(field: FieldInfo) -> str:
    """Return what a record is, for a key that holds one and says no more."""
    return (
        (field.annotation.__doc__ or "")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else ""
    )


def _choices(field: FieldInfo) -> str:
    choices = [f"`{value}`" for value in _literals(field.annotation) if value != ""]
    return f" Choices: {', '.join(choices)}." if len(choices) > 1 else ""


def _literals(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
        return
    for part in typing.get_args(annotation):
        yield from _literals(part)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "must be given"
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, BaseModel):
        given = value.model_dump(exclude_unset=True, exclude_none=True)
        return f"`{json.dumps(given)}`".replace('"', "") if given else ""
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
