"""The output folder of a labeling job: what lies where, and what is done, from the files alone."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

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


class PlannedPartition(BaseModel):
    """One packed input partition."""

    model_config = ConfigDict(extra="forbid")

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
        return self.shards / f"part-{index:05d}.json"

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
        """Read the plan.

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
        try:
            return Plan.model_validate_json(self.plan_file.read_bytes())
        except ValidationError as error:
            raise CheckError(
                f"{self.plan_file}: damaged ({error.error_count()} problems, first: {error.errors()[0]['msg']})"
            ) from None

    def sidecar(self, index: int) -> Sidecar | None:
        """Return the sidecar of a partition that is done, else ``None``: shard and sidecar exist and the size agrees."""
        try:
            data = self.sidecar_file(index).read_bytes()
            strict_json.loads(data)
            sidecar = Sidecar.model_validate_json(data)
            agrees = (self.shards / sidecar.file).stat().st_size == sidecar.bytes
        except (OSError, ValueError):  # ValidationError is one
            return None
        return sidecar if agrees else None

    def missing(self, plan: Plan) -> list[int]:
        """Partitions that are not done."""
        return [partition.index for partition in plan.partitions if self.sidecar(partition.index) is None]

    def sidecars(self, plan: Plan) -> Iterator[Sidecar]:
        """The sidecars of all partitions that are done, in order."""
        for partition in plan.partitions:
            sidecar = self.sidecar(partition.index)
            if sidecar is not None:
                yield sidecar


def plan_digest(plan: Plan) -> dict[str, Any]:
    """What two plans must share to be the same one: settings and the content of the inputs, not their dates."""
    return {
        "settings": plan.settings,
        "inputs": {entry.source_file: entry.sha256 for entry in plan.inputs},
    }


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
