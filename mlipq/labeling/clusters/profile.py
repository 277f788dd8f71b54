"""A cluster profile as data: what its YAML may say, checked before anything is submitted."""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mlipq import resources
from mlipq.errors import InputError
from mlipq.settings import Content, Mistakes, accepted, checked, read_yaml

QUEUES = ("slurm", "pbs", "lsf", "sge", "htcondor", "oar", "moab")
"""Queueing systems that dask-jobqueue submits to."""

_REFUSAL = "this cluster cannot be used"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalProfile(_Record):
    """This machine: one process a core, on the loopback interface."""

    kind: Literal["local"] = "local"


class Adapt(_Record):
    """So many jobs as there is work for, within bounds."""

    minimum: int = Field(default=0, ge=0)
    maximum: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Adapt":
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is more than maximum {self.maximum}")
        return self


class QueueProfile(_Record):
    """Jobs of a queueing system, submitted and replaced by dask-jobqueue."""

    kind: Literal["slurm", "pbs", "lsf", "sge", "htcondor", "oar", "moab"]
    jobs: int | None = Field(default=None, ge=1)
    """So many jobs, as long as there is work for them."""
    adapt: Adapt | None = None
    """In place of ``jobs``: more and fewer, as there is work."""
    options: dict[str, Any] = {}
    """Of dask-jobqueue, in its own names; what is left out comes from the dask configuration."""
    unencrypted: bool = False
    """Do without TLS: whoever reaches the scheduler's port can then run code as this user."""

    @model_validator(mode="after")
    def _scaled(self) -> "QueueProfile":
        if (self.jobs is None) == (self.adapt is None):
            raise ValueError("should say either jobs: 10, or adapt: {minimum: 0, maximum: 10}")
        return self

    @property
    def least_jobs(self) -> int:
        """Jobs that are kept while anything is left to do."""
        return self.adapt.minimum if self.adapt else self.most_jobs

    @property
    def most_jobs(self) -> int:
        """The most jobs at a time."""
        return self.adapt.maximum if self.adapt else self.jobs or 0


class SshProfile(_Record):
    """Hosts that are reached by ssh; Dask's SSHCluster starts the scheduler on the first and workers on the others."""

    kind: Literal["ssh"]
    options: dict[str, Any]
    """Of SSHCluster, in its own names: ``hosts``, ``connect_options``, ``worker_options`` …"""
    unencrypted: bool = False
    """Do without TLS: whoever reaches the scheduler's port can then run code as this user."""

    @field_validator("options")
    @classmethod
    def _hosts(cls, options: dict[str, Any]) -> dict[str, Any]:
        hosts = options.get("hosts")
        if not isinstance(hosts, list) or len(hosts) < 2 or not all(isinstance(host, str) for host in hosts):
            raise ValueError("hosts should be a list: the scheduler's host, then those of the workers")
        return options


class SchedulerProfile(_Record):
    """A Dask scheduler that runs already, started by whoever looks after it."""

    kind: Literal["scheduler"]
    address: str = Field(pattern=r"^(tcp|tls|ws|wss)://.+")
    """As ``tls://host:8786``."""
    options: dict[str, str] = {}
    """Certificates of the client: ``tls_ca_file``, ``tls_client_cert``, ``tls_client_key``; else those of the dask configuration."""


Profile = LocalProfile | QueueProfile | SshProfile | SchedulerProfile
"""Where tasks run."""


_RECORDS: dict[str, type[Profile]] = {
    "local": LocalProfile,
    **dict.fromkeys(QUEUES, QueueProfile),
    "ssh": SshProfile,
    "scheduler": SchedulerProfile,
}


def read_profile(named: str | Path, base: Path = Path()) -> Profile:
    """Read a cluster profile.

    Parameters
    ----------
    named
        A YAML file, or the name of one that comes with mlipq: ``local``, ``slurm`` …
    base
        Folder that a relative path counts from.

    Raises
    ------
    InputError
        If there is no such profile, or a key of it is unknown, missing or out of range.
    """
    if str(named) == "local":
        return LocalProfile()
    path = base / named
    if not path.is_file():
        path = resources.pipelines() / "clusters" / f"{named}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise InputError(f"cluster {named}: neither a file nor a profile that comes with mlipq, which are {there}")
    content = read_yaml(path, "cluster profile", "kind: slurm, jobs: …, options: …")
    kind = content.values.get("kind", "local")
    record = _RECORDS.get(kind) if isinstance(kind, str) else None
    if record is None:
        raise InputError(f"{path}: {_REFUSAL}:\n  kind: should be one of {', '.join(_RECORDS)}, got {kind!r}")
    return accepted(record, content, str(path), _REFUSAL)


def scheduler_at(address: str) -> SchedulerProfile:
    """Return the profile of a running scheduler.

    Raises
    ------
    InputError
        If this is no address of one.
    """
    try:
        return checked(SchedulerProfile, Content({"kind": "scheduler", "address": address}, {}))
    except Mistakes:
        raise InputError(
            f"--scheduler {address}: expected an address such as tls://host:8786 or tcp://127.0.0.1:8786"
        ) from None


def refuse_unknown(whose: str, known: Collection[str], options: Mapping[str, Any]) -> None:
    """Name an option that there is not: Dask would say so in terms of its own code.

    Raises
    ------
    InputError
        With the nearest one that there is.
    """
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"options: {whose} has no option {name}{meant}")
