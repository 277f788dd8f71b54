"""What is told of a look at metals: scores beside their nulls, and what learning charges adds, from the JSON alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlipq.bench.latent.clustering import Measure
from mlipq.bench.latent.periodic import Grouping
from mlipq.bench.latent.results import EncoderRecord, Metals
from mlipq.bench.statistics import Estimate, holm


@dataclass(frozen=True)
class ScoreRow:
    """How well one encoder sorts the metals, by one grouping and one measure.

    Attributes
    ----------
    encoder, grouping, measure
        Which.
    value
        Mean over the seeds, the least and the largest of which are ``least`` and ``largest``.
    null_mean, null_high
        Of metals whose groups are dealt anew: mean and 95th percentile.
    p, p_holm
        Share of such deals that score as high, the true one among them; corrected for the number of encoders.
    gain
        ``value`` less that of the first mode of the same suite, with the 95 % interval over seeds; ``None`` for that mode itself.
    """

    encoder: str
    grouping: Grouping
    measure: Measure
    value: float
    least: float
    largest: float
    null_mean: float
    null_high: float
    p: float
    p_holm: float
    gain: Estimate | None


def score_rows(metals: Metals) -> list[ScoreRow]:
    """Return all scores: by grouping and measure, and of each the encoders in their order."""
    return [row for score in metals.encoders[0].scores for row in _rows(metals, *score.kind)]


def _rows(metals: Metals, grouping: Grouping, measure: Measure) -> list[ScoreRow]:
    scores = [encoder.score(grouping, measure) for encoder in metals.encoders]
    corrected = holm([score.p for score in scores])
    return [
        ScoreRow(
            encoder=encoder.name,
            grouping=grouping,
            measure=measure,
            value=float(np.mean(score.values)),
            least=min(score.values),
            largest=max(score.values),
            null_mean=score.null_mean,
            null_high=score.null_high,
            p=score.p,
            p_holm=p_holm,
            gain=_gain(metals, encoder, grouping, measure),
        )
        for encoder, score, p_holm in zip(metals.encoders, scores, corrected, strict=True)
    ]


def _gain(metals: Metals, encoder: EncoderRecord, grouping: Grouping, measure: Measure) -> Estimate | None:
    first = next(other for other in metals.encoders if other.suite == encoder.suite)
    if first is encoder or not encoder.suite:
        return None
    before, after = (dict(zip(one.seeds, one.score(grouping, measure).values, strict=True)) for one in (first, encoder))
    return _mean([after[seed] - before[seed] for seed in sorted(before.keys() & after.keys())])


def _mean(differences: Sequence[float]) -> Estimate | None:
    """Return the mean of some paired differences, with Student's interval and test; of a single one, itself."""
    from scipy import stats

    if np.ptp(differences or [0.0]) == 0:  # nothing to tell a spread from
        return Estimate(differences[0]) if differences else None
    found = stats.ttest_1samp(differences, 0.0)
    low, high = found.confidence_interval(0.95)
    return Estimate(float(np.mean(differences)), float(low), float(high), float(found.pvalue))
