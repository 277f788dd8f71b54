"""Training from a configuration to a run's folder, and on from where one stopped."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from mlipq.errors import IncompleteError, InputError
from mlipq.store import commit_bytes
from mlipq.training.config import RunConfig
from mlipq.training.loop.checkpoint import read_checkpoint
from mlipq.training.loop.distributed import World, joined
from mlipq.training.loop.stops import out_of_memory
from mlipq.training.loop.trainer import Trainer
from mlipq.training.runs.card import card_text
from mlipq.training.runs.environment import Environment
from mlipq.training.runs.metrics import Row, cut_metrics
from mlipq.training.runs.preparation import Prepared, prepare
from mlipq.training.runs.recording import Recorder
from mlipq.training.runs.run import (
    CHECKPOINT,
    METRICS,
    Run,
    creating_run,
    differences,
    open_run,
    refuse_taken,
    settled,
)
from mlipq.training.saved.archive import CARD
from mlipq.training.saved.model import save_description


class Watcher:
    """Hears of a run's progress; the base class says nothing. The command line draws it."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Of so many structures, ``done`` are read, or have their neighbours."""

    def started(self, run: Run, trainer: Trainer) -> None:
        """Training begins, or goes on."""

    def stepped(self, step: int) -> None:
        """So many steps are done."""

    def validated(self, row: Row) -> None:
        """A row of metrics.csv is written."""

    def nothing_to_do(self) -> None:
        """The run was finished before."""

    def warn(self, message: str) -> None:
        """Something the user should know, once."""


def train(config: RunConfig, watcher: Watcher | None = None) -> Run:
    """Train a potential as a configuration says.

    Under torchrun all processes call it; process 0 alone writes.

    Parameters
    ----------
    config
        As :func:`mlipq.training.read_config` gives it.
    watcher
        Hears of progress.

    Raises
    ------
    InputError
        If something is wrong with the configuration, its datasets or the folder; no folder is made then.
    IncompleteError
        If the run was interrupted, or the disk is full: :func:`resume` goes on.
    CheckError
        If the loss is no longer a finite number.

    Examples
    --------
    >>> run = train(read_config("qm7.yaml"))  # doctest: +SKIP
    >>> run.result.validation  # doctest: +SKIP
    {'energy_mae_meV': 45.1, 'orbital_charges_mae_me': 7.9}
    """
    watcher, run, config = watcher or Watcher(), Run(Path(config.output)), settled(config)
    refuse_taken(run.path)
    with _machine(config) as world:
        prepared, trainer = _prepared(config, world, watcher)
        world.total(torch.zeros(1))  # all have seen that the folder is free
        if world.rank == 0:
            environment = Environment.now(world)
            with creating_run(run.path, config, prepared.data, environment) as temporary:
                save_description(temporary, prepared.potential.config, prepared.outputs)
                commit_bytes(temporary / CARD, card_text(Run(temporary), prepared.potential).encode("utf-8"))
        with run.locked() if world.rank == 0 else nullcontext():
            _complete(run, trainer, world, watcher)
    return run


def resume(path: str | Path, watcher: Watcher | None = None) -> Run:
    """Go on with a run from its last checkpoint, as if it had never stopped.

    On the same machine with the same versions and threads, its weights will be those of a run that never stopped, bit for bit.

    Parameters
    ----------
    path
        Its folder.
    watcher
        Hears of progress; of what differs from the last sitting too.

    Raises
    ------
    InputError
        If there is no run, its config or a dataset was changed, its checkpoint is damaged, or another process trains it.
    IncompleteError, CheckError
        As :func:`train`.
    """
    watcher, run = watcher or Watcher(), open_run(Path(path))
    config = run.config
    if run.result is not None:
        watcher.nothing_to_do()
        return run
    with _machine(config) as world, run.locked() if world.rank == 0 else nullcontext():
        state = read_checkpoint(run.path / CHECKPOINT)
        if state is not None:  # it has what was started from, which may be gone
            config = config.model_copy(update={"start_from": ""})
        prepared, trainer = _prepared(config, world, watcher)
        _expect_same(run, prepared)
        if state is not None:
            trainer.load(state)
        if world.rank == 0:
            environment = Environment.now(world, trainer.counters.step)
            _warn_of_changes(run.history.sittings[-1], environment, watcher)
            run.begin_sitting(environment)
            cut_metrics(run.path / METRICS, trainer.counters.validated)
        _complete(run, trainer, world, watcher)
    return run


@contextmanager
def _machine(config: RunConfig) -> Iterator[World]:
    """Set up threads and processes; those of torch are as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(config.training.threads or threads)
    try:
        with joined(config.training.device) as world:
            yield world
    finally:
        torch.set_num_threads(threads)


def _prepared(config: RunConfig, world: World, watcher: Watcher) -> tuple[Prepared, Trainer]:
    try:
        prepared = prepare(config, watcher.preparing)
        for source in prepared.sources:
            if source.left_out:
                watcher.warn(
                    f"{source.name}: {source.left_out:,} validation structures have elements that no training structure has, "
                    "and are left out"
                )
        return prepared, Trainer(prepared.potential, prepared.sources, config.training, world)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            "out of memory before the first step: take a smaller model (channels, layers) or fewer structures (size)"
        ) from error


def _complete(run: Run, trainer: Trainer, world: World, watcher: Watcher) -> None:
    if world.rank != 0:
        trainer.run()
        return
    watcher.started(run, trainer)
    recorder = Recorder(run, trainer, watcher.validated)
    try:
        recorder.begin()
        trainer.run(recorder.save, recorder.validated, watcher.stepped)
        recorder.finish()
    except KeyboardInterrupt:
        raise IncompleteError(f"interrupted. To go on from the last checkpoint:  mlipq resume {run.path}") from None
    except IncompleteError as error:
        with suppress(Exception):  # for want of disk or memory again: that must not hide why it ended
            recorder.draw()
        raise IncompleteError(f"{str(error).rstrip('.')}. To go on:  mlipq resume {run.path}") from error


def _expect_same(run: Run, prepared: Prepared) -> None:
    """Refuse to go on with other data than the run began with."""
    then, now = (data.model_dump(mode="json", include={"datasets"}) for data in (run.data, prepared.data))
    changed = list(differences(then, now))
    if changed:
        raise InputError(
            f"{run.path}: its data is not what it began with (data.json):\n"
            + "\n".join(f"  {line}" for line in changed[:10])
            + "\nPut the dataset back as it was; or train on the new one in another folder"
        )


def _warn_of_changes(before: Environment, now: Environment, watcher: Watcher) -> None:
    changed = before.differences(now)
    if changed:
        watcher.warn(
            f"this sitting is not like the last one ({'; '.join(changed)}): the run goes on, but its last bits will not be those "
            "of a run that never stopped"
        )
