"""Names and versions of published datasets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipq.errors import InputError
from mlipq.hub import DatasetRef, Version

numbers = st.integers(0, 10**9 - 1)
names = st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,9}){0,4}", fullmatch=True)


@given(names, numbers, numbers, numbers)
def test_a_reference_is_read_as_it_is_written(name, major, minor, patch):
    ref = DatasetRef(name, Version(major, minor, patch))
    assert DatasetRef.parse(str(ref)) == ref
    assert DatasetRef.parse(name) == DatasetRef(name, None)


@given(st.text(max_size=20))
def test_what_is_accepted_is_written_in_one_way_only(text):
    try:
        ref = DatasetRef.parse(text)
    except InputError:
        return
    assert str(ref) == text
    assert "/" not in text and ".." not in text.partition("@")[0]


@given(st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))
def test_versions_are_ordered_by_their_numbers(first, second):
    assert (Version(*first) < Version(*second)) == (first < second)


@pytest.mark.parametrize(
    "text",
    ["", "@1.0.0", "Qm7", "qm7_gfn1", "qm7--gfn1", "-qm7", "qm7-", "a/b", "..", "a" * 65, "qm7@", "qm7@1.0", "qm7@1.0.0.0",
     "qm7@01.0.0", "qm7@1.0.0-rc1", "qm7@1.0.٣", "qm7@1.0.0\n", "qm7\n", "qm7@v1.0.0", "qm7@1.-1.0"],
)  # fmt: skip
def test_what_is_no_reference(text):
    with pytest.raises(InputError, match=r"MAJOR.MINOR.PATCH|lower-case letters"):
        DatasetRef.parse(text)
