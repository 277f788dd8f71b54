"""JSON that has one meaning, and JSON that has none or several."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipq.store.strict_json import loads

characters = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | characters,
    lambda inner: st.lists(inner) | st.dictionaries(characters, inner),
)


@given(values)
def test_what_python_writes_is_read_as_it_was(value):
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "a": 1}', "key 'a' stands there twice"),
        (b'{"x": [{"b": 1, "c": 2, "b": 3}]}', "key 'b' stands there twice"),
        (b'{"a": 1, "\\u0061": 2}', "key 'a' stands there twice"),
        (b"NaN", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"1e999", "larger than any number"),
        (b"1" * 5000, "digits"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b"[" * 200_000, "nested too deeply"),
        ('"é"'.encode("latin-1"), "utf-8"),
        (json.dumps({"a": 1}).encode("utf-16"), "utf-8"),
        (b"\xef\xbb\xbf{}", "expected JSON"),
        (b"{} {}", "Extra data"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        loads(text)


def test_a_whole_surrogate_pair_is_a_character():
    assert loads(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
