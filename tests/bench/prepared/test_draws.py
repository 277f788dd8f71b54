"""Draws: so many structures, a tenth of them for validation, smaller ones within larger ones, the same everywhere."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipq.bench.prepared.draws import draw, split_name
from mlipq.errors import InputError

identities = st.tuples(st.integers(10, 80), st.integers(0, 2**32)).map(
    lambda drawn: np.random.default_rng(drawn[1]).integers(0, 2**64, (drawn[0], 2), dtype=np.uint64)
)
seeds = st.integers(0, 2**63)


@given(identities, seeds, st.data())
def test_a_smaller_draw_is_within_a_larger_one_and_each_keeps_its_part(rows, seed, data):
    smaller, larger = sorted(data.draw(st.tuples(*[st.integers(10, len(rows))] * 2)))
    few, many = draw(rows, smaller, seed), draw(rows, larger, seed)
    for name in ("train", "validation"):
        assert not ((few == name) & (many != name)).any()


@given(identities, seeds, st.data())
def test_a_tenth_of_the_size_validates_to_the_nearest_whole(rows, seed, data):
    size = data.draw(st.integers(10, len(rows)))
    parts = draw(rows, size, seed)
    assert (parts != "rest").sum() == size
    assert abs((parts == "validation").sum() - size / 10) <= 0.5


@given(identities, seeds, st.integers(0, 2**32))
def test_the_order_of_the_dataset_does_not_matter(rows, seed, order_seed):
    order = np.random.default_rng(order_seed).permutation(len(rows))
    assert (draw(rows[order], 10, seed) == draw(rows, 10, seed)[order]).all()


def test_every_structure_is_drawn_as_often_as_another():
    rows = np.arange(2 * 40, dtype=np.uint64).reshape(-1, 2)
    drawn = sum((draw(rows, 10, seed) != "rest").astype(int) for seed in range(400))
    assert drawn.sum() == 4000
    assert np.abs(drawn - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


def test_a_draw_is_what_it_was_when_it_was_published():
    parts = draw(np.arange(2 * 100, dtype=np.uint64).reshape(-1, 2), 30, 0)
    assert hashlib.sha256(",".join(parts).encode()).hexdigest()[:16] == "70604c1b2edfcedd"


@pytest.mark.parametrize("size", [9, 101])
def test_too_few_or_more_than_there_are_is_refused(size):
    rows = np.arange(200, dtype=np.uint64).reshape(-1, 2)
    with pytest.raises(InputError, match=f"size {size}: expected 10 to 100 structures"):
        draw(rows, size, 0)


def test_the_name_of_a_draw_tells_size_and_seed():
    assert split_name(1000, 3) == "n1000-s3"
