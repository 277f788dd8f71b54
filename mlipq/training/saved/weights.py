"""Weights of a potential as a safetensors file that knows its own hash: what was changed or cut off is not read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mlipq.errors import InputError
from mlipq.store.commit import commit_bytes

_HASH = "sha256"
"""Key of the header: the hash of all else in the file."""


def weights_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Return a ``state_dict`` as a safetensors file; equal weights give equal bytes."""
    tensors = {name: values.detach().cpu().contiguous() for name, values in state.items()}
    plain = safetensors.torch.save(tensors)
    return safetensors.torch.save(tensors, {_HASH: _digest(*_parts(plain))})


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a ``state_dict`` to a safetensors file, whole or not at all."""
    commit_bytes(path, weights_bytes(state))


def read_weights(data: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Parameters
    ----------
    data
        The file.
    where
        Its name, for messages.

    Raises
    ------
    InputError
        If it is no such file, is cut off or was changed since :func:`save_weights` wrote it.
    """
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise InputError(f"{where} is damaged, or not a safetensors file ({error}); restore it from a copy") from None
    header, content = _parts(data)
    expected = (header.pop("__metadata__", None) or {}).get(_HASH)
    found = _digest(header, content)
    if expected is None:
        raise InputError(
            f"{where} was not written by mlipq: its header has no {_HASH}; expected weights of mlipq train"
        )
    if found != expected:
        raise InputError(
            f"{where}: expected weights with sha256 {expected[:16]}…, found {found[:16]}…; the file was changed or damaged: "
            "restore it from a copy"
        )
    return tensors


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, which its size stands before, and what follows it."""
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), data[start:]


def _digest(header: Mapping[str, Any], content: bytes) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + content).hexdigest()
