"""Compare the backbones by accuracy per second: energies of qm7 from 900 molecules, on one core.

    python -m benchmarks.training.backbones --dataset FOLDER [--backbones NAME ...] [--steps N] [--cutoff R] [--seed N]

Molecules come from the part ``pool`` of the dataset's split ``random``: 900 to train, 1,000 others for the error; the part ``test``
is never read. The backbones take turns, a fifth of the steps each: whatever else runs on the machine slows all of them.
Seconds are of the processor: the steps times the median step. What the rest took, compiling above all, is given apart.
"""

import argparse
import copy
import csv
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import versions, write_results
from mlipq import open_dataset
from mlipq.store import Dataset
from mlipq.training.models import BACKBONES
from mlipq.training.models.batch import MODEL_INPUTS, Batch, collate, find_neighbours
from mlipq.training.models.machine import compiled, keep_freed_memory
from mlipq.training.models.potential import Potential, PotentialConfig

RESULTS = Path(__file__).parent / "results" / "backbones.json"
ENERGY = "reference/pbe0_energy"
N_TRAIN, N_MEASURE = 900, 1000
BATCH, WARM_UP, EMA, SMOOTH_L1 = 25, 200, 0.999, 0.1
"""Molecules in a step; steps; decay a step; residual in eV at which the loss turns from a square to a straight line."""
TURNS = 5


class Molecules:
    """Molecules of the pool, in an order by chance: first those of training. Neighbour lists are found once."""

    def __init__(self, dataset: Dataset, cutoff: float) -> None:
        with (dataset.path / dataset.manifest.splits["random"].file).open(newline="") as file:
            pool = sorted(line["identity"] for line in csv.DictReader(file) if line["part"] == "pool")
        picked = np.random.default_rng(0).permutation(pool)[: N_TRAIN + N_MEASURE]
        self.table = dataset.take([dataset.find(str(name)) for name in picked], [*MODEL_INPUTS, ENERGY])
        self.neighbours = find_neighbours(self.table.arrays, cutoff)
        self.energies = torch.from_numpy(self.table.arrays[ENERGY])

    def batch(self, rows: np.ndarray) -> tuple[Batch, torch.Tensor]:
        """Return structures and their energies."""
        return collate(self.table.take(rows).arrays, self.neighbours.take(rows)), self.energies[rows]

    def composition(self) -> np.ndarray:
        """Return the atoms of each element in each molecule: (n, 119)."""
        counts = np.zeros((len(self.table), 119))
        molecules = np.repeat(np.arange(len(counts)), np.diff(self.table.arrays["atom_offsets"]))
        np.add.at(counts, (molecules, self.table.arrays["atomic_numbers"]), 1)
        return counts


def normalise(potential: Potential, molecules: Molecules) -> None:
    """Take reference energies, and the scale of what they leave, from the molecules of training."""
    counts, energies = molecules.composition()[:N_TRAIN], molecules.energies[:N_TRAIN].numpy()
    references, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    head = potential.heads["energy"]
    head.references.copy_(torch.from_numpy(references))
    head.scale.fill_(np.std(energies - counts @ references) / np.sqrt(counts.sum(axis=1).mean()))


def error(potential: Potential, molecules: Molecules) -> float:
    """Return the mean absolute error of the molecules that measure, in meV."""
    errors = []
    with torch.no_grad():
        for rows in np.split(np.arange(N_TRAIN, N_TRAIN + N_MEASURE), 10):
            batch, energies = molecules.batch(rows)
            errors.append((potential(batch)["energy"] - energies).abs())
    return 1e3 * float(torch.cat(errors).mean())


def train(backbone: str, given: argparse.Namespace, molecules: Molecules) -> Iterator[dict[str, Any]]:
    """Train one backbone; gives its row of the results, so far, after each turn."""
    torch.manual_seed(given.seed)
    config = PotentialConfig(
        backbone=backbone, channels=given.channels, layers=given.layers, cutoff=given.cutoff, radial=given.radial
    )
    potential = Potential(config)
    normalise(potential, molecules)
    average = copy.deepcopy(potential)
    begun = time.process_time()
    forward = compiled(potential, molecules.batch(np.arange(BATCH))[0])
    compiling = time.process_time() - begun
    optimiser = torch.optim.AdamW(potential.parameters(), given.learning_rate, weight_decay=given.weight_decay)
    chance = np.random.default_rng(given.seed)
    times: list[float] = []
    curve: list[dict[str, float]] = []
    rows = np.empty(0, dtype=np.int64)
    for step in range(1, given.steps + 1):
        begun = time.process_time()
        if len(rows) < BATCH:
            rows = chance.permutation(N_TRAIN)
        picked, rows = rows[:BATCH], rows[BATCH:]
        for group in optimiser.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * step / given.steps))
            group["lr"] = given.learning_rate * min(1, step / WARM_UP) * cosine
        batch, energies = molecules.batch(picked)
        residuals = (forward(batch)["energy"] - energies).float()
        loss = nn.functional.smooth_l1_loss(residuals, torch.zeros_like(residuals), beta=SMOOTH_L1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(potential.parameters(), 10.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(EMA, step / (step + 9))
            torch._foreach_lerp_(list(average.parameters()), list(potential.parameters()), 1 - decay)
        times.append(time.process_time() - begun)
        if step % (given.steps // TURNS) == 0:
            median = statistics.median(times)  # now and then a step compiles once more
            curve.append(
                {"step": step, "cpu_s": round(step * median, 1), "mae_mev": round(error(average, molecules), 2)}
            )
            yield {
                "contestant": backbone,
                "parameters": sum(p.numel() for p in potential.parameters() if p.grad is not None),
                "compile_s": round(compiling + sum(times) - step * median, 1),
                "step_ms": round(1e3 * median, 2),
                "molecules_per_s": round(BATCH / median),
                "mae_mev": curve[-1]["mae_mev"],
                "curve": list(curve),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="qm7, labelled and split")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--cutoff", type=float, default=4.0)
    parser.add_argument("--radial", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    dataset = open_dataset(given.dataset)
    molecules = Molecules(dataset, given.cutoff)
    settings = {
        **{key: value for key, value in vars(given).items() if key not in ("dataset", "results", "backbones")},
        "dataset": dataset.manifest.ref or given.dataset.name,
        "target": ENERGY,
        "train": N_TRAIN,
        "measured_on": f"{N_MEASURE} other molecules of the pool",
        "batch": BATCH,
        "warm_up": WARM_UP,
        "ema": EMA,
        "smooth_l1_ev": SMOOTH_L1,
        "threads": 1,
        "edges_per_atom": round(len(molecules.neighbours.senders) / molecules.table.n_atoms, 1),
    }
    contestants = [train(backbone, given, molecules) for backbone in given.backbones]
    for _ in range(TURNS):
        rows = []
        for contestant in contestants:
            rows.append(next(contestant))
            print(
                f"  {rows[-1]['contestant']:10} {rows[-1]['step_ms']:6.1f} ms a step, {rows[-1]['curve'][-1]}",
                flush=True,
            )
    name = "validation error of the backbones against seconds"
    write_results(given.results, name, settings, versions("mlipq", "torch", "vesin"), rows)


if __name__ == "__main__":
    main()
