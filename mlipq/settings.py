"""Settings that a user writes as YAML: read, and checked against a record; every mistake is named with its key and line."""

import difflib
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from mlipq.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Key = tuple[str | int, ...]
"""Where a value stands: keys, and numbers in lists, from the outermost on."""


@dataclass(frozen=True)
class Content:
    """Keys and values, and on which lines of their file they stand; ``None`` for what was said elsewhere."""

    values: dict[str, Any]
    lines: Mapping[Key, int | None]

    def merged(self, overrides: Mapping[str, Any]) -> "Content":
        """Return the content with some keys replaced; of a key that holds others, those that are named."""
        values, replaced = dict(self.values), set[Key]()
        for key, value in overrides.items():
            own = values.get(key)
            if isinstance(own, dict) and isinstance(value, dict):
                values[key] = {**own, **value}
                replaced |= {(key, inner) for inner in value}
            else:
                values[key] = value
                replaced.add((key,))
        kept = {at: line for at, line in self.lines.items() if replaced.isdisjoint((at[:1], at[:2]))}
        return Content(values, {**kept, **dict.fromkeys(replaced)})


class Mistakes(Exception):
    """What is wrong with settings, one sentence a mistake; the caller says whose settings they are."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences

    def of(self, where: str, what: str) -> InputError:
        """Return the error to raise: ``job.yaml: this job cannot be run:`` and the mistakes, a line each."""
        return InputError("\n".join([f"{where}: {what}:", *(f"  {sentence}" for sentence in self.sentences)]))


def read_yaml(path: Path, what: str, example: str) -> Content:
    """Read a YAML file of keys and values.

    Parameters
    ----------
    path
        The file.
    what
        What it holds, for messages: ``job``.
    example
        Keys that it must have, as the user would write them.

    Raises
    ------
    InputError
        If it cannot be read, is not YAML in UTF-8 (line and column are named), has a key twice, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise InputError(f"{path}: the {what} file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: a {what} file is YAML in UTF-8; this is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}: expected a {what} ({example}), found {found}")
    lines: dict[Key, int] = {}
    for key, line in _lines(cast(yaml.Node, node), (), set()):
        if key in lines:
            raise InputError(f"{path}: line {line}: {_dotted(key)} stands there twice, first on line {lines[key]}")
        lines[key] = line
    return Content(content, lines)


def checked(model: type[Model], content: Content, names: Mapping[str, str] | None = None) -> Model:
    """Return the record that the content describes.

    Parameters
    ----------
    model
        Class of the record.
    content
        What it should hold.
    names
        What the user calls a key (``labeler.accuracy``) where not by its own name: the option that set it.

    Raises
    ------
    Mistakes
        If a key is unknown (the nearest known one is named), missing or out of range.
    """
    try:
        return model.model_validate(content.values)
    except ValidationError as error:
        found: dict[Key, list[Any]] = {}
        for problem in error.errors():
            found.setdefault(_place(problem, content.values), []).append(problem)
    known = dict(_known_keys(model))
    # what is wrong inside a value says more than that the value is wrong
    innermost = [key for key in found if not any(other[: len(key)] == key and other != key for other in found)]
    raise Mistakes([_sentence(key, found[key], known, names or {}, content.lines) for key in innermost])


def accepted(model: type[Model], content: Content, where: str, refusal: str) -> Model:
    """Return the record that the content describes, or refuse it in the user's words.

    Parameters
    ----------
    model, content
        As for :func:`checked`.
    where
        The file, for messages.
    refusal
        What cannot be done then.

    Raises
    ------
    InputError
        Listing everything that is wrong, each with its key.
    """
    try:
        return checked(model, content)
    except Mistakes as mistakes:
        raise mistakes.of(where, refusal) from None


def dataset_from(named: Any, folder: Path) -> Any:
    """Return the dataset that a file in ``folder`` names: a path where there is one, counted from there, else as it was given."""
    is_path = isinstance(named, str) and named and (folder / named).exists()
    return str(folder / named) if is_path else named


def _yaml_problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"


def _lines(node: yaml.Node, at: Key, met: set[int]) -> Iterator[tuple[Key, int]]:
    """Yield every key and list item with its line, counted from 1; what aliases repeat counts where it is written."""
    if id(node) in met:
        return
    met.add(id(node))
    items: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        items = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        items = [(number, value, value) for number, value in enumerate(node.value)]
    for name, key, value in items:
        yield (*at, name), key.start_mark.line + 1
        yield from _lines(value, (*at, name), met)


def _place(problem: Any, content: Any) -> Key:
    """Return where a problem is, without what pydantic adds for the choices of a union."""
    place: list[str | int] = []
    last = len(problem["loc"]) - 1
    for number, part in enumerate(problem["loc"]):
        inside = (
            part in content
            if isinstance(content, dict)
            else isinstance(part, int) and isinstance(content, list | tuple)
        )
        if inside:
            content = content[part]
        if inside or (number == last and problem["type"] == "missing"):
            place.append(part)
    return tuple(place)


def _sentence(
    key: Key, problems: list[Any], known: Mapping[str, str], names: Mapping[str, str], lines: Mapping[Key, int | None]
) -> str:
    """Return what is wrong with one key; of a union each choice has a problem of its own."""
    explained = " or ".join(dict.fromkeys(_explained(problem, key, known) for problem in problems))
    told = any(problem["type"] in ("extra_forbidden", "missing") or _whole(problem) for problem in problems)
    got = "" if told else f", got {problems[0]['input']!r}"
    named = names.get(_dotted(key), _dotted(key))
    line = next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), None)
    return ("" if line is None else f"line {line}: ") + (f"{named}: " if named else "") + explained + got


def _explained(problem: Any, key: Key, known: Mapping[str, str]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(key[-1]), known, n=1)
            meant = known[near[0]] if near and near[0] == key[-1] else "".join(near)
            if meant == _dotted(key):
                return f"does not go with the other keys of {_dotted(key[:-1])}: it belongs to another kind"
            return "unknown key" + (f"; did you mean {meant}?" if meant else "")
        case "missing":
            return "missing"
        case "model_type" | "dict_type":
            return "should hold keys and values (key: value)"
        case "list_type" | "tuple_type":
            return "should be a list"
        case "too_short":
            return f"should have at least {problem['ctx']['min_length']} of them"
        case "string_type" if isinstance(problem["input"], int | float):
            return "should be text (text that looks like a number stands in quotes)"
    return re.sub(r"^(Value error, |Input (?=should))", "", problem["msg"])


def _whole(problem: Any) -> bool:
    """True for what is wrong with a whole record: its sentence says what came."""
    return problem["type"] == "value_error" and isinstance(problem["input"], dict)


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys of a record and of those inside it, each with the path to it; inner ones first, so that outer ones count."""
    for name, field in model.model_fields.items():
        for inner in _records_in(field.annotation):
            yield from _known_keys(inner, f"{prefix}{name}.")
    for name in model.model_fields:
        yield name, f"{prefix}{name}"


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    parts = typing.get_args(annotation)
    if not parts and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in parts:
        yield from _records_in(part)
