"""Batches: every structure once an epoch, within the budget, and a pure function of seed and number."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipq.training.data.sampling import Batches, cut_full, share

costs = st.lists(st.integers(1, 60), min_size=1, max_size=40).map(lambda values: np.array(values, dtype=np.int64))
budgets = st.integers(1, 100)
seeds = st.lists(st.integers(0, 2**32), min_size=1, max_size=3)


@given(costs, budgets, seeds, st.integers(0, 4))
def test_an_epoch_has_every_structure_once(costs, budget, seed, epoch):
    batches = Batches(costs, budget, seed)
    start, end = batches.steps_in(epoch), batches.steps_in(epoch + 1)
    drawn = np.concatenate([batches[k] for k in range(start, end)])
    assert sorted(drawn.tolist()) == list(range(len(costs)))
    assert [batches.epoch_of(k) for k in (start, end - 1, end)] == [epoch, epoch, epoch + 1]


@given(costs, budgets, seeds)
def test_a_batch_keeps_to_the_budget_unless_one_structure_is_above_it(costs, budget, seed):
    batches = Batches(costs, budget, seed)
    cut = [batches[k] for k in range(batches.steps_in(2))]
    assert all(costs[batch].sum() <= budget or len(batch) == 1 for batch in cut)
    assert all(len(batch) for batch in cut)


@given(costs, budgets)
def test_a_batch_ends_only_where_the_next_structure_does_not_fit(costs, budget):
    cut = cut_full(np.arange(len(costs)), costs, budget)
    for batch, following in pairwise(cut):
        assert costs[batch].sum() + costs[following[0]] > budget


@given(costs, budgets, seeds, st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_a_batch_does_not_depend_on_those_asked_for_before(costs, budget, seed, order):
    asked = Batches(costs, budget, seed)
    for k in order:
        assert np.array_equal(asked[k], Batches(costs, budget, seed)[k])


@given(st.integers(1, 200), budgets)
def test_batches_of_structures_differ_by_one_at_most(n, budget):
    batches = Batches(np.ones(n, dtype=np.int64), budget, [0])
    sizes = [len(batches[k]) for k in range(batches.steps_in(1))]
    assert max(sizes) <= budget and max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-n // budget)  # no more than need be


def test_epochs_and_seeds_have_orders_of_their_own():
    ones = np.ones(50, dtype=np.int64)
    first, other = Batches(ones, 50, [1, 2]), Batches(ones, 50, [1, 3])
    orders = [tuple(batch) for batch in (first[0], first[1], other[0])]
    assert len(set(orders)) == 3


@given(costs, budgets, st.integers(0, 30))
def test_epochs_count_batches(costs, budget, k):
    batches = Batches(costs, budget, [0])
    epochs = batches.epochs_in(k)
    assert int(epochs) == batches.epoch_of(k)
    per_epoch = batches.steps_in(int(epochs) + 1) - batches.steps_in(int(epochs))
    assert (epochs - int(epochs)) * per_epoch + batches.steps_in(int(epochs)) == pytest.approx(k)


@given(costs, st.integers(1, 5))
def test_processes_share_a_batch_out(costs, world):
    shares = [share(costs, rank, world) for rank in range(world)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(costs)))
    assert all(np.all(np.diff(each) > 0) for each in shares)
    loads = [(costs[each] + 1).sum() for each in shares]
    assert max(loads) - min(loads) <= costs.max() + 1  # none could give one away and gain
