"""A look at the metals of a dataset through the eyes of several encoders: how well their features sort them, and against what null."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

import mlipq
from mlipq.bench.latent.clustering import against_null, assignments, measured, projected, standardised
from mlipq.bench.latent.complexes import find_complexes
from mlipq.bench.latent.encoders import Encoder
from mlipq.bench.latent.periodic import GROUPINGS
from mlipq.bench.latent.results import EncoderRecord, Metals, Score
from mlipq.bench.latent.suite import MetalsSuite
from mlipq.hub import open_dataset
from mlipq.structures import identity_hex

Progress = Callable[[str, int, int], None]
"""Called with an encoder, how many sets of features are done, and how many there are."""

_PACKAGES = ("torch", "numpy", "scikit-learn", "scipy")


def look(
    suite: MetalsSuite,
    encoders: Sequence[Encoder],
    follows_from: str,
    progress: Progress = lambda what, done, total: None,
) -> Metals:
    """Measure how well features of metal atoms sort complexes by the place of the metal in the periodic table.

    All encoders see the same complexes: those that have no element that one of them does not know.

    Parameters
    ----------
    suite
        Names the complexes.
    encoders
        What to compare.
    follows_from
        Hash of whatever decides what is found.
    progress
        Hears of each set of features.

    Raises
    ------
    InputError
        If there is no such dataset or part, or no complexes of three metals.
    """
    where = suite.metals
    opened = open_dataset(where.dataset)
    part = opened.select(split=where.name)
    complexes = find_complexes(part, frozenset.intersection(*(encoder.elements for encoder in encoders)))
    d_electrons = complexes.d_electrons()
    total, records = sum(len(encoder.seeds) for encoder in encoders), list[EncoderRecord]()
    for encoder in encoders:
        points: list[NDArray[np.float64]] = []
        for seed in encoder.seeds:
            progress(encoder.name, sum(len(record.seeds) for record in records) + len(points), total)
            points.append(standardised(complexes.pooled(encoder.with_seed(seed))))
        records.append(_record(encoder, points, scores(points, complexes.metals, suite.permutations)))
    return Metals(
        suite=suite.name,
        title=suite.title,
        follows_from=follows_from,
        dataset=(opened.manifest.ref if opened.manifest else "") or where.dataset,
        dataset_sha256=opened.sha256,
        part=where.name,
        left_out=len(part) - len(complexes.rows),
        identities=[identity_hex(words) for words in part.batch(complexes.rows, ["identity"])["identity"]],
        metals=[chemical_symbols[z] for z in complexes.metals],
        d_electrons=d_electrons.round(3).tolist(),
        permutations=suite.permutations,
        encoders=records,
        versions={"mlipq": mlipq.__version__, **{name: version(name) for name in _PACKAGES}},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def scores(points: Sequence[NDArray[np.float64]], metals: NDArray[np.int64], permutations: int) -> list[Score]:
    """Return every score of some sets of features: by each way to sort the metals that puts them into two groups or more.

    Parameters
    ----------
    points
        Of each seed, ``(complexes, features)``.
    metals
        Atomic number of the metal of each complex.
    permutations
        How often groups are dealt anew among the metals; the same deals for all seeds, so that their mean has a null of its own.
    """
    numbers, elements = np.unique(metals, return_inverse=True)
    found = []
    for grouping, place in GROUPINGS.items():
        groups = [place[z] for z in numbers.tolist()]
        if len(set(groups)) < 2:
            continue
        assigned = assignments(groups, permutations)
        by_seed = [measured(own, elements, assigned) for own in points]
        for measure in by_seed[0]:
            each = np.array([own[measure] for own in by_seed])  # (seeds, permutations + 1)
            null = against_null(each.mean(axis=0))
            found.append(
                Score(
                    grouping=grouping,
                    measure=measure,
                    values=each[:, 0].round(4).tolist(),
                    null_mean=round(null.mean, 4),
                    null_high=round(null.high, 4),
                    p=null.p,
                )
            )
    return found


def _record(encoder: Encoder, points: Sequence[NDArray[np.float64]], scores: list[Score]) -> EncoderRecord:
    plane, explained = projected(points[0])
    results = encoder.results
    return EncoderRecord(
        name=encoder.name,
        suite=encoder.suite,
        mode=results[0].mode if results else "",
        what=encoder.what,
        trained_on=results[0].n["train"] if results else 0,
        seeds=list(encoder.seeds),
        maes=[result.mae for result in results],
        unit=results[0].unit if results else "",
        scores=scores,
        explained=explained,
        points=[(x, y) for x, y in plane.round(2).tolist()],
    )
