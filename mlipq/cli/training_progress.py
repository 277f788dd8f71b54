"""Progress of a training run."""

import time
from collections import deque

from mlipq.cli.output import counted, is_first_process
from mlipq.cli.progress import RATE_WINDOW, Bar, duration
from mlipq.training.loop.trainer import Trainer
from mlipq.training.runs.launch import Watcher
from mlipq.training.runs.metrics import Row, mean_errors
from mlipq.training.runs.run import Run


class TrainingProgress(Bar, Watcher):
    """How a run gets on: steps, their rate, the time left, and the errors of the last validation."""

    def __init__(self) -> None:
        super().__init__("preparing")
        self._console.quiet = not is_first_process()
        self._steps = 0
        self._errors = ""
        self._history: deque[tuple[float, int]] = deque()
        self.did_nothing = False

    def preparing(self, what: str, done: int, total: int) -> None:
        self.begin(f"preparing {what}", total)
        self.show(f"{done:,} of {total:,} structures", done)

    def started(self, run: Run, trainer: Trainer) -> None:
        step, self._steps = trainer.counters.step, trainer.steps
        self.begin("training", self._steps)
        on = f", from step {step:,}" if step else ""
        self.say(
            f"training {run.path}: {counted(trainer.potential.n_parameters, 'parameter')}, {counted(self._steps, 'step')}{on}"
        )
        self._history.append((time.monotonic(), step))

    def stepped(self, step: int) -> None:
        now = time.monotonic()
        self._history.append((now, step))
        while now - self._history[0][0] > RATE_WINDOW and len(self._history) > 2:
            self._history.popleft()
        start, first = self._history[0]
        rate = (step - first) / max(now - start, 1e-9)
        left = duration((self._steps - step) / rate) if rate > 0 else "?"
        self.show(f"step {step:,} of {self._steps:,}, {rate:,.1f} steps/s, {left} left", step, self._errors)

    def validated(self, row: Row) -> None:
        self._errors = f"validation: {errors_text(row)}"

    def nothing_to_do(self) -> None:
        self.did_nothing = True

    def warn(self, message: str) -> None:
        self.say(f"warning: {message}", style="yellow")


def errors_text(row: Row) -> str:
    """Write the mean absolute errors of a row of metrics.csv: ``energy 51.3 meV, orbital charges 8.21 me``."""
    found = [(task, value, unit) for task, value, unit in mean_errors(row) if value is not None]
    return ", ".join(f"{task.replace('_', ' ')} {_short(value)} {unit}" for task, value, unit in found)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
