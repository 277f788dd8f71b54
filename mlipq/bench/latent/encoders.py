"""Encoders: what turns atoms into features. Trained models of suites, one that was not trained, and one that sees the element alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mlipq.bench.latent.complexes import Arrays
from mlipq.bench.latent.results import ELEMENT_ONLY, UNTRAINED
from mlipq.bench.modes import find_mode
from mlipq.bench.plan import RUNS
from mlipq.bench.results import Result, read_results, read_suite_record
from mlipq.training.architecture import HeadConfig
from mlipq.training.config import ModelSettings
from mlipq.training.inference.predictor import Predictor
from mlipq.training.models.layers import N_ELEMENTS
from mlipq.training.models.potential import Potential
from mlipq.training.saved.model import SavedModel, load_model


@dataclass(frozen=True)
class Encoder:
    """Features of atoms, once for each seed.

    Attributes
    ----------
    name, what
        As results have them.
    seeds
        Of the weights.
    embed
        From a seed and arrays of some structures to ``(atoms, features)``.
    elements
        Atomic numbers that it knows, whatever the seed.
    suite, results
        Of a trained one: the suite, and the results of its runs, a seed each.
    """

    name: str
    what: str
    seeds: Sequence[int]
    embed: Callable[[int, Arrays], NDArray]
    elements: frozenset[int] = frozenset(range(1, N_ELEMENTS))
    suite: str = ""
    results: Sequence[Result] = ()

    def with_seed(self, seed: int) -> Callable[[Arrays], NDArray]:
        """Return the encoder of one seed."""
        return partial(self.embed, seed)


def element_only(channels: int, seeds: Sequence[int]) -> Encoder:
    """Return the encoder that knows of an atom which element it is, and nothing of elements: random numbers for each."""

    def embed(seed: int, arrays: Arrays) -> NDArray:
        table = np.random.default_rng(seed).normal(size=(N_ELEMENTS, channels))
        return np.asarray(table[arrays["atomic_numbers"]])

    return Encoder(ELEMENT_ONLY, "random numbers for each element, whatever is around the atom", seeds, embed)


def untrained(model: ModelSettings, seeds: Sequence[int]) -> Encoder:
    """Return the encoder that is a model with the weights that training starts from."""

    def embed(seed: int, arrays: Arrays) -> NDArray:
        torch.manual_seed(seed)
        potential = Potential(model.build({"energy": HeadConfig(kind="energy")}, ()))
        return Predictor(SavedModel(potential, {})).embeddings(arrays)

    return Encoder(UNTRAINED, "a model with weights by chance, as training starts from", seeds, embed)


def trained(suite: str, folder: Path) -> Iterator[Encoder]:
    """Yield an encoder for each mode of a finished suite: the models of its largest size.

    Parameters
    ----------
    suite
        Its name, which those of the encoders begin with.
    folder
        Where it ran.

    Raises
    ------
    InputError
        If there are no results, or no models of them.
    """
    record, results = read_suite_record(folder), read_results(folder)
    for mode in record.modes:
        own = [result for result in results if (result.mode, result.size) == (mode, max(record.sizes))]
        models = {result.seed: partial(_measured, folder, result) for result in own}
        known = [set(read().elements(()).tolist()) for read in models.values()]
        yield Encoder(
            f"{suite} {mode}",
            f"{record.title}: {find_mode(mode).what}",
            list(models),
            partial(_embed, models),
            frozenset(set.intersection(*known)),
            suite,
            own,
        )


def _measured(folder: Path, result: Result) -> Predictor:
    """Read the model whose test errors a result has."""
    return Predictor(load_model(folder / RUNS / result.id, result.weights))


def _embed(models: Mapping[int, Callable[[], Predictor]], seed: int, arrays: Arrays) -> NDArray:
    return models[seed]().embeddings(arrays)
