"""A trained potential on disk: what it is (``model.json``), its weights (safetensors), its card (``README.md``).

These files stand in a run's folder, or in one ``.mlipq`` file (:mod:`mlipq.training.saved.archive`). No pickle is read or written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from mlipq.errors import CheckError, InputError
from mlipq.store import commit_bytes, strict_json
from mlipq.training.architecture import PotentialConfig
from mlipq.training.models.potential import Potential, precision
from mlipq.training.saved.archive import CARD, DESCRIPTION, WEIGHTS, read_archive
from mlipq.training.saved.weights import read_weights

RUN_WEIGHTS = ("best", "last", "ema")
"""What a run keeps: the averaged weights of its best validation; the raw ones and the averaged ones of its end."""


class Output(BaseModel):
    """What one output of a model means: the array that it was trained to predict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    """Array of the datasets that it learned from, as ``reference/pbe0_energy``."""
    unit: str
    """Of the predicted values."""
    level: Literal["structure", "atom"]
    """Whether there is a row a structure or a row an atom."""
    level_of_theory: str = ""
    """How the target was computed, as ``PBE0``."""


class Description(BaseModel):
    """``model.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    potential: PotentialConfig
    outputs: dict[str, Output] = Field(default_factory=dict)


@dataclass(frozen=True)
class SavedModel:
    """A potential and what is known of it.

    Attributes
    ----------
    potential
        In evaluation mode, on the CPU, in the precision of its weights.
    outputs
        Output (``energy``, ``forces``, ``orbital_charges`` …) to what it was trained on.
    card
        The model card, Markdown.
    where
        The folder or file that it was read from.
    """

    potential: Potential
    outputs: Mapping[str, Output]
    card: str = ""
    where: Path = Path()


def description_bytes(config: PotentialConfig, outputs: Mapping[str, Output]) -> bytes:
    """Return ``model.json``."""
    described = Description(potential=config, outputs=dict(outputs)).model_dump(mode="json")
    return json.dumps(described, indent=1, ensure_ascii=False).encode() + b"\n"


def save_description(folder: Path, config: PotentialConfig, outputs: Mapping[str, Output]) -> None:
    """Write ``model.json``; :func:`~mlipq.training.saved.weights.save_weights` writes ``best.safetensors`` beside it."""
    commit_bytes(folder / DESCRIPTION, description_bytes(config, outputs))


def load_model(where: str | Path, weights: str | None = None) -> SavedModel:
    """Read a trained potential.

    Parameters
    ----------
    where
        Folder of a run, or a ``.mlipq`` file.
    weights
        Of a run: ``best`` (the default), ``last`` or ``ema``. A ``.mlipq`` file has one set of weights.

    Raises
    ------
    InputError
        If there is no such model, or a file is damaged, of another kind, or does not fit the others.

    Examples
    --------
    >>> load_model("runs/qm7", "ema").potential  # doctest: +SKIP
    >>> load_model("qm7.mlipq").outputs["energy"].unit  # doctest: +SKIP
    'eV'
    """
    path = Path(where)
    files, name = _run_files(path, weights or "best") if path.is_dir() else (_packaged_files(path, weights), WEIGHTS)
    description = _description(files[DESCRIPTION], f"{path / DESCRIPTION}")
    try:
        card = files.get(CARD, b"").decode()
    except UnicodeDecodeError:
        raise InputError(f"{path / CARD} is not UTF-8 text; restore it") from None
    potential = built(description.potential, read_weights(files[name], f"{path / name}"), f"{path / name}")
    return SavedModel(potential, description.outputs, card, path)


def built(
    config: PotentialConfig, state: Mapping[str, Tensor], where: str = "", dtype: torch.dtype | None = None
) -> Potential:
    """Build a potential with these weights, for evaluation.

    Parameters
    ----------
    config
        What to build.
    state
        Its ``state_dict``.
    where
        Where the weights come from, for messages.
    dtype
        Precision to build it in, constants included, which a conversion afterwards would not make exact; that of the weights by
        default.

    Raises
    ------
    InputError
        If the weights do not fit, are of another precision than float32 or float64, or one of them is no finite number.
    """
    dtype = dtype or _precision(state, where)
    try:
        with torch.device("meta"):  # compares names and shapes, before memory is taken for what a description may claim
            Potential(config).load_state_dict({name: values.to("meta") for name, values in state.items()})
    except RuntimeError as error:
        problem = str(error).splitlines()[1:2] or [str(error)]
        raise InputError(
            f"{where} does not fit {DESCRIPTION}: {problem[0].strip()}; they are of different runs"
        ) from None
    with precision(dtype):
        potential = Potential(config)
    potential.load_state_dict(dict(state))
    broken = [name for name, values in potential.state_dict().items() if not _sound(name, values)]
    if broken:
        raise InputError(f"{where}: {broken[0]} has values that are no finite numbers; take other weights of the run")
    return potential.eval()


def _sound(name: str, values: Tensor) -> bool:
    """Return whether these are finite numbers; an element without a reference energy has NaN."""
    unknown = values.isnan() if name.endswith(".references") else False
    return bool((values.isfinite() | unknown).all())


def _precision(state: Mapping[str, Tensor], where: str) -> torch.dtype:
    """Return the precision of the backbone: references of energies are float64 in any case."""
    found = {values.dtype for name, values in state.items() if not name.endswith(".references")}
    if len(found) != 1 or not found <= {torch.float32, torch.float64}:
        kinds = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found)) or "nothing"
        raise InputError(f"{where}: expected weights that are all float32 or all float64, found {kinds}")
    return found.pop()


def _run_files(folder: Path, weights: str) -> tuple[dict[str, bytes], str]:
    if weights not in RUN_WEIGHTS:
        raise InputError(f"a run has the weights {', '.join(RUN_WEIGHTS)}; not {weights!r}")
    if not (folder / DESCRIPTION).is_file():
        raise InputError(
            f"{folder} holds no {DESCRIPTION}: expected the folder of a run of mlipq train, or a .mlipq file"
        )
    name = f"{weights}.safetensors"
    if not (folder / name).is_file():
        there = [kind for kind in RUN_WEIGHTS if (folder / f"{kind}.safetensors").is_file()]
        what = f"choose --weights {' or '.join(there)}" if there else f"let it train on first:  mlipq resume {folder}"
        raise InputError(f"{folder} has no {name} yet; {what}")
    names = [DESCRIPTION, name, *([CARD] if (folder / CARD).is_file() else [])]
    return {file: _read(folder / file) for file in names}, name


def _packaged_files(path: Path, weights: str | None) -> dict[str, bytes]:
    if weights is not None:
        raise InputError(
            f"{path} is a packaged model and has one set of weights; leave out {weights!r}, or name the run"
        )
    return read_archive(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _description(data: bytes, where: str) -> Description:
    try:
        return strict_json.record(Description, data, f"{where} is not a valid description of a model", "Restore it.")
    except CheckError as error:
        raise InputError(str(error)) from error
