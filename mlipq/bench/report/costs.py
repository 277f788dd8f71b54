"""What runs cost: labels, training, memory, inference; and what they ran on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlipq.bench.report.collect import Collected
from mlipq.bench.results import Result


@dataclass(frozen=True)
class Cost:
    """What the runs of a mode at a size cost; means over the seeds.

    Attributes
    ----------
    extra
        Structures with xTB labels alone.
    label_core_seconds
        Of all xTB labels that a run learned from; ``None`` where nobody knows.
    seconds
        Of training, with ``threads`` threads.
    pretraining_seconds
        Of the pretraining that a run started from: once a seed, for all sizes.
    peak_memory_mb
        The most of any run.
    inference_ms
        For one structure.
    parameters
        At inference.
    """

    mode: str
    size: int
    seeds: list[int]
    extra: int
    label_core_seconds: float | None
    steps: int
    seconds: float
    pretraining_seconds: float
    threads: int
    peak_memory_mb: float
    inference_ms: float
    parameters: int


@dataclass(frozen=True)
class Draw:
    """Which structures a seed drew at a size: SHA-256 of their identities, and how many."""

    size: int
    seed: int
    train: str
    n_train: int
    validation: str
    n_validation: int


def costs(suite: Collected) -> list[Cost]:
    """Return what every mode cost at every size."""
    found = []
    for mode in suite.modes:
        for size in suite.sizes:
            seeds = suite.seeds((mode, size))
            if seeds:
                found.append(_cost(mode, size, seeds, suite.runs(mode, size, seeds)))
    return found


def _cost(mode: str, size: int, seeds: list[int], runs: list[Result]) -> Cost:
    def mean(of: Callable[[Result], float]) -> float:
        return float(np.mean([of(run) for run in runs]))

    labels = [run.label_core_seconds for run in runs if run.label_core_seconds is not None]
    return Cost(
        mode=mode,
        size=size,
        seeds=seeds,
        extra=round(mean(lambda run: run.n.get("extra", 0))),
        label_core_seconds=float(np.mean(labels)) if len(labels) == len(runs) else None,
        steps=round(mean(lambda run: run.steps)),
        seconds=mean(lambda run: run.seconds),
        pretraining_seconds=mean(lambda run: run.pretraining_seconds),
        threads=max(run.threads for run in runs),
        peak_memory_mb=max(run.peak_memory_mb for run in runs),
        inference_ms=mean(lambda run: run.inference_ms_per_structure),
        parameters=max(run.parameters_packaged for run in runs),
    )


def draws(suite: Collected) -> list[Draw]:
    """Return what each seed drew at each size: the same for all modes, as :func:`~mlipq.bench.report.collect.collect` made sure."""
    first: dict[tuple[int, int], Result] = {}
    for (_, size, seed), result in suite.results.items():
        first.setdefault((size, seed), result)
    return [
        Draw(
            size=size,
            seed=seed,
            train=run.splits.get("train", ""),
            n_train=run.n.get("train", 0),
            validation=run.splits.get("validation", ""),
            n_validation=run.n.get("validation", 0),
        )
        for (size, seed), run in sorted(first.items())
    ]


def machines(suite: Collected) -> list[str]:
    """Return the machines that runs were on, with their numbers of threads."""
    return sorted({f"{run.hardware}, {run.threads} thread{'s' * (run.threads != 1)}" for run in suite.results.values()})


def software(suite: Collected) -> dict[str, list[str]]:
    """Return the versions that runs were made with, by package."""
    found: dict[str, set[str]] = {}
    for run in suite.results.values():
        for name, version in run.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}
