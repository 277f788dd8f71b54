"""Label one packed partition and commit it: the unit of work, on one core, of every way to run a job."""

import time
from collections.abc import Iterable, Set
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlipq.errors import CheckError, InputError, LabelError, WorkerError
from mlipq.labeling.child import Labeler, LabelingChild, Labelled, worker_child
from mlipq.labeling.folder import OutputFolder, Plan, Sidecar, differences
from mlipq.labeling.job import LABELERS, LabelerSettings, Limits
from mlipq.labeling.runner import Report
from mlipq.process import Arrays
from mlipq.schema import ArraySpec
from mlipq.store import Table, commit_json, read_shard, sha256_file, structure_at, write_shard
from mlipq.store.failures import Failure
from mlipq.structures.structure import Structure, identity_hex

REPORT_SECONDS = 1.0

Outcome = Arrays | Failure
"""What became of a structure: its share of the shard's new arrays, or its row of the failure ledger."""


@dataclass
class Progress:
    """Counts since the last report."""

    report: Report
    labeler: Labeler
    since: float = field(default_factory=time.monotonic)
    structures: int = 0
    atoms: int = 0
    failed: int = 0
    cost: float = 0.0

    def add(self, structure: Structure, outcome: Outcome) -> None:
        """Count one structure; report when it is time."""
        self.structures += 1
        self.atoms += len(structure)
        self.failed += isinstance(outcome, Failure)
        self.cost += self.labeler.cost(structure.numbers)
        if time.monotonic() - self.since > REPORT_SECONDS:
            self.send()

    def send(self) -> None:
        """Report, and count anew."""
        self.report({"structures": self.structures, "atoms": self.atoms, "failed": self.failed, "cost": self.cost})
        self.structures = self.atoms = self.failed = 0
        self.cost, self.since = 0.0, time.monotonic()


def label_partition(
    folder: OutputFolder,
    plan: Plan,
    index: int,
    child: LabelingChild,
    retry: Iterable[str] = (),
    report: Report = lambda _: None,
) -> Sidecar:
    """Label one partition and commit shard and sidecar, in that order.

    Parameters
    ----------
    folder, plan
        Where, and what was planned.
    index
        Number of the partition.
    child
        The labeler.
    retry
        Failure classes to try again; what an earlier run labelled, or failed for another reason, is kept.
    report
        Called about once a second with counts since the last call.

    Returns
    -------
    Sidecar
        Of the shard; the one that was there where the partition was done.
    """
    earlier = folder.sidecar(index)
    retry = set(retry)
    if earlier is not None and is_final(earlier, retry):
        return earlier
    packed = _packed(folder, plan, index)
    structures = {identity_hex(words): structure_at(packed, row) for row, words in enumerate(packed.arrays["identity"])}
    outcomes = _earlier_outcomes(folder, earlier, retry, child.labeler.arrays)
    progress = Progress(report, child.labeler)
    for identity, outcome in outcomes.items():
        progress.add(structures[identity], outcome)
    missing = [identity for identity in structures if identity not in outcomes]
    started = since = time.perf_counter()
    with closing(child.label_all([structures[identity] for identity in missing])) as found:
        for identity, labelled in zip(missing, found, strict=True):
            now = time.perf_counter()
            outcomes[identity] = _outcome(identity, structures[identity], labelled, now - since, child.labeler.arrays)
            progress.add(structures[identity], outcomes[identity])
            since = now
    progress.send()
    spent = (earlier.seconds if earlier is not None else 0.0) + time.perf_counter() - started
    return _commit(folder, plan, index, packed, [outcomes[identity] for identity in structures], spent, child)


def _packed(folder: OutputFolder, plan: Plan, index: int) -> Table:
    path = folder.packed_input(index)
    if path.is_file() and sha256_file(path) != plan.partitions[index].sha256:
        raise CheckError(
            f"{path}: not the file that was planned (its sha256 differs); plan the job anew in another folder"
        )
    return read_shard(path)


def _outcome(
    identity: str, structure: Structure, labelled: Labelled, seconds: float, specs: tuple[ArraySpec, ...]
) -> Outcome:
    if isinstance(labelled, LabelError):
        return Failure(
            identity=identity,
            source_file=structure.source_file,
            source_index=structure.source_index,
            name=structure.name,
            error=labelled.error,
            message=labelled.message,
            attempts=labelled.attempts,
            seconds=round(seconds, 3),
        )
    arrays, quality = labelled
    stored = {spec.name: arrays[spec.name].astype(spec.dtype) for spec in specs}  # lets go of the child's message
    return {**stored, "quality": np.asarray(structure.quality | quality)}


def _earlier_outcomes(
    folder: OutputFolder, earlier: Sidecar | None, retry: set[str], specs: tuple[ArraySpec, ...]
) -> dict[str, Outcome]:
    """What an earlier run has to say of the partition's structures, by identity, but for what is to be tried again."""
    if earlier is None:
        return {}
    kept: dict[str, Outcome] = {f.identity: f for f in earlier.failures if f.error not in retry}
    table = read_shard(folder.shards / earlier.file)
    for row in range(len(table)):
        kept[identity_hex(table.arrays["identity"][row])] = {
            spec.name: table.arrays[spec.name][table.atoms_of(row) if spec.level == "atom" else row]
            for spec in (*specs, table.specs["quality"])
        }
    return kept


def _commit(
    folder: OutputFolder,
    plan: Plan,
    index: int,
    packed: Table,
    outcomes: list[Outcome],
    spent: float,
    child: LabelingChild,
) -> Sidecar:
    """Write the shard of what was labelled, then its sidecar; ``outcomes`` are in the order of the packed structures."""
    table = packed.take([row for row, outcome in enumerate(outcomes) if not isinstance(outcome, Failure)])
    labelled = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
    for spec in (*child.labeler.arrays, table.specs["quality"]):
        table.arrays[spec.name] = _column(spec, [arrays[spec.name] for arrays in labelled])
        table.specs[spec.name] = spec
    shard = folder.shard_file(index, plan.settings["format"])
    size, digest = write_shard(shard, table, {"labeler": plan.settings["labeler"]})
    sidecar = Sidecar(
        index=index,
        file=shard.name,
        bytes=size,
        sha256=digest,
        n_structures=len(table),
        n_atoms=table.n_atoms,
        failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
        seconds=spent,
        blas=child.blas,
    )
    commit_json(folder.sidecar_file(index), sidecar.model_dump())
    return sidecar


def _column(spec: ArraySpec, parts: list[Any]) -> Any:
    """Stack one label of many structures into the array that a shard stores, in its dtype."""
    if not parts:
        return np.zeros((0, *spec.shape), dtype=spec.dtype)
    stacked = np.concatenate(parts) if spec.level == "atom" else np.stack(parts)
    return stacked.astype(spec.dtype, copy=False)


@dataclass(frozen=True)
class PartitionTask:
    """Labeling one partition, as a task of the runner."""

    path: Path
    index: int
    limits: Limits
    retry: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        return f"partition-{self.index}"

    def done(self) -> bool:
        """True where the shard stands and holds no failure that is to be tried again."""
        sidecar = OutputFolder(self.path).sidecar(self.index)
        return sidecar is not None and is_final(sidecar, self.retry)

    def run(self, report: Report) -> dict[str, Any]:
        """Label it in this process's child."""
        folder = OutputFolder(self.path)
        plan, settings = self._planned(folder)
        child = worker_child(settings, self.limits)
        greeting = child.start()
        sidecar = label_partition(folder, plan, self.index, child, self.retry, report)
        return {"index": self.index, "bytes": sidecar.bytes, "blas": greeting["blas"], "warning": greeting["warning"]}

    def _planned(self, folder: OutputFolder) -> tuple[Plan, LabelerSettings]:
        """Read the plan, which whoever made this task has read before.

        Raises
        ------
        WorkerError
            If it is not there, or the software differs, seen from this machine.
        """
        if not folder.plan_file.is_file():
            raise WorkerError(
                f"{self.path} is not there: the output folder must lie on a file system that all workers share"
            )
        plan = folder.plan()
        try:
            return plan, labeler_settings(folder, plan)
        except InputError as error:
            raise WorkerError(str(error)) from None


def is_final(sidecar: Sidecar, retry: Set[str]) -> bool:
    """True where no structure of a done partition failed for a reason that is to be tried again."""
    return retry.isdisjoint(failure.error for failure in sidecar.failures)


def labeler_settings(folder: OutputFolder, plan: Plan) -> LabelerSettings:
    """Return the planned settings, if the software that is here would give the same labels.

    Raises
    ------
    InputError
        If it would not: another version of the labeler or of the program that it runs.
    """
    planned = plan.settings["labeler"]
    kind = LABELERS.get(planned["name"])
    if kind is None:
        raise InputError(
            f"{folder.path}: planned for the labeler {planned['name']}, which this mlipq does not have; it has {', '.join(LABELERS)}"
        )
    settings = kind(**{key: value for key, value in planned.items() if key in kind.model_fields})
    found = differences(planned, settings.build().settings, "labeler")
    if found:
        raise InputError(
            f"{folder.path}: this software labels otherwise than planned: {'; '.join(found)}. Install what it was planned with, "
            "or begin in another output folder: a dataset must not mix the two"
        )
    return settings
