"""AdamW on the weights of a potential: clipping, learning rate, and the average of the weights that is kept."""

import copy
import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw  # the class would load torch's compiler, which takes more than a second

from mlipq.errors import InputError
from mlipq.training.config import TrainingSettings
from mlipq.training.loop.flat import Layout
from mlipq.training.models.potential import Potential

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of AdamW; torch's defaults."""

Kept: TypeAlias = Literal["best", "last", "ema"]
"""Weights averaged at the best validation; as they are; averaged now."""


class Optimiser:
    """Changes the weights of a potential by their gradients.

    Gradients of all parameters are there always, zero where a loss has none: so it makes no difference whether the one label of
    a batch is in this process or in another.

    Parameters
    ----------
    potential
        On the device where it is trained. Its parameters, and their gradients, become views of one tensor.
    settings
        Learning rate, weight decay, clipping and averaging.
    steps
        How many there will be.

    Attributes
    ----------
    averaged
        The potential with averaged weights, for evaluation.
    gradient
        Of all parameters, side by side.
    """

    def __init__(self, potential: Potential, settings: TrainingSettings, steps: int) -> None:
        self.potential, self.settings, self.steps = potential, settings, steps
        self.averaged = copy.deepcopy(potential).eval().requires_grad_(False)
        decayed, others = _groups(potential)
        self._names = [*decayed, *others]
        parameters = [*decayed.values(), *others.values()]
        self._layout = Layout(parameters)
        self._weights = self._layout.move(parameters)
        averages = dict(self.averaged.named_parameters())
        self._average = self._layout.move([averages[name] for name in self._names])
        self._best, self.gradient, *moments = (torch.zeros_like(self._weights) for _ in range(4))
        for parameter, gradient in zip(parameters, self._layout.views(self.gradient)):
            parameter.grad = gradient
        self._moments = dict(zip(("exp_avg", "exp_avg_sq"), moments))
        end = self._layout.end_of(len(decayed))
        self._decays = ((settings.weight_decay, slice(None, end)), (0.0, slice(end, None)))

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: it rises in a line, then falls as a cosine."""
        peak, warmup, final = self.settings.learning_rate, self.settings.warmup, self.settings.final_learning_rate
        if step < warmup:
            return peak * (step + 1) / warmup
        fallen = 0.5 - 0.5 * math.cos(math.pi * (step - warmup) / max(self.steps - warmup, 1))
        return peak * (1 - (1 - final) * fallen)

    def clear(self) -> None:
        """Set the gradient to zero."""
        self.gradient.zero_()

    def clip(self) -> Tensor:
        """Shorten the gradient to the largest norm that it may have; return the norm that it had."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        if self.settings.clip:
            self.gradient.mul_((self.settings.clip / norm).clamp(max=1.0))
        return norm

    def step(self, step: int) -> None:
        """Change the weights, and with them their average, by step ``step``, counted from 0."""
        for weight_decay, part in self._decays:
            weights, gradients, means, squares = (
                [values[part]] for values in (self._weights, self.gradient, *self._moments.values())
            )
            done = torch.full((), step, dtype=torch.float32, device=self._weights.device)
            adamw(
                weights,
                gradients,
                means,
                squares,
                [],
                [done],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=self.learning_rate(step),
                weight_decay=weight_decay,
                eps=EPSILON,
                maximize=False,
            )
        decay = min(self.settings.ema, (1 + step) / (10 + step))  # a young average follows faster
        self._average.lerp_(self._weights, 1 - decay)

    def keep_best(self) -> None:
        """Remember the averaged weights as the best."""
        self._best.copy_(self._average)

    def weights(self, which: Kept) -> dict[str, Tensor]:
        """Return a ``state_dict`` of the potential, with a copy of these weights."""
        chosen = {"best": self._best, "last": self._weights, "ema": self._average}[which]
        return self.potential.state_dict() | dict(zip(self._names, self._layout.views(chosen.clone())))

    def tensors(self) -> dict[str, Tensor]:
        """Return all that it goes on from, as it is in use."""
        weights = {f"last.{name}": values for name, values in self.potential.state_dict().items()}
        return weights | self._flat()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what :meth:`tensors` returned.

        Raises
        ------
        InputError
            If they are those of another model.
        """
        last = {key.removeprefix("last."): values for key, values in tensors.items() if key.startswith("last.")}
        try:
            self.potential.load_state_dict(last)
            self.averaged.load_state_dict(last)  # constants; its weights follow
            for name, values in self._flat().items():
                values.copy_(tensors[name])
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"the checkpoint is that of another model ({str(error)[:200]}); resume the run that it belongs to"
            ) from None

    def _flat(self) -> dict[str, Tensor]:
        return {"ema": self._average, "best": self._best, **self._moments}


def _groups(potential: Potential) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Return the matrices of linear layers, which decay, and all else: biases, and what is looked up by element."""
    matrices = {id(module.weight) for module in potential.modules() if isinstance(module, nn.Linear)}
    named = dict(potential.named_parameters())
    decayed = {name: parameter for name, parameter in named.items() if id(parameter) in matrices}
    return decayed, {name: parameter for name, parameter in named.items() if name not in decayed}
