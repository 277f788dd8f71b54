"""The output folder of a labeling job: what lies where, and what is done, from the files alone."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from mlipq.errors import CheckError, InputError
from mlipq.store import strict_json
from mlipq.store.commit import TEMPORARY_PREFIX
from mlipq.store.failures import FAILURES, Failure
from mlipq.store.holding import holding

SUFFIX = {"zarr": ".zarr.zip", "h5": ".h5"}


class Duplicate(BaseModel):
    """A structure that was met again: left out, and a conflict where its reference labels differ from the first's."""

    model_config = ConfigDict(extra="forbid")

    identity: str
    source_file: str
    source_index: int
    first_source_file: str
    first_source_index: int
    conflict: str


class PlannedInput(BaseModel):
    """One input as it was when planned."""

    model_config = ConfigDict(extra="forbid")

    source_file: str
    bytes: int
    mtime_ns: int
    sha256: str


@checked_dataclass(slots=True, frozen=True, config=ConfigDict(extra="forbid"))
class PlannedPartition:
    """One packed input partition; a third of a model's memory, as every worker holds all of them."""

    index: int
    n_structures: int
    n_atoms: int
    seconds: float
    sha256: str


class Plan(BaseModel):
    """What ``plan.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = 1
    settings: dict[str, Any]
    versions: dict[str, str]
    inputs: list[PlannedInput]
    partitions: list[PlannedPartition]
    counts: dict[str, int]
    unmapped: list[str]
    """Fields that look like labels and were not mapped."""
    unread: list[str]
    """Fields that look like charge or spin, where defaults were taken beside them."""

    @property
    def n_structures(self) -> int:
        """Structures to be labelled."""
        return sum(partition.n_structures for partition in self.partitions)

    @property
    def seconds(self) -> float:
        """Predicted single-point seconds of one core of the reference machine."""
        return sum(partition.seconds for partition in self.partitions)


class Sidecar(BaseModel):
    """What stands beside a shard when its partition is done: ``part-NNNNN.json``."""

    model_config = ConfigDict(extra="forbid")

    index: int
    file: str
    bytes: int
    sha256: str
    n_structures: int
    n_atoms: int
    failures: list[Failure]
    seconds: float
    """Spent in labeling single structures."""
    blas: str


@dataclass(frozen=True)
class OutputFolder:
    """Paths inside the output folder of a labeling job."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "plan.json"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def shards(self) -> Path:
        return self.path / "shards"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def manifest_file(self) -> Path:
        return self.path / "manifest.json"

    @property
    def failures_file(self) -> Path:
        return self.path / FAILURES

    @property
    def rejected_file(self) -> Path:
        """Structures that reading refused, in the form of the failure ledger."""
        return self.inputs / "rejected.jsonl"

    @property
    def duplicates_file(self) -> Path:
        return self.inputs / "duplicates.jsonl"

    def packed_input(self, index: int) -> Path:
        return self.inputs / f"part-{index:05d}.zarr.zip"

    def sidecar_file(self, index: int) -> Path:
        return self.shards / _sidecar_name(index)

    def shard_file(self, index: int, form: str) -> Path:
        return self.shards / f"part-{index:05d}{SUFFIX[form]}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one planner or finisher at a time."""
        with holding(self.path):
            yield

    def clear_temporaries(self) -> None:
        """Remove what killed writers left behind; hold the folder, and have all partitions done: no writer is alive."""
        for folder in (self.path, self.shards):
            for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def plan(self) -> Plan:
        """Read the plan; one that this process has read before is not read again while the file is the same.

        Returns
        -------
        Plan
            Shared by all who ask: not to be changed.

        Raises
        ------
        InputError
            If nothing was planned here.
        CheckError
            If ``plan.json`` is damaged.
        """
        if not self.plan_file.is_file():
            raise InputError(
                f"{self.path}: no plan.json here; begin with: mlipq label FILES -o {self.path}  (or mlipq plan)"
            )
        status = self.plan_file.stat()
        return _read_plan(self.plan_file, status.st_ino, status.st_size, status.st_mtime_ns)

    def sidecar(self, index: int) -> Sidecar | None:
        """Return the sidecar of a partition that is done, else ``None``: shard and sidecar exist and the size agrees."""
        return _sidecar(str(self.shards), index)

    def missing(self, plan: Plan) -> list[int]:
        """Partitions that are not done."""
        done = {sidecar.index for sidecar in self.sidecars(plan)}
        return [partition.index for partition in plan.partitions if partition.index not in done]

    def sidecars(self, plan: Plan) -> Iterator[Sidecar]:
        """The sidecars of all partitions that are done, in order."""
        folder = str(self.shards)
        try:
            there = {entry.name for entry in os.scandir(folder)}  # to ask for each is slow on a network file system
        except OSError:
            return
        for partition in plan.partitions:
            if _sidecar_name(partition.index) in there and (sidecar := _sidecar(folder, partition.index)) is not None:
                yield sidecar


@lru_cache(maxsize=1)
def _read_plan(path: Path, inode: int, size: int, modified: int) -> Plan:
    """Read a plan; what tells whether the file has changed is for the cache alone."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckError(
            f"{path}: damaged ({error.error_count()} problems, first: {error.errors()[0]['msg']})"
        ) from None


def _sidecar_name(index: int) -> str:
    return f"part-{index:05d}.json"


def _sidecar(folder: str, index: int) -> Sidecar | None:
    """Read a sidecar whose shard is there; by plain strings, as Path would take half of the time, and a job has 100,000."""
    try:
        with open(f"{folder}/{_sidecar_name(index)}", "rb", buffering=0) as file:
            data = file.read()
        strict_json.loads(data)
        sidecar = Sidecar.model_validate_json(data)
        size = os.stat(f"{folder}/{sidecar.file}").st_size  # noqa: PTH116 - see above
    except (OSError, ValueError):  # ValidationError is one
        return None
    return sidecar if (sidecar.index, sidecar.bytes) == (index, size) else None


def plan_digest(plan: Plan) -> dict[str, Any]:
    """What two plans must share to be the same one: settings and the content of the inputs, not their dates."""
    return {
        "settings": plan.settings,
        "inputs": {entry.source_file: entry.sha256 for entry in plan.inputs},
    }


def plan_sha256(plan: Plan) -> str:
    """Return the SHA-256 of what :func:`plan_digest` has: manifests name the plan by it."""
    return hashlib.sha256(json.dumps(plan_digest(plan), sort_keys=True).encode()).hexdigest()


def differences(planned: Any, wanted: Any, key: str = "") -> list[str]:
    """List the leaves in which two nested dicts differ, each as ``key: planned → wanted``."""
    if isinstance(planned, dict) and isinstance(wanted, dict):
        keys = sorted({*planned, *wanted})
        return [
            line
            for name in keys
            for line in differences(planned.get(name), wanted.get(name), f"{key}.{name}" if key else str(name))
        ]
    if planned == wanted:
        return []
    return [f"{key}: planned {_shown(planned)}, now {_shown(wanted)}"]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) < 60 else f"{text[:12]}…{text[-6:]}"
