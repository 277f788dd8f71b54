"""How well points sort into the groups of their elements, and how well they would if the groups meant nothing.

All complexes of one metal lie close together in the features of any model that is told which element an atom is. Groups shuffled among
complexes would be beaten by every such model, so the null hypothesis is another: the groups are dealt anew among the *elements*,
as many elements to each as before, and all complexes of an element go with it. What is better than that knows how elements belong
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]
"""``(points, features)``."""
Assignments = NDArray[np.int64]
"""``(permutations + 1, elements)``: number of each element's group, from 0; the first row is the true one."""


@dataclass(frozen=True)
class Null:
    """A score, and what it comes to where groups mean nothing.

    Attributes
    ----------
    value
        With the true groups.
    mean, high
        Mean and 95th percentile over permutations.
    p
        Share of all assignments, the true one among them, that score as high.
    """

    value: float
    mean: float
    high: float
    p: float


def standardised(points: Points) -> NDArray[np.float64]:
    """Return points with features of mean 0 and standard deviation 1; features that are the same for all are left out."""
    points = np.asarray(points, dtype=np.float64)
    spread = points.std(axis=0)
    varying = spread > 1e-9 * np.abs(points).max(initial=1e-300)
    return np.asarray((points[:, varying] - points[:, varying].mean(axis=0)) / spread[varying])


def assignments(groups: Sequence[int], permutations: int, seed: int = 0) -> Assignments:
    """Return the groups of elements, as they are and dealt anew.

    Parameters
    ----------
    groups
        Of each element.
    permutations
        How often they are dealt.
    seed
        Of the deals.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    dealt = np.random.default_rng(seed).permuted(np.tile(numbers, (permutations, 1)), axis=1)
    return np.concatenate([numbers[None], dealt])


def silhouettes(points: Points, elements: NDArray[np.int64], assigned: Assignments) -> NDArray[np.float64]:
    """Return the mean silhouette of all points, for each assignment of elements to groups.

    Of a point, a is its mean distance to the others of its group, b that to the nearest other group; its silhouette is
    (b - a)/max(a, b), and 0 where it is alone. P. J. Rousseeuw, J. Comput. Appl. Math. 20, 53 (1987). That a group is a set of elements
    makes thousands of assignments cheap: distances are added up once for each element.

    Parameters
    ----------
    points
        ``(points, features)``.
    elements
        ``(points,)``, columns of ``assigned``.
    assigned
        As :func:`assignments` gives them; two groups at least.

    Returns
    -------
    NDArray[np.float64]
        ``(permutations + 1,)``, between -1 and 1.
    """
    of_element = np.eye(assigned.shape[1])[elements]  # (N, elements)
    sums, counts = _distances(points) @ of_element, of_element.sum(axis=0)
    each = np.arange(len(points))
    found = []
    for groups in assigned:
        of_group = np.eye(groups.max() + 1)[groups]  # (elements, groups)
        sizes, own = counts @ of_group, groups[elements]
        to_groups = sums @ of_group  # (N, groups)
        inside = to_groups[each, own] / np.maximum(sizes[own] - 1, 1)
        means = to_groups / sizes
        means[each, own] = np.inf
        outside = means.min(axis=1)
        larger = np.maximum(np.maximum(inside, outside), 1e-300)  # points may be the same
        found.append(np.where(sizes[own] > 1, (outside - inside) / larger, 0.0).mean())
    return np.array(found)


def rand_indices(
    points: Points, elements: NDArray[np.int64], assigned: Assignments, seed: int = 0
) -> NDArray[np.float64]:
    """Return how k-means clusters, as many as there are groups, agree with each assignment of elements to groups.

    The adjusted Rand index is 1 where they are the same and 0 on average where clusters are drawn at random: L. Hubert, P. Arabie,
    J. Classif. 2, 193 (1985).

    Parameters
    ----------
    points, elements, assigned
        As for :func:`silhouettes`.
    seed
        Of the centres that k-means begins with, ten times.
    """
    from sklearn.cluster import KMeans

    n_groups = int(assigned[0].max()) + 1
    clusters = KMeans(n_groups, n_init=10, random_state=seed).fit_predict(points)
    counts = np.zeros((n_groups, assigned.shape[1]))
    np.add.at(counts, (clusters, elements), 1)  # points of each element in each cluster
    tables = counts @ np.eye(n_groups)[assigned]  # (permutations + 1, clusters, groups)
    together = _pairs(tables).sum(axis=(1, 2))
    in_cluster, in_group = _pairs(counts.sum(axis=1)).sum(), _pairs(tables.sum(axis=1)).sum(axis=1)
    expected = in_cluster * in_group / _pairs(np.array(len(points)))
    return np.asarray((together - expected) / ((in_cluster + in_group) / 2 - expected))


Measure = Literal["silhouette", "rand"]
MEASURES: Mapping[Measure, str] = {"silhouette": "silhouette", "rand": "adjusted Rand index"}
"""Scores, as results name them and as people do."""


def measured(points: Points, elements: NDArray[np.int64], assigned: Assignments) -> dict[Measure, NDArray[np.float64]]:
    """Return each of :data:`MEASURES`, for each assignment."""
    return {
        "silhouette": silhouettes(points, elements, assigned),
        "rand": rand_indices(points, elements, assigned),
    }


def against_null(scores: NDArray[np.float64]) -> Null:
    """Compare a score with its null distribution.

    Parameters
    ----------
    scores
        ``(permutations + 1,)``, that of the true groups first; of several seeds, their mean.
    """
    value, null = scores[0], scores[1:]
    as_high = np.count_nonzero(null >= value - 1e-12)  # equal but for rounding is as high
    p = (1 + as_high) / len(scores)
    return Null(float(value), float(null.mean()), float(np.quantile(null, 0.95)), float(p))


def projected(points: Points) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return the first two principal components of points, ``(points, 2)``, and the share of the variance that each explains."""
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full").fit(points)  # signs are fixed: the largest coefficient is positive
    first, second = pca.explained_variance_ratio_
    return pca.transform(points), (float(first), float(second))


def _pairs(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts * (counts - 1) / 2


def _distances(points: Points) -> NDArray[np.float64]:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(points, points))
