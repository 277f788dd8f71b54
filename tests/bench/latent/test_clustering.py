"""Scores of groups of elements against scikit-learn's, one assignment at a time; nulls where the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from mlipq.bench.latent.clustering import (
    against_null,
    assignments,
    projected,
    rand_indices,
    silhouettes,
    standardised,
)


def clouds(n_elements: int, each: int, spread: float, seed: int = 0):
    """Points around a centre for each element, and the element of each."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_elements, 6))
    elements = np.repeat(np.arange(n_elements), each)
    return centres, centres[elements] + spread * rng.normal(size=(len(elements), 6)), elements


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=4, max_size=8),
    groups=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    seed=st.integers(0, 1000),
)
def test_silhouettes_are_those_of_scikit_learn(counts, groups, seed):
    groups = [0, 1, *groups][: len(counts)]
    elements = np.repeat(np.arange(len(counts)), counts)
    points = np.random.default_rng(seed).normal(size=(len(elements), 3))
    assigned = assignments(groups, 4, seed)
    expected = [silhouette_score(points, own[elements]) if len(elements) > own.max() + 1 else 0.0 for own in assigned]
    np.testing.assert_allclose(silhouettes(points, elements, assigned), expected, atol=1e-12)


def test_rand_indices_are_those_of_scikit_learn():
    _, points, elements = clouds(9, 7, spread=0.8, seed=2)
    assigned = assignments([3, 3, 4, 4, 4, 5, 6, 6, 6], 20)
    clusters = KMeans(4, n_init=10, random_state=5).fit_predict(points)
    expected = [adjusted_rand_score(own[elements], clusters) for own in assigned]
    np.testing.assert_allclose(rand_indices(points, elements, assigned, seed=5), expected, atol=1e-12)


def test_assignments_keep_how_many_elements_a_group_has():
    assigned = assignments([4, 4, 7, 9, 9, 9], 50)
    assert assigned[0].tolist() == [0, 0, 1, 2, 2, 2]
    assert (np.sort(assigned, axis=1) == np.sort(assigned[0])).all()
    assert len(np.unique(assigned, axis=0)) > 20
    np.testing.assert_array_equal(assigned, assignments([4, 4, 7, 9, 9, 9], 50))


def test_elements_that_lie_as_their_groups_do_beat_the_null():
    groups = np.repeat(np.arange(4), 3)
    rng = np.random.default_rng(1)
    elements = np.repeat(np.arange(12), 6)
    points = 5 * np.eye(4)[groups[elements]] + 0.5 * rng.normal(size=(72, 4))
    assigned = assignments(groups.tolist(), 500)
    for measure in (silhouettes, rand_indices):
        found = against_null(measure(points, elements, assigned))
        assert found.value > 0.5
        assert found.value > found.high > found.mean
        assert found.p < 0.01
    assert rand_indices(points, elements, assigned)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("measure", [silhouettes, rand_indices])
def test_tight_elements_at_random_places_do_not_beat_the_null(measure):
    """What a shuffle among points would call highly significant: each element by itself, where chance put it."""
    p_values = []
    for seed in range(30):
        _, points, elements = clouds(15, 6, spread=0.02, seed=seed)
        assigned = assignments(np.repeat(np.arange(5), 3).tolist(), 99, seed)
        p_values.append(against_null(measure(points, elements, assigned)).p)
    assert 0.3 < np.mean(p_values) < 0.7
    assert np.mean(np.array(p_values) <= 0.1) <= 0.3


def test_points_are_compared_with_every_feature_at_the_same_scale():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(40, 3))
    wide = np.column_stack([points * [1, 1e4, 1e-4] + [0, 5, 7], np.full(40, 0.3)])
    np.testing.assert_allclose(standardised(wide), standardised(points), atol=1e-9)
    np.testing.assert_allclose(standardised(points).std(axis=0), 1.0)


def test_the_plane_is_that_of_the_largest_variance():
    points = np.random.default_rng(4).normal(size=(60, 4)) * [9, 3, 0.1, 0.1]
    plane, explained = projected(points)
    centred = points - points.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    np.testing.assert_allclose(explained, variances[:2] / variances.sum())
    np.testing.assert_allclose(plane.var(axis=0) * 60, variances[:2])
