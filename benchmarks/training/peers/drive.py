"""Drive one contestant, in the environment of its library, turn by turn; :mod:`benchmarks.training.peers.compare` starts it.

    python -m benchmarks.training.peers.drive PHASE LIBRARY SIZE --molecules FILE --state FILE [--compiled] [options]

A turn begins with a line on standard input and ends with a line of JSON on standard output: what is known so far, with ``finished``.
What was done before stands in the file of state, so that a run that was killed goes on.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training.peers.loop import Loop, batch_rows, update
from benchmarks.training.peers.molecules import N_BATCH, Molecules, load

Row = dict[str, Any]
VALIDATIONS = 3
"""In a turn of training."""
N_INFERENCE, N_STEPS = 300, 12
"""Molecules to predict, and steps of training with forces, in each repeat of a measurement."""


def trial(make: Callable[..., Any], molecules: Molecules, given: argparse.Namespace) -> Iterator[Row]:
    """Train shortly with each learning rate, one a turn."""
    errors = json.loads(given.state.read_text()) if given.state.exists() else {}
    for rate in given.learning_rates:
        if str(rate) not in errors:
            loop = Loop(make(forces=False), molecules, rate, given.steps)
            for _ in range(given.steps):
                loop.step()
            errors[str(rate)] = round(loop.error(), 2)
            given.state.write_text(json.dumps(errors))
        yield {"trials_mev": errors, "finished": len(errors) == len(given.learning_rates)}


def train(make: Callable[..., Any], molecules: Molecules, given: argparse.Namespace) -> Iterator[Row]:
    """Train; the seconds begin before the model is built and compiled, and leave validation and saving out."""
    begun = time.perf_counter()
    contestant = make(forces=False)
    record = {"build_s": time.perf_counter() - begun, "step_s": [], "curve": []}
    loop = Loop(contestant, molecules, given.learning_rates[0], given.steps)
    if given.state.exists():
        loop.step()  # compiles, which was counted when it was done first
        record = loop.load(given.state)
    every = given.steps // (VALIDATIONS * given.turns)
    while True:
        for _ in range(VALIDATIONS if loop.done < given.steps else 0):
            record["step_s"] += [loop.step() for _ in range(every)]
            seconds = record["build_s"] + sum(record["step_s"])
            record["curve"].append({"step": loop.done, "seconds": round(seconds, 2), "mae_mev": round(loop.error(), 2)})
        loop.save(given.state, record)
        median = statistics.median(record["step_s"])
        yield {
            "parameters": sum(parameter.numel() for parameter in loop.parameters if parameter.grad is not None),
            "start_s": round(record["build_s"] + record["step_s"][0] - median, 2),
            "step_ms": round(1e3 * median, 2),
            "train_molecules_per_s": round(N_BATCH / median, 1),
            "train_s": record["curve"][-1]["seconds"],
            "mae_mev": record["curve"][-1]["mae_mev"],
            "curve": record["curve"],
            "finished": loop.done >= given.steps,
        }


def measure(make: Callable[..., Any], molecules: Molecules, given: argparse.Namespace) -> Iterator[Row]:
    """Time inference, and training with forces, once a turn; after a first time that does not count."""
    rates = json.loads(given.state.read_text()) if given.state.exists() else {}
    kinds = {}
    for what, forces in (("energy", False), ("forces", True)):
        contestant = make(forces=forces)
        for size in (N_BATCH, 100):
            kinds[f"predict_{what}_{size}_molecules_per_s"] = prediction(contestant, forces, size)
    kinds["train_forces_molecules_per_s"] = training_with_forces(contestant, molecules)
    kinds = {name: kind for name, kind in kinds.items() if len(rates.get(name, [])) < given.turns}
    broken = {}
    for name, measurement in kinds.items():
        try:
            measurement()
        except Exception as error:  # a compiler cannot do everything, and the rest is to be known all the same
            broken[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    while True:
        for name in kinds.keys() - broken.keys():
            rates.setdefault(name, []).append(kinds[name]())
        given.state.write_text(json.dumps(rates))
        yield {"rates": rates, "failed": broken, "finished": all(len(rate) >= given.turns for rate in rates.values())}


def prediction(contestant: Any, forces: bool, size: int) -> Callable[[], float]:
    """Return a measurement: molecules a second, of which each batch is ready."""
    batches = [contestant.batch(rows) for rows in np.arange(N_INFERENCE).reshape(-1, size)]

    def measurement() -> float:
        contestant.module.eval()
        begun = time.perf_counter()
        with torch.set_grad_enabled(forces):
            for batch in batches:
                contestant.predict(batch)
        return N_INFERENCE / (time.perf_counter() - begun)

    return measurement


def training_with_forces(contestant: Any, molecules: Molecules) -> Callable[[], float]:
    """Return a measurement: molecules a second, of training on GFN1's energies and forces."""
    energies, scale = molecules.residuals(molecules.gfn1_energies)
    parameters = list(contestant.module.parameters())
    optimiser = torch.optim.AdamW(parameters, 1e-4, foreach=True)

    def step(rows: np.ndarray) -> None:
        predicted, forces = contestant.predict(contestant.batch(rows))
        atoms = np.concatenate([np.arange(*molecules.offsets[row : row + 2]) for row in rows])
        wanted = torch.from_numpy(energies[rows]).float(), torch.from_numpy(molecules.forces[atoms]).float()
        loss = torch.nn.functional.smooth_l1_loss(scale * predicted.float(), wanted[0])
        update(loss + torch.nn.functional.smooth_l1_loss(scale * forces, wanted[1]), parameters, optimiser)

    def measurement() -> float:
        contestant.module.train()
        begun = time.perf_counter()
        for number in range(N_STEPS):
            step(batch_rows(number))
        return N_STEPS * N_BATCH / (time.perf_counter() - begun)

    return measurement


PHASES = {"trial": trial, "train": train, "measure": measure}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("library")
    parser.add_argument("size")
    parser.add_argument("--molecules", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print: let them, elsewhere
    torch.set_num_threads(given.threads)
    module = importlib.import_module(f"benchmarks.training.peers.contestants.{given.library}")
    molecules = load(given.molecules)

    def make(forces: bool) -> Any:
        torch.manual_seed(0)
        return module.Contestant(molecules, given.size, forces, given.compiled)

    rows = None
    for _ in sys.stdin:
        rows = rows or PHASES[given.phase](make, molecules, given)
        row = next(rows) | {"versions": {package: version(package) for package in module.PACKAGES}}
        print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
    main()
