"""A metals suite from its YAML to ``metals.json``: the suites that train encoders, one after the other, then the look."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlipq.bench.checks import settled_suite
from mlipq.bench.latent.complexes import find_complexes
from mlipq.bench.latent.encoders import Encoder, element_only, trained, untrained
from mlipq.bench.latent.look import look
from mlipq.bench.latent.results import METALS, Metals, read_metals
from mlipq.bench.latent.suite import MetalsSuite
from mlipq.bench.launch import Watcher, run_suite
from mlipq.bench.prepared.selection import TEST
from mlipq.bench.results import write_record
from mlipq.bench.suite import POOL, Suite
from mlipq.errors import IncompleteError, InputError
from mlipq.hub import open_dataset
from mlipq.labeling.clusters import Profile
from mlipq.store import Dataset
from mlipq.training.models.layers import N_ELEMENTS

if TYPE_CHECKING:
    from distributed import Client


def run_metals(
    suite: MetalsSuite,
    folder: str | Path,
    workers: int | None = None,
    client: "Client | None" = None,
    watcher: Watcher | None = None,
    cluster: Profile | None = None,
) -> Metals:
    """Train the encoders that are not there yet, look at the metals with all of them, and write what is found.

    Parameters
    ----------
    suite
        As :func:`~mlipq.bench.latent.suite.read_metals_suite` gives it.
    folder
        Of the results; each suite that trains encoders has a folder in it. Calling again goes on where an earlier call stopped.
    workers, client, watcher, cluster
        As for :func:`~mlipq.bench.launch.run_suite`.

    Raises
    ------
    InputError
        If a dataset, or what is asked of it, cannot be; nothing is trained then.
    IncompleteError
        If it was interrupted, or runs failed.
    """
    watcher, folder = watcher or Watcher(), Path(folder).absolute()
    _refuse_impossible(suite)
    for name, one in suite.suites.items():
        run_suite(one, folder / name, workers, client, watcher, cluster)
    encoders = _encoders(suite, folder)
    follows_from = _sha256(suite, encoders)
    if (folder / METALS).exists() and (found := read_metals(folder)).follows_from == follows_from:
        return found
    try:
        found = look(suite, encoders, follows_from, watcher.preparing)
    except KeyboardInterrupt:
        raise IncompleteError("interrupted while looking at the metals; the same command does that again") from None
    write_record(folder / METALS, found)
    return found


def _encoders(suite: MetalsSuite, folder: Path) -> list[Encoder]:
    """Return those that know least first; the model and the seeds of what is not trained are those of the first suite."""
    first = next(iter(suite.suites.values()))
    own = [encoder for name in suite.suites for encoder in trained(name, folder / name)]
    return [element_only(first.model.channels, first.seeds), untrained(first.model, first.seeds), *own]


def _refuse_impossible(suite: MetalsSuite) -> None:
    """Refuse what cannot be done, before anything is trained."""
    part = open_dataset(suite.metals.dataset).select(split=suite.metals.name)
    find_complexes(part, range(1, N_ELEMENTS))
    complexes = _identities(part)
    for name, one in suite.suites.items():
        settled_suite(one)
        if seen := complexes & _drawn_from(one):
            raise InputError(
                f"metals should be of structures that no encoder learns from; {len(seen):,} of {len(complexes):,} of {suite.metals.name} are "
                f"among those that the suite {name} draws from: take its test part"
            )


def _drawn_from(suite: Suite) -> set[bytes]:
    """Return the identities of all structures that the runs of a suite may learn from."""
    dataset = open_dataset(suite.dataset)
    tested = _identities(dataset.select(split=f"{suite.split}/{TEST}")) if suite.split else set()
    extras = [extra.dataset for extra in suite.extra if suite.needs_extra and extra.dataset != POOL]
    return (_identities(dataset) - tested).union(*(_identities(open_dataset(extra)) for extra in extras))


def _identities(dataset: Dataset) -> set[bytes]:
    return {row.tobytes() for row in np.asarray(dataset["identity"][:])}


def _sha256(suite: MetalsSuite, encoders: Sequence[Encoder]) -> str:
    """Return the hash of all that the look follows from."""
    content = {
        "metals": suite.metals.model_dump(),
        "dataset": open_dataset(suite.metals.dataset).sha256,
        "permutations": suite.permutations,
        "model": next(iter(suite.suites.values())).model.model_dump(),
        "encoders": [
            [encoder.name, list(encoder.seeds), [result.suite_sha256 for result in encoder.results]]
            for encoder in encoders
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
