"""The whole work: graphs from the dataset, geometries in parts, one file at the end; going on where it was stopped."""

import gzip
import math
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from generation.parts import PROPOSALS, Part
from generation.pool import Pool, read_pool
from generation.proposals import Proposals
from mlipq.errors import IncompleteError, InputError
from mlipq.hub import open_dataset
from mlipq.labeling.clusters.local import local_cluster
from mlipq.labeling.folder import differences
from mlipq.labeling.health import RunWatcher
from mlipq.labeling.runner import Report, run_on_cluster, run_serially
from mlipq.store import Dataset, commit_json, committing, strict_json

EXPECTED_YIELD = 0.9
"""Share of proposals that become molecules, until it is known."""

OnProgress = Callable[[str, int, int], None]
"""Told what is gone through, how many are done, and of how many, as far as is known."""
Run = Callable[[Sequence[Part], Report], None]


@dataclass(frozen=True)
class Generation:
    """What to make.

    Parameters
    ----------
    dataset
        Name, folder or manifest of the dataset whose molecules are changed.
    split, test
        As for :func:`generation.pool.read_pool`.
    output
        The file to write: ``.extxyz`` or ``.extxyz.gz``.
    number
        How many molecules.
    seed
        Of all random choices.
    steps
        Of relaxation.
    """

    dataset: str
    split: str | None
    test: str
    output: Path
    number: int
    seed: int
    steps: int

    @property
    def report_file(self) -> Path:
        """Says how the output was made."""
        return self.output.with_name(f"{self.output.name}.json")

    @property
    def parts_folder(self) -> Path:
        """Holds what is done until all is."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def settings_file(self) -> Path:
        return self.parts_folder / "settings.json"

    def settings(self, dataset: Dataset) -> dict[str, Any]:
        """Everything that a part depends on, the software included."""
        chosen = {key: value for key, value in asdict(self).items() if key in ("split", "test", "seed", "steps")}
        versions = {name: version(name) for name in ("mlipq", "rdkit", "tblite", "numpy", "ase")}
        return {**chosen, "dataset": dataset.sha256, "versions": versions}


def generate(
    wanted: Generation, workers: int, progress: OnProgress = lambda doing, done, total: None
) -> dict[str, Any]:
    """Make new molecules, or go on with it.

    Parameters
    ----------
    wanted
        What to make.
    workers
        Processes; with one the work is done in this one.
    progress
        Told of the structures read, then of the geometries tried.

    Returns
    -------
    dict
        The report, as it stands beside the output; ``did_nothing`` where it was there already.

    Raises
    ------
    InputError
        If the dataset cannot be used, or the output is there and was made otherwise.
    IncompleteError
        If the work was interrupted or a part could not be made; the same command goes on.
    """
    dataset = _whole(wanted.dataset)
    settings = wanted.settings(dataset)
    earlier = _earlier(wanted, settings)
    if earlier is not None:
        shutil.rmtree(wanted.parts_folder, ignore_errors=True)  # of a run that was killed at its very end
        return {**earlier, "did_nothing": True}
    _require_same_parts(wanted, settings)
    pool = read_pool(dataset, wanted.split, wanted.test, lambda done, total: progress("structures", done, total))
    _prepare_folder(wanted, settings)
    proposals = Proposals(pool, wanted.seed)
    with _running(workers) as run:
        parts = _make_parts(wanted, proposals, run, progress)
    report = _report(wanted, settings, pool, proposals, parts)
    commit_json(wanted.report_file, report)  # first: an output without it is taken for another's
    _write(wanted.output, islice((frame for part in parts for frame in part.result().frames), wanted.number))
    shutil.rmtree(wanted.parts_folder, ignore_errors=True)
    return {**report, "did_nothing": False}


def _whole(where: str) -> Dataset:
    """Open a dataset of which no shard is missing: its test molecules could be in that one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is an error here
        dataset = open_dataset(where)
    if dataset.missing:
        raise InputError(f"{where} was pulled in part; pull the rest first:  mlipq data pull {where}")
    return dataset


def _earlier(wanted: Generation, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the report of an earlier run that made the same, ``None`` where nothing was made yet."""
    if not wanted.output.name.endswith((".extxyz", ".extxyz.gz")):
        raise InputError(
            f"{wanted.output}: the output is a file of extended XYZ; let its name end in .extxyz.gz or .extxyz"
        )
    if not wanted.output.exists():
        return None
    try:
        report = strict_json.loads(wanted.report_file.read_bytes())
        found = differences({**report["settings"], "number": report["number"]}, {**settings, "number": wanted.number})
    except (OSError, ValueError, KeyError, TypeError):
        found = [f"{wanted.report_file.name}: not there, or damaged"]
    if found:
        raise InputError(
            "\n  ".join([f"{wanted.output} is there already, and was made otherwise:", *found])
            + "\nName another with -o"
        )
    return report


def _require_same_parts(wanted: Generation, settings: dict[str, Any]) -> None:
    """Refuse parts of another run, which a killed one may have left."""
    try:
        found = differences(strict_json.loads(wanted.settings_file.read_bytes()), settings)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        found = [f"{wanted.settings_file.name}: damaged"]
    if found:
        told = "\n  ".join([f"{wanted.parts_folder} has parts of another run:", *found])
        raise InputError(f"{told}\nGo on with that one, remove the folder, or name another output with -o")


def _prepare_folder(wanted: Generation, settings: dict[str, Any]) -> None:
    try:
        wanted.parts_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{wanted.parts_folder} cannot be made: {error.strerror}; name another output with -o"
        ) from None
    commit_json(wanted.settings_file, settings)


def _make_parts(wanted: Generation, proposals: Proposals, run: Run, progress: OnProgress) -> list[Part]:
    """Make parts until they have as many molecules as are wanted, or the pool has no more to give."""
    parts: list[Part] = []
    made = tried = 0
    while made < wanted.number:
        share = max(made, 1) / tried if tried else EXPECTED_YIELD
        more = _planned(wanted, proposals, len(parts), math.ceil((wanted.number - made) / share / PROPOSALS), progress)
        if not more:
            break
        done = tried + sum(len(part.proposals) for part in more if part.done())
        tried += sum(len(part.proposals) for part in more)

        def report(message: dict[str, Any], total: int = tried) -> None:
            nonlocal done
            done += message["done"]
            progress("geometries", done, total)

        run(more, report)
        made += sum(len(part.result().frames) for part in more)
        parts += more
    return parts


def _planned(wanted: Generation, proposals: Proposals, first: int, count: int, progress: OnProgress) -> list[Part]:
    """Return up to ``count`` further parts, with their graphs."""
    folder = wanted.parts_folder.resolve()
    parts: list[Part] = []
    while len(parts) < count and (batch := tuple(islice(proposals, PROPOSALS))):
        parts.append(Part(folder, first + len(parts), batch, wanted.seed, wanted.steps))
        progress("graphs", len(parts) * PROPOSALS, count * PROPOSALS)
    return parts


@contextmanager
def _running(workers: int) -> Iterator[Run]:
    """What runs tasks: this process, or others on this machine."""
    try:
        if workers == 1:
            yield lambda parts, report: _finish(run_serially(parts, report))
        else:
            with local_cluster(workers) as cluster:
                yield lambda parts, report: _finish(run_on_cluster(parts, cluster, _Told(report)))
    except KeyboardInterrupt:
        raise IncompleteError("interrupted; the same command goes on from here") from None


class _Told(RunWatcher):
    """Hands on what parts report."""

    def __init__(self, report: Report) -> None:
        self.progress = report  # type: ignore[method-assign]


def _finish(outcomes: Iterator[tuple[Any, Any]]) -> None:
    for part, outcome in outcomes:
        if isinstance(outcome, Exception):
            raise IncompleteError(f"{part.id} was not made: {outcome}\nRun the same command again to go on")


def _write(path: Path, frames: Iterator[str]) -> None:
    with committing(path) as file:
        lines = (frame.encode() for frame in frames)
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.writelines(lines)
        else:
            file.writelines(lines)


def _report(
    wanted: Generation, settings: dict[str, Any], pool: Pool, proposals: Proposals, parts: list[Part]
) -> dict[str, Any]:
    made, lost = 0, Counter[str]()
    for result in (part.result() for part in parts):
        made += len(result.frames)
        lost.update(result.lost)
    return {
        "settings": settings,
        "number": wanted.number,
        "molecules": min(made, wanted.number),
        "dataset": dict(sorted(pool.counts.items())),
        "attempts": dict(sorted(proposals.counts.items())),
        "geometries": {"made": made, **dict(sorted(lost.items()))},
    }
