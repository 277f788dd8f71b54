"""Checkpoints: all that training goes on from, bit for bit, on disk whole or not at all.

A folder holds the tensors, in a file named by a hash, and ``state.json``, which says which file. The new tensors are written
first; the checkpoint is the new one from the moment that ``state.json`` is replaced; then the old tensors go.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt
from safetensors import SafetensorError
from torch import Tensor

from mlipq.errors import CheckError, InputError
from mlipq.store import strict_json
from mlipq.store.commit import commit_bytes, commit_json, unwritable

STATE = "state.json"


class Counters(BaseModel):
    """Where training stands, tensors apart."""

    model_config = ConfigDict(extra="forbid")

    step: NonNegativeInt = 0
    """Steps done."""
    seconds: NonNegativeFloat = 0.0
    """Spent on them, loading included, validation not."""
    validated: NonNegativeInt = 0
    """Step of the last validation."""
    best: float | None = None
    """Smallest validation error so far."""
    best_step: NonNegativeInt = 0
    """Step that it was found at."""
    without_gain: NonNegativeInt = 0
    """Validations since."""
    stopped: bool = False
    """Whether patience ran out."""
    loss: float = 0.0
    """Sum of the losses of the steps since the last validation."""


@dataclass(frozen=True)
class State:
    """What a trainer goes on from."""

    counters: Counters
    tensors: dict[str, Tensor]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    counters: Counters
    sha256: str
    """Of the counters and the tensors."""

    @property
    def file(self) -> str:
        """Name of the tensors' file."""
        return f"{self.sha256[:16]}.safetensors"


def write_checkpoint(folder: Path, state: State) -> None:
    """Write a checkpoint in place of the one before, which stays until the new one is whole.

    Raises
    ------
    IncompleteError
        If the disk is full; the checkpoint before is still there.
    InputError
        If the folder cannot be written to.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    data = safetensors.torch.save(tensors)
    record = _Record(counters=state.counters, sha256=_sha256(state.counters, data))
    file = record.file
    commit_bytes(folder / file, data)
    commit_json(folder / STATE, record.model_dump(mode="json"))
    for old in folder.iterdir():  # and what a killed writer left
        if old.name not in {file, STATE}:
            old.unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> State | None:
    """Read a checkpoint; ``None`` where none was written yet.

    Raises
    ------
    InputError
        If it is damaged; the message says what to do.
    """
    if not (folder / STATE).exists():
        return None
    remedy = f"Restore {folder} from a copy; or remove it, and the run starts over from its first step."
    try:
        record = strict_json.record(_Record, (folder / STATE).read_bytes(), f"{folder / STATE} is damaged", remedy)
        path = folder / record.file
        data = path.read_bytes()
    except CheckError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}. {remedy}") from error
    found = _sha256(record.counters, data)
    if found != record.sha256:
        raise InputError(
            f"{folder} is damaged: expected sha256 {record.sha256[:16]}…, found {found[:16]}… for {STATE} with {path.name}, "
            f"{len(data):,} bytes. {remedy}"
        )
    try:
        return State(record.counters, safetensors.torch.load(data))
    except SafetensorError as error:
        raise InputError(f"{path} holds no tensors: {error}. {remedy}") from error


def _sha256(counters: Counters, tensors: bytes) -> str:
    return hashlib.sha256(counters.model_dump_json().encode() + tensors).hexdigest()
