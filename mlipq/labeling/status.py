"""How far a job is, from its files alone, wherever and by whatever it is run."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mlipq.labeling.finish import is_finished
from mlipq.labeling.folder import OutputFolder


@dataclass(frozen=True)
class Status:
    """What is done, missing and failed."""

    partitions: int
    done: int
    missing: list[int]
    structures: int
    labelled: int
    failed: dict[str, int]
    """Structures without labels by class of failure, those refused in reading included."""
    bytes: int
    """Of the shards."""
    core_seconds: float
    """Spent in labeling."""
    core_seconds_left: float
    """Predicted for what is missing, at the speed so far."""
    finished: bool
    """True where the manifest describes the shards that are there."""


def status_of(folder: OutputFolder) -> Status:
    """Read how far a job is; each file is read once.

    Raises
    ------
    InputError
        If nothing was planned there.
    CheckError
        If the plan is damaged.
    """
    plan = folder.plan()
    missing = {partition.index: partition.seconds for partition in plan.partitions}
    failed = _refused(folder.rejected_file)
    shards: dict[str, str] = {}
    labelled = size = 0
    spent = predicted = 0.0
    for sidecar in folder.sidecars(plan):
        predicted += missing.pop(sidecar.index)
        spent += sidecar.seconds
        labelled += sidecar.n_structures
        failed.update(failure.error for failure in sidecar.failures)
        size += sidecar.bytes
        shards[sidecar.file] = sidecar.sha256
    return Status(
        partitions=len(plan.partitions),
        done=len(shards),
        missing=list(missing),
        structures=plan.n_structures,
        labelled=labelled,
        failed=dict(sorted(failed.items())),
        bytes=size,
        core_seconds=spent,
        core_seconds_left=sum(missing.values()) * (spent / predicted if predicted else 1.0),
        finished=is_finished(folder, plan, shards),
    )


def _refused(ledger: Path) -> Counter[str]:
    """Count what reading refused, by class."""
    with ledger.open(encoding="utf-8") as file:
        return Counter(json.loads(line)["error"] for line in file)
