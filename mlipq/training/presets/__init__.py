"""Bundled presets: what is learned, for any dataset that has it; a YAML file each, beside this module."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlipq.errors import InputError
from mlipq.settings import read_yaml
from mlipq.training.config import RunConfig, read_config

_FOLDER = Path(__file__).parent


def presets() -> list[str]:
    """Return the names of the bundled presets."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def preset_config(
    preset: str,
    dataset: str,
    output: str,
    *,
    energy: str = "",
    data: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> RunConfig:
    """Return a bundled preset as the configuration of a run.

    Parameters
    ----------
    preset
        One of :func:`presets`.
    dataset, output
        As in the YAML.
    energy
        Array to take for the dataset's main energy.
    data
        Keys of the dataset: ``split``, ``size`` …
    overrides
        As for :func:`~mlipq.training.config.read_config`.

    Raises
    ------
    InputError
        If there is no such preset, or a setting is wrong.
    """
    if preset not in presets():
        raise InputError(f"there is no preset {preset!r}; there are {', '.join(presets())}")
    content = dict(read_yaml(_FOLDER / f"{preset}.yaml", "preset", "tasks: …").values)
    tasks = content.pop("tasks")
    if energy:
        tasks["energy"] |= {"target": energy}
    settings = {"dataset": dataset, **(data or {}), "tasks": tasks}
    return read_config({**content, "output": output, "data": [settings]}, **overrides)
