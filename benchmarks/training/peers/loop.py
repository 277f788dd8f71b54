"""The training loop, the same for every contestant: AdamW, warm-up and cosine, EMA, smooth L1, the same batches in the same order."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.training.peers.molecules import N_BATCH, N_TRAIN, Molecules

WEIGHT_DECAY, CLIP, EMA, SMOOTH_L1, WARM_UP = 0.01, 10.0, 0.999, 0.1, 0.08
"""Of AdamW; largest norm of a gradient; decay a step; residual in eV at which the loss turns straight; share of the steps."""


class Loop:
    """Trains one contestant on energies, step by step.

    Parameters
    ----------
    contestant
        See :mod:`benchmarks.training.peers.contestants`.
    molecules
        Those of training first.
    learning_rate
        After warm-up.
    steps
        In all: the cosine ends there.
    """

    def __init__(self, contestant: Any, molecules: Molecules, learning_rate: float, steps: int) -> None:
        self.contestant, self.learning_rate, self.steps = contestant, learning_rate, steps
        residuals, self.scale = molecules.residuals(molecules.energies)
        self.residuals = torch.from_numpy(residuals)  # eV
        self.parameters = list(contestant.module.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.optimiser = torch.optim.AdamW(self.parameters, learning_rate, weight_decay=WEIGHT_DECAY, foreach=True)
        self.rows = np.arange(len(molecules))
        self.done = 0

    def step(self) -> float:
        """Train on the next batch; returns the seconds that it took, its collating included."""
        begun = time.perf_counter()
        self.contestant.module.train()
        rows = batch_rows(self.done)
        self.done += 1
        cosine = 0.5 * (1 + math.cos(math.pi * self.done / self.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * min(1, self.done / (WARM_UP * self.steps)) * cosine
        (predicted,) = self.contestant.predict(self.contestant.batch(rows))
        errors = self.scale * predicted.float() - self.residuals[rows].float()
        loss = nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=SMOOTH_L1)
        update(loss, self.parameters, self.optimiser)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - min(EMA, self.done / (self.done + 9)))
        return time.perf_counter() - begun

    def error(self) -> float:
        """Return the mean absolute error of the averaged weights for the molecules of validation, in meV."""
        self.contestant.module.eval()
        errors = []
        with torch.no_grad():
            trained = [parameter.clone() for parameter in self.parameters]
            torch._foreach_copy_(self.parameters, self.average)
            for rows in np.array_split(self.rows[N_TRAIN:], (len(self.rows) - N_TRAIN) // N_BATCH):
                (predicted,) = self.contestant.predict(self.contestant.batch(rows))
                errors.append((self.scale * predicted.double() - self.residuals[rows]).abs())
            torch._foreach_copy_(self.parameters, trained)
        return 1e3 * float(torch.cat(errors).mean())

    def save(self, path: Path, record: dict[str, Any]) -> None:
        """Write all that going on needs, and a record of one's own; the file is never there in part."""
        arrays = {"record": np.array(json.dumps({**record, "done": self.done}))}
        for index, (parameter, average) in enumerate(zip(self.parameters, self.average)):
            arrays |= {f"{index} parameter": parameter.detach().numpy(), f"{index} average": average.numpy()}
            moments = self.optimiser.state.get(parameter, {})  # none where a parameter has no gradient
            arrays |= {f"{index} {name}": moments[name].numpy() for name in moments}
        part = path.with_name(f"{path.name}.part.npz")
        np.savez(part, **arrays)
        part.replace(path)

    def load(self, path: Path) -> dict[str, Any]:
        """Go on from a file of :meth:`save`; returns the record."""
        with np.load(path, allow_pickle=False) as arrays, torch.no_grad():
            for index, (parameter, average) in enumerate(zip(self.parameters, self.average)):
                parameter.copy_(torch.from_numpy(arrays[f"{index} parameter"]))
                average.copy_(torch.from_numpy(arrays[f"{index} average"]))
                names = [name for name in ("step", "exp_avg", "exp_avg_sq") if f"{index} {name}" in arrays]
                if names:
                    self.optimiser.state[parameter] = {
                        name: torch.from_numpy(arrays[f"{index} {name}"]) for name in names
                    }
            record = json.loads(str(arrays["record"]))
        self.done = record.pop("done")
        return record


def batch_rows(step: int) -> np.ndarray:
    """Return the molecules of a step, counted from 0."""
    epoch, place = divmod(step, N_TRAIN // N_BATCH)
    return np.random.default_rng([0, epoch]).permutation(N_TRAIN)[N_BATCH * place :][:N_BATCH]


def update(loss: torch.Tensor, parameters: list[nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
    """Take one step down the gradient of the loss."""
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, CLIP)
    optimiser.step()
