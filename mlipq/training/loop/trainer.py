"""The loop: every step takes one batch of each source, and one step of AdamW on the weighted sum of all losses.

A run is deterministic: what a step does follows from the weights and the number of the step. So a trainer that loads a state
goes on bit for bit as the one that saved it would have.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mlipq.errors import CheckError, IncompleteError
from mlipq.training.config import TrainingSettings
from mlipq.training.data.sampling import share
from mlipq.training.data.source import Source, Taken, energies_to_differentiate
from mlipq.training.loop.checkpoint import Counters, State
from mlipq.training.loop.distributed import ALONE, World
from mlipq.training.loop.optimiser import Kept, Optimiser
from mlipq.training.loop.stops import Interrupts, memory_explained, not_finite
from mlipq.training.loop.validation import Errors, validate
from mlipq.training.models.batch import Batch
from mlipq.training.models.machine import Forward, compiled, peak_memory
from mlipq.training.models.potential import Potential
from mlipq.training.tasks.task import loss_of

Row = dict[str, float | None]
"""What one validation found, by the column of metrics.csv."""


class _Interrupted(Exception):
    """Somebody wants the run to end."""


class Trainer:
    """Trains a potential on the tasks of its sources.

    Parameters
    ----------
    potential
        Its references and normalisers set, in the precision that it shall have; trained in place.
    sources
        The first is the main one: its epochs count, and its validation structures choose the best weights.
    settings
        Of the loop.
    world
        Processes that train together (see :func:`mlipq.training.loop.distributed.joined`); each gets a part of every batch.

    Attributes
    ----------
    steps
        How many there will be.
    counters
        Where training stands.

    Examples
    --------
    >>> trainer = Trainer(potential, sources, config.training)  # doctest: +SKIP
    >>> trainer.run(lambda state: write_checkpoint(folder, state))  # doctest: +SKIP
    >>> potential.load_state_dict(trainer.weights("best"))  # doctest: +SKIP
    """

    def __init__(
        self, potential: Potential, sources: Sequence[Source], settings: TrainingSettings, world: World = ALONE
    ) -> None:
        self.potential = potential.to(world.device).train()
        self.sources = tuple(sources)
        self.settings = settings
        self.world = world
        epoch = self.sources[0].batches.steps_in(1)
        self.steps = settings.steps or self.sources[0].batches.steps_in(settings.epochs or 1)
        self.validate_every = min(self.steps, settings.validate_every or max(epoch, -(-self.steps // 50)))
        self.counters = Counters()
        for values in self.potential.state_dict().values():
            world.same(values)
        self._optimiser = Optimiser(self.potential, settings, self.steps)
        self._compiled: dict[tuple[str, ...], Forward] = {}
        self._timings: list[tuple[float, float]] = []  # of loading, and of the whole step

    # --- the run

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.counters.stopped or self.counters.step == self.counters.validated == self.steps

    def run(
        self,
        save: Callable[[State], None] = lambda state: None,
        validated: Callable[[Row, bool], None] = lambda row, gained: None,
        stepped: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Train to the end, or until patience runs out.

        Parameters
        ----------
        save
            Keeps a state; called after each validation, and where the run is interrupted.
        validated
            Called before, with what the validation found, and whether these are the best weights so far.
        stepped
            Called after each step, with the number of steps done.

        Raises
        ------
        IncompleteError
            If the run was interrupted by Ctrl-C or SIGTERM, its state saved; or if memory is used up.
        CheckError
            If the loss is no longer a finite number; nothing is saved.
        """
        writes = self.world.rank == 0
        with Interrupts(obey_second=self.world.size == 1) as interrupts:
            try:
                while not self.finished:
                    if self._validation_is_due():
                        found = self._validate(interrupts)
                        if writes:
                            validated(*found)
                            save(self.state())
                    else:
                        stop = self._step(interrupts)
                        if writes:
                            stepped(self.counters.step)
                        if stop:
                            raise _Interrupted
            except _Interrupted:
                if writes:
                    save(self.state())
                raise IncompleteError(f"interrupted after step {self.counters.step:,}") from None

    def _validation_is_due(self) -> bool:
        step = self.counters.step
        return step != self.counters.validated and (step % self.validate_every == 0 or step == self.steps)

    # --- a step

    def _step(self, interrupts: Interrupts) -> bool:
        """Make a step; return whether any process was asked to end."""
        started, step = time.perf_counter(), self.counters.step
        taken = [self._taken(source, step) for source in self.sources]
        loaded = time.perf_counter()
        with memory_explained(taken):
            self._optimiser.clear()
            losses = [self._backward(part, step) for part in taken]
            loss, norm, asked = self._gradients(losses, interrupts.asked)
        if not math.isfinite(loss + norm):
            raise CheckError(not_finite(step, taken, losses))
        self._optimiser.step(step)
        seconds = time.perf_counter() - started
        self._timings.append((loaded - started, seconds))
        self.counters.step += 1
        self.counters.seconds += seconds
        self.counters.loss += loss
        return asked > 0

    def _taken(self, source: Source, step: int) -> Taken:
        """Return this process's part of a source's batch."""
        rows = source.train_batch(step)
        if self.world.size > 1:
            rows = rows[share(source.edges(rows), self.world.rank, self.world.size)]
        return Taken(source, rows, *source.batch(rows, self.world.device))

    def _backward(self, taken: Taken, step: int) -> Tensor:
        """Add the gradients of this process's part of a source's loss to those of the parameters; return that loss."""
        tasks, forces_of = taken.source.tasks, energies_to_differentiate(taken.source.tasks)
        pairs = []
        if len(taken.rows):
            batch = taken.batch.differentiable() if forces_of else taken.batch
            out = self._forward(batch, forces_of)
            pairs = [loss_of(task, out[task.name], taken.labels[task.name], batch) for task in tasks]
        counts = torch.stack([count for _, count in pairs]) if pairs else torch.zeros(len(tasks), dtype=torch.int64)
        counts = self.world.total(counts.to(self.world.device))  # those of all processes, so that the gradients add up
        terms = [
            task.weight.at(step) * total / count for task, (total, _), count in zip(tasks, pairs, counts.clamp(min=1))
        ]
        if not terms:
            return torch.zeros((), dtype=torch.float64, device=self.world.device)
        loss = torch.stack([term.double() for term in terms]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _gradients(self, losses: list[Tensor], asked: bool) -> tuple[float, float, float]:
        """Add up gradients over all processes and clip them; return the loss, their norm, and how many are asked to end."""
        self.world.total(self._optimiser.gradient)
        norm = self._optimiser.clip()
        told = self.world.total(torch.stack([*losses, norm.new_tensor(asked, dtype=torch.float64)]))
        *all_losses, all_asked, all_norm = [*told.tolist(), norm.item()]
        return sum(all_losses), all_norm, all_asked

    def _forward(self, batch: Batch, forces_of: tuple[str, ...]) -> dict[str, Tensor]:
        if not self.settings.compile:
            return self.potential(batch, forces_of)  # type: ignore[no-any-return]
        if forces_of not in self._compiled:
            self._compiled[forces_of] = compiled(self.potential, batch, forces_of)
        return self._compiled[forces_of](batch, forces_of)

    # --- a validation

    def _validate(self, interrupts: Interrupts) -> tuple[Row, bool]:
        """Validate the averaged weights; return the row of metrics.csv, and whether they are the best so far."""

        def check() -> None:
            if interrupts.asked and self.world.size == 1:  # of several processes, all must stay or go
                raise _Interrupted

        errors: dict[str, Errors] = {}
        for source in self.sources:
            new = tuple(task for task in source.tasks if task.name not in errors)
            errors |= validate(self._optimiser.averaged, source, new, self.world, check)
        now = self.counters
        error, loss = self._judged(errors)
        gained = now.best is None or error < now.best
        if gained:
            now.best, now.best_step, now.without_gain = error, now.step, 0
            self._optimiser.keep_best()
        else:
            now.without_gain += 1
            now.stopped = now.without_gain == self.settings.patience
        row = self._row(errors, loss)
        now.validated, now.loss, self._timings = now.step, 0.0, []
        return row, gained

    def _judged(self, errors: dict[str, Errors]) -> tuple[float, float]:
        """Return what the best weights are chosen by, and the weighted loss of the main source, as weighted at the last step."""
        tasks, by = self.sources[0].tasks, self.settings.best_by
        parts = [(task.weight.at(self.steps), errors[task.name].loss) for task in tasks]
        known = [weight * loss for weight, loss in parts if loss is not None]
        loss = sum(known) if known else math.nan
        error = errors[by].mae if by else loss
        if error is None or not math.isfinite(loss + error):
            raise CheckError(
                f"validation after step {self.counters.step:,}: expected a number to choose the best weights by, found {error} for "
                f"{by or 'the weighted sum of losses'}; see that the validation structures of {self.sources[0].name} have labels"
            )
        return error, loss

    def _row(self, errors: dict[str, Errors], loss: float) -> Row:
        now = self.counters
        row: Row = {
            "step": now.step,
            "epoch": self.sources[0].batches.epochs_in(now.step),
            "seconds": now.seconds,
            "learning_rate": self._optimiser.learning_rate(now.step - 1),
            "train_loss": now.loss / (now.step - now.validated),
            "validation_loss": loss,
        }
        for name, found in errors.items():
            row |= {f"{name}_mae_{found.unit}": found.mae, f"{name}_rmse_{found.unit}": found.rmse}
        load_s, step_s = map(statistics.median, zip(*self._timings)) if self._timings else (None, None)
        return row | {"load_s": load_s, "step_s": step_s, "peak_memory_mb": peak_memory(self.world.device) / 1e6}

    # --- what is kept

    def weights(self, which: Kept) -> dict[str, Tensor]:
        """Return the ``state_dict`` of the potential with one of the sets of weights that are kept."""
        return self._optimiser.weights(which)

    def state(self) -> State:
        """Return all that training goes on from; its tensors are those in use, to be written before the next step."""
        return State(self.counters.model_copy(), self._optimiser.tensors() | {"random": torch.get_rng_state()})

    def load(self, state: State) -> None:
        """Go on from a state.

        Raises
        ------
        InputError
            If it is that of another model.
        """
        self._optimiser.load(state.tensors)
        torch.set_rng_state(state.tensors["random"])
        self.counters = state.counters.model_copy()
