"""What process 0 writes while a run trains: metrics, weights, checkpoints, curves, the card, the result."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mlipq.store import commit_bytes
from mlipq.training.loop.checkpoint import State, write_checkpoint
from mlipq.training.loop.trainer import Trainer
from mlipq.training.runs.card import card_text
from mlipq.training.runs.curves import draw_curves
from mlipq.training.runs.metrics import Row, append_metrics
from mlipq.training.runs.run import CHECKPOINT, CURVES, METRICS, RESULT, Result, Run
from mlipq.training.saved.archive import CARD
from mlipq.training.saved.weights import save_weights

DRAW_EVERY = 60.0
"""Seconds between drawings of the curves: one takes about half of one."""


@dataclass
class Recorder:
    """Writes what a trainer finds into the folder of its run.

    Files are written in such an order that a process killed between any two leaves a folder to go on from: a row of metrics.csv
    before its checkpoint (resuming drops rows that no checkpoint covers), the best weights after (resuming writes them again), the
    result last of all.

    Attributes
    ----------
    run, trainer
        What is recorded, and where.
    heard
        Called with each row that was written.
    """

    run: Run
    trainer: Trainer
    heard: Callable[[Row], None]
    _drawn: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Write the best weights of the checkpoint: those there may be of a validation that no checkpoint covers."""
        if self.trainer.counters.best is not None:
            self.keep("best")

    def validated(self, row: Row, gained: bool) -> None:
        """Take what a validation found."""
        append_metrics(self.run.path / METRICS, row)
        self.heard(row)

    def save(self, state: State) -> None:
        """Write a checkpoint, and the best weights if they are of this validation."""
        write_checkpoint(self.run.path / CHECKPOINT, state)
        if state.counters.best_step == state.counters.step:
            self.keep("best")
        if time.monotonic() - self._drawn > DRAW_EVERY:
            self.draw()

    def keep(self, weights: Literal["best", "last", "ema"]) -> None:
        """Write one set of weights."""
        save_weights(self.run.path / f"{weights}.safetensors", self.trainer.weights(weights))

    def draw(self) -> None:
        """Draw the curves and write the card, as far as the run has come."""
        rows, best = self.run.metrics, self.best
        title = f"{self.run.path.resolve().name}: errors of the averaged weights on the validation structures"
        if curves := draw_curves(rows, title, self.trainer.counters.best_step):
            commit_bytes(self.run.path / CURVES, curves)
        commit_bytes(self.run.path / CARD, card_text(self.run, self.trainer.potential, best).encode("utf-8"))
        self._drawn = time.monotonic()

    @property
    def best(self) -> Row | None:
        """The row of the best weights."""
        return next((row for row in self.run.metrics if row["step"] == self.trainer.counters.best_step), None)

    def finish(self) -> None:
        """Write what a finished run has; the result last."""
        self.keep("best")
        self.keep("last")
        self.keep("ema")
        self.draw()
        counters = self.trainer.counters
        result = Result(
            steps=counters.step,
            stopped_by="patience" if counters.stopped else "steps",
            best_step=counters.best_step,
            validation={name: value for name, value in (self.best or {}).items() if "_mae_" in name},
            seconds=counters.seconds,
            parameters=self.trainer.potential.n_parameters,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.run.write(RESULT, result)
