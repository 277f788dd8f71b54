"""Files of splits against plain Python on the same lines, and everything that is no split."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipq.errors import CheckError, InputError
from mlipq.store.manifest import Split
from mlipq.store.splits import read_split, split_bytes
from mlipq.structures.structure import identity_words

digests = st.binary(min_size=16, max_size=16) | st.sampled_from(
    [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15), b"\xff" * 16]
)
names = st.text("abcXYZ019._-", min_size=1, max_size=8).filter(lambda name: name[0] not in "._-")
splits = st.dictionaries(digests, names, max_size=20)


def words(digests) -> np.ndarray:
    return np.array([identity_words(digest) for digest in digests], dtype="u8").reshape(-1, 2)


def entry(data: bytes, counts: dict[str, int] | None = None) -> Split:
    """What a manifest says of this file, were it a good one."""
    parts = [line.partition(b",")[2].decode() for line in data.splitlines()[1:]]
    counts = {part: parts.count(part) for part in parts} if counts is None else counts
    return Split(
        file="splits/random.csv", bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), made_by="", counts=counts
    )


@given(splits, st.lists(digests))
def test_what_is_written_is_read(split, others):
    data = split_bytes(words(split), list(split.values()))
    assert data.decode().split("\n") == [
        "identity,part",
        *(f"{digest.hex()},{split[digest]}" for digest in sorted(split)),
        "",
    ]
    read = read_split(data, entry(data))
    assert len(read) == len(split)
    assert [row.astype("<u8").tobytes() for row in read.identities] == sorted(split)
    asked = [*split, *others]
    assert read.of(words(asked)).tolist() == [split.get(digest, "") for digest in asked]


@given(splits, st.randoms(use_true_random=False))
def test_the_order_of_structures_changes_no_byte(split, random):
    shuffled = list(split.items())
    random.shuffle(shuffled)
    data = split_bytes(words(split), list(split.values()))
    assert split_bytes(words(dict(shuffled)), [part for _, part in shuffled]) == data


@pytest.mark.parametrize("name", ["", "a,b", 'a"', "a/b", "a\n", "é", "-a", "a" * 65])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="a part is named by"):
        split_bytes(words([bytes(16)]), [name])


def test_a_structure_belongs_to_one_part():
    with pytest.raises(InputError, match=f"structure {'00' * 15}07 comes twice"):
        split_bytes(words([bytes(15) + b"\7"] * 2), ["train", "test"])


A, B = "0" * 31 + "a", "0" * 31 + "b"
GOOD = f"identity,part\n{A},test\n{B},train\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("identity;part\n", 1),
        (GOOD.replace("\n", "\r\n"), 1),
        ("identity,part", 1),
        (GOOD.removesuffix("\n"), 3),
        (GOOD.replace("test", ""), 2),
        (GOOD.replace("train", "a,b"), 3),
        (GOOD.replace(A, A.upper()), 2),
        (GOOD.replace(A, A[1:]), 2),
        (GOOD.replace(A, "0" + A), 2),
        (GOOD + "\n", 4),
        (GOOD.replace("test", "t" * 65), 2),
        (f"identity,part\n{B},train\n{A},test\n", 3),
        (f"identity,part\n{A},train\n{A},test\n", 3),
    ],
)
def test_what_is_no_split(text, line):
    data = text.encode()
    with pytest.raises(CheckError, match=rf"splits/random\.csv: line {line} should"):
        read_split(data, entry(data))


def test_a_split_that_is_not_the_manifests():
    said = entry(GOOD.encode())
    for other in (GOOD.replace("test", "best"), GOOD[:-1], ""):
        with pytest.raises(CheckError, match=r"splits/random\.csv: expected 91 bytes .*; the file was changed"):
            read_split(other.encode(), said)
    with pytest.raises(CheckError, match=r"holds \{'test': 1, 'train': 1\} structures, but the manifest says"):
        read_split(GOOD.encode(), entry(GOOD.encode(), {"test": 2}))


def test_a_part_may_be_empty():
    data = GOOD.encode()
    assert len(read_split(data, entry(data, {"test": 1, "train": 1, "spare": 0}))) == 2
