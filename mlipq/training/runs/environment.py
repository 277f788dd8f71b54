"""What a run was trained with: versions, machine, threads. With the same ones, the same run gives the same weights."""

import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

import mlipq
from mlipq.training.loop.distributed import World

PACKAGES = ("torch", "numpy", "safetensors", "vesin", "ase")


class Environment(BaseModel):
    """One sitting of a run: from ``train`` or ``resume`` until it stopped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    started: str
    """Date and time, UTC."""
    from_step: int
    """Step that it began at."""
    software: dict[str, str]
    """Versions of mlipq, Python and the packages that compute."""
    machine: dict[str, str]
    """Processor, system, and GPU where one is used."""
    device: str
    threads: int
    """Of each process."""
    processes: int
    """1, but more under torchrun."""

    @classmethod
    def now(cls, world: World, from_step: int = 0) -> "Environment":
        """Return what there is now."""
        software = {"mlipq": mlipq.__version__, "python": platform.python_version()}
        machine = {"system": platform.platform(), "processor": _processor(), "cores": str(os.cpu_count())}
        if world.device.type == "cuda":
            machine["gpu"] = torch.cuda.get_device_name()
        return cls(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            from_step=from_step,
            software=software | {name: version(name) for name in PACKAGES},
            machine=machine,
            device=world.device.type,
            threads=torch.get_num_threads(),
            processes=world.size,
        )

    def differences(self, other: "Environment") -> list[str]:
        """Say what of another sitting differs that may change the last bits of a result: ``torch 2.12.0 → 2.13.0``."""
        return [
            *_changed(self.software, other.software),
            *_changed(self.machine, other.machine),
            *_changed(*({name: str(getattr(it, name)) for name in _SETTINGS} for it in (self, other))),
        ]


_SETTINGS = ("device", "threads", "processes")


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in {**before, **after}:
        old, new = before.get(name, "none"), after.get(name, "none")
        if old != new:
            yield f"{name} {old} → {new}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
