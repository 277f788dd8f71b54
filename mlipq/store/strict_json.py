"""JSON from strangers: one meaning, or an error."""

import json
import math
import re
from collections.abc import Sequence
from typing import NoReturn, TypeVar, cast

from pydantic import BaseModel, ValidationError

from mlipq.errors import CheckError
from mlipq.store.commit import Json

Record = TypeVar("Record", bound=BaseModel)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes) -> Json:
    """Return the value that a JSON text states.

    JSON itself leaves open what a key means that an object has twice, and programs differ: what one checks is not what another
    reads. So such a text is refused, and so is what no JSON is, though Python reads it: NaN, infinities, other encodings than
    UTF-8, half a surrogate pair.

    Raises
    ------
    ValueError
        If the text is refused; the message says why.
    """
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if text and error.pos == 0:
            raise ValueError(f"expected JSON, got what begins with {text[:20]!r}") from None
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return cast(Json, value)


def record(model: type[Record], data: bytes, what: str, remedy: str) -> Record:
    """Return a record of this model that a JSON text states.

    Parameters
    ----------
    what
        Of what name and kind the text is, for the message: ``manifest.json is not a valid manifest``.
    remedy
        What to do where it is not.

    Raises
    ------
    CheckError
        If the text is refused (see :func:`loads`), or a field is missing, unknown or wrong.
    """
    try:
        loads(data)
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        fields = [f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()[:5]]
        raise CheckError(f"{what}: {'; '.join(fields)}. {remedy}") from error
    except ValueError as error:
        raise CheckError(f"{what}: {error}. {remedy}") from error


def _once(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:100]!r} stands there twice in one object")
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is larger than any number")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_number)
