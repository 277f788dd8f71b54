"""What auxiliary targets cost at inference: paired time and peak memory of packaged models beside one for the energy alone.

    python -m benchmarks.training.inference --dataset FOLDER [--repeats N] [--batches N] [--backbone NAME] [--threads N]

Five models of one size, with weights by chance, which cost what trained ones do: for the energy alone, packaged, and the same once more, which
shows how much chance there is in the measurement; multitask as it was trained, and packaged; a composite energy, packaged. They take turns
at each batch, in another order each time, so that whatever else runs on the machine slows all of them. Each time is divided by that of the
model for the energy alone on the same batch in the same turn; the result is the median of these ratios, with the interval that holds it
with 95 % (by order statistics). Seconds are of the processor, all threads together. Peak memory is of the tensors of one batch, as
torch's allocator is asked for them. Batches are of 25 molecules, and of one: there the read-out counts for most.

Molecules are of the part ``pool`` of the dataset's split ``random``.
"""

import argparse
import math
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import spread, versions, write_results
from mlipq import open_dataset
from mlipq.training import Batch, Potential, PotentialConfig, collate, find_neighbours, load_model
from mlipq.training.models.batch import MODEL_INPUTS
from mlipq.training.models.machine import keep_freed_memory
from mlipq.training.saved.model import SavedModel
from mlipq.training.saved.packaging import package

RESULTS = Path(__file__).parent / "results" / "inference.json"
ALONE = "energy alone"
AUXILIARY = ["orbital_charges", "orbital_moments", "atomic_charges", "dipole"]
BATCHES = (25, 1)
OUTPUTS: dict[str, list[str]] = {"energy": [], "energy and forces": ["energy"]}
"""What is measured, and what is differentiated for it."""


def contestants(backbone: str, folder: Path) -> dict[str, Potential]:
    """Return the models by name; packaged ones have been written and read."""

    def built(**settings: object) -> Potential:
        torch.manual_seed(0)
        return Potential(PotentialConfig.model_validate({"backbone": backbone, **settings})).eval()

    def packaged(potential: Potential, name: str) -> Potential:
        package(SavedModel(potential, {}), folder / f"{name}.mlipq")
        return load_model(folder / f"{name}.mlipq").potential

    multitask = built(heads=["energy", *AUXILIARY])
    composite = built(heads=["energy", "gfn1_energy", *AUXILIARY], composite=True)
    models = {
        ALONE: packaged(built(heads=["energy"]), "alone"),
        "energy alone, again": packaged(built(heads=["energy"]), "again"),
        "multitask, as trained": multitask,
        "multitask, packaged": packaged(multitask, "multitask"),
        "composite, packaged": packaged(composite, "composite"),
    }
    return {name: model.requires_grad_(False) for name, model in models.items()}


def batches_of(folder: str, number: int, size: int, cutoff: float) -> list[Batch]:
    """Return molecules of the pool, in so many batches."""
    dataset = open_dataset(folder)
    rows = dataset.select(split="random/pool").rows[: number * size]
    batches = []
    for start in range(0, len(rows), size):
        arrays = dataset.batch(rows[start : start + size], list(MODEL_INPUTS))
        batches.append(collate(arrays, find_neighbours(arrays, cutoff)))
    return batches


def run(model: Potential, batch: Batch, forces_of: list[str]) -> None:
    """Predict for a batch."""
    with torch.set_grad_enabled(bool(forces_of)):
        model(batch.differentiable() if forces_of else batch, forces_of)


def peak_bytes(model: Potential, batch: Batch, forces_of: list[str]) -> int:
    """Return the most bytes that tensors took at once, beside weights and batch."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run(model, batch, forces_of)
    taken = most = 0
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        taken += event.nbytes()
        most = max(most, taken)
    return most


def measure(
    models: dict[str, Potential], batches: list[Batch], forces_of: list[str], repeats: int
) -> dict[str, list[float]]:
    """Return the seconds of each model for each batch in each turn."""
    found: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        run(model, batches[0], forces_of)
    chance = random.Random(0)
    for _ in range(repeats):
        for batch in batches:
            for name in chance.sample(list(models), len(models)):
                start = time.process_time()
                run(models[name], batch, forces_of)
                found[name].append(time.process_time() - start)
    return found


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return what the median lies between, with 95 %, whatever the distribution."""
    ordered, half = sorted(ratios), 0.98 * math.sqrt(len(ratios))
    low, high = math.floor(len(ratios) / 2 - half), math.ceil(len(ratios) / 2 + half)
    return ordered[max(low, 0)], ordered[min(high, len(ratios) - 1)]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--batches", type=int, default=8, help="of each size")
    parser.add_argument("--backbone", default="painn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        models = contestants(args.backbone, Path(folder))
    rows = []
    for size in BATCHES:
        batches = batches_of(args.dataset, args.batches, size, models[ALONE].config.cutoff)
        for what, forces_of in OUTPUTS.items():
            times = measure(models, batches, forces_of, args.repeats)
            memory = {name: peak_bytes(model, batches[0], forces_of) for name, model in models.items()}
            for name, model in models.items():
                ratios = [own / alone for own, alone in zip(times[name], times[ALONE])]
                rows.append(
                    {
                        "contestant": name,
                        "what": what,
                        "batch": size,
                        "parameters": model.n_parameters,
                        "ms_per_molecule": spread([1e3 * t / size for t in times[name]]),
                        "time_beside_energy_alone": statistics.median(ratios),
                        "between": interval(ratios),
                        "peak_mb": memory[name] / 1e6,
                        "memory_beside_energy_alone": memory[name] / memory[ALONE],
                    }
                )
                print({key: value for key, value in rows[-1].items() if key != "ms_per_molecule"}, flush=True)
    settings = {key: value for key, value in vars(args).items() if key not in ("results", "dataset")} | {
        "dataset": Path(args.dataset).parent.name,
        "channels": 64,
        "layers": 3,
        "cutoff": 5.0,
    }
    write_results(args.results, "inference of packaged models, paired", settings, versions("torch"), rows)


if __name__ == "__main__":
    main()
