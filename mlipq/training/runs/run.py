"""A run as a folder: what lies where, made whole or not at all, and one trainer at a time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from mlipq.errors import CheckError, InputError
from mlipq.store import commit_bytes, commit_json, strict_json, unwritable
from mlipq.store.commit import committing_folder
from mlipq.training.config import RunConfig, read_config
from mlipq.training.runs.environment import Environment
from mlipq.training.runs.metrics import read_metrics

CONFIG = "config.yaml"
"""What was asked for: every key."""
ENVIRONMENT = "environment.json"
"""Config as it was understood; versions, machine and threads of each sitting."""
DATA = "data.json"
"""Datasets and rows by hash, labels counted, reference energies."""
METRICS = "metrics.csv"
"""One row a validation."""
CURVES = "curves.png"
"""The same, drawn."""
CHECKPOINT = "checkpoint"
"""What ``mlipq resume`` goes on from."""
RESULT = "result.json"
"""How it ended; a run without is not finished."""
_LOCK = ".lock"

Record = TypeVar("Record", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelRecord(_Record):
    """What one task learns from."""

    target: str
    level_of_theory: str
    unit: str
    labels: int
    """Numbers among the training structures that have a label."""
    missing: int
    """And that have none."""
    no_shell: int = 0
    """And that belong to shells that the element has not."""


class DataRecord(_Record):
    """One dataset of a run: which one exactly, and which of its structures."""

    dataset: str
    """As the config names it."""
    name: str
    """``name@version`` as its manifest says; empty for one that is not published."""
    sha256: str
    """Of its manifest, or of the one shard file."""
    licence: str
    citation: str
    structures: dict[str, int]
    """How many are trained on, and validated on."""
    left_out: int = 0
    """How many are not validated on: they have elements that training has not."""
    rows_sha256: dict[str, str]
    """Of their identities, in order."""
    labels: dict[str, LabelRecord]
    """By task."""
    elements: tuple[str, ...]
    charges: tuple[int, ...]
    multiplicities: tuple[int, ...]


class ReferenceRecord(_Record):
    """Reference energies of one energy, in eV by element."""

    energies: dict[str, float]
    rank: int
    """Of the compositions that they were fitted to; less than the number of elements where single values mean nothing."""


class Data(_Record):
    """``data.json``."""

    format_version: Literal[1] = 1
    datasets: tuple[DataRecord, ...]
    references: dict[str, ReferenceRecord] = {}


class History(_Record):
    """``environment.json``: the config as it was understood, and each sitting."""

    format_version: Literal[1] = 1
    config: dict[str, Any]
    sittings: tuple[Environment, ...]


class Result(_Record):
    """``result.json``: how a run ended."""

    format_version: Literal[1] = 1
    steps: int
    stopped_by: Literal["steps", "patience"]
    best_step: int
    validation: dict[str, float | None]
    """Mean absolute errors of the best weights, by column of metrics.csv."""
    seconds: float
    """Of training steps in all sittings."""
    parameters: int
    finished: str
    """Date and time, UTC."""


@dataclass(frozen=True)
class Run:
    """The folder of a run.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path

    @cached_property
    def config(self) -> RunConfig:
        """What was asked for.

        Raises
        ------
        InputError
            If config.yaml was changed since the run began; the message names the keys.
        """
        now, then = read_config(self.path / CONFIG), self.history.config
        changed = list(differences(then, {**now.model_dump(mode="json"), "output": then["output"]}))  # it may be moved
        if changed:
            raise InputError(
                f"{self.path / CONFIG} was changed since this run began:\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nA run goes on as it began: change it back, then resume. Or begin another run from the weights of this one: in a "
                f"config of its own, with start_from: {self.path}"
            )
        return now

    @property
    def history(self) -> History:
        """Config and sittings, as they were recorded."""
        return self._record(History, ENVIRONMENT)

    @property
    def data(self) -> Data:
        """Which structures of which datasets."""
        return self._record(Data, DATA)

    @property
    def result(self) -> Result | None:
        """How it ended, or ``None`` where it is not finished."""
        return self._record(Result, RESULT) if (self.path / RESULT).exists() else None

    @property
    def metrics(self) -> list[dict[str, float | None]]:
        """The rows of metrics.csv."""
        return read_metrics(self.path / METRICS)

    def write(self, file: str, record: BaseModel) -> None:
        """Write a record as JSON, whole or not at all."""
        commit_json(self.path / file, record.model_dump(mode="json"))

    def begin_sitting(self, environment: Environment) -> None:
        """Add a sitting to environment.json."""
        history = self.history
        self.write(ENVIRONMENT, history.model_copy(update={"sittings": (*history.sittings, environment)}))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainers out of the folder.

        Raises
        ------
        InputError
            If another one is in it, or it cannot be written to.
        """
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.path} is being trained by another process; let it end, or stop it first") from None
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            yield
        finally:
            lock.release()

    def _record(self, model: type[Record], file: str) -> Record:
        path = self.path / file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; restore it, or train anew") from error
        try:
            return strict_json.record(model, data, f"{path} is damaged", "Restore it, or train anew.")
        except CheckError as error:
            raise InputError(str(error)) from error


def open_run(path: Path) -> Run:
    """Return the run in a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    missing = [name for name in (CONFIG, ENVIRONMENT, DATA) if not (path / name).is_file()]
    if missing:
        what = (
            f"it has no {missing[0]}"
            if path.is_dir()
            else "it is a file"
            if path.exists()
            else "there is no such folder"
        )
        raise InputError(f"{path} is no folder of a run: {what}; begin one with:  mlipq train CONFIG.yaml")
    return Run(path)


def refuse_taken(path: Path) -> None:
    """Refuse to begin a run where something is already.

    Raises
    ------
    InputError
        Naming ``mlipq resume`` where it is a run.
    """
    if (path / CONFIG).is_file():
        state = "a finished run" if (path / RESULT).is_file() else "a run that is not finished; go on with it:"
        hint = "name another folder" if (path / RESULT).is_file() else f" mlipq resume {path}"
        raise InputError(f"{path} holds {state}{';' if state.endswith('run') else ''} {hint}")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path} is there already and is no run; name a folder that does not exist yet")


@contextmanager
def creating_run(path: Path, config: RunConfig, data: Data, environment: Environment) -> Iterator[Path]:
    """Make the folder of a run, which appears with all that the block puts into it, or not at all.

    Raises
    ------
    InputError
        As :func:`refuse_taken`, or if it cannot be written.
    """
    refuse_taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    with committing_folder(path) as temporary:
        run, content = Run(temporary), config.model_dump(mode="json")
        commit_bytes(temporary / CONFIG, config_text(content).encode("utf-8"))
        run.write(ENVIRONMENT, History(config=content, sittings=(environment,)))
        run.write(DATA, data)
        yield temporary


def settled(config: RunConfig) -> RunConfig:
    """Return the config with absolute paths: it means the same from any folder."""
    data = [
        settings.model_copy(update={"dataset": str(Path(settings.dataset).absolute())})
        if Path(settings.dataset).exists()
        else settings
        for settings in config.data
    ]
    start = str(Path(config.start_from).absolute()) if config.start_from else ""
    return config.model_copy(
        update={"output": str(Path(config.output).absolute()), "data": tuple(data), "start_from": start}
    )


def config_text(content: Mapping[str, Any]) -> str:
    """Return a config as YAML, its keys in their own order."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)


def differences(then: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield ``training.steps: 6000 → 9000`` for whatever differs between two values of JSON."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in {**then, **now}:
            yield from differences(then.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (old, new) in enumerate(zip(then, now)):
            yield from differences(old, new, f"{key}.{index}")
    elif then != now:
        yield f"{key}: {then} → {now}"
