"""Compare training with other libraries: molecules a second, and seconds to two errors, on 900 molecules of qm7.

    python -m benchmarks.training.peers.compare [--contestants LIBRARY:SIZE[:compiled] ...] [--steps N] [--threads N]

Each contestant runs in a process, and in the environment, of its own (``install.sh``), and all take turns: whatever else runs on
the machine slows all of them. Three phases: short trials of the same learning rates for each; training with the best of them;
then inference, and training with forces. What is done stands in ``--work``: a run that was stopped goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness import spread, write_results
from benchmarks.training.peers import loop
from benchmarks.training.peers.molecules import CUTOFF, DATASET, N_BATCH, N_TRAIN, N_VALIDATION, TARGET, export

RESULTS = Path(__file__).parents[1] / "results" / "peers.json"
CONTESTANTS = ("mlipq:small", "schnetpack:64", "nequip:S", "mace:64x0e")
LEARNING_RATES = (5e-4, 2e-3, 8e-3)
TURNS, REPEATS = 20, 5
FACTORS = (1.5, 1.1)
"""Times the best final error of any contestant: the errors to reach."""
SHOWN = ("trials_mev", "step_ms", "train_s", "mae_mev")
"""Of what a turn has brought."""
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""What `mlipq train` sets for itself (:func:`mlipq.training.models.machine.keep_freed_memory`): here for all."""


@dataclass(frozen=True)
class Entry:
    """One row of the comparison."""

    library: str
    size: str
    compiled: bool = False

    @classmethod
    def read(cls, text: str) -> "Entry":
        library, size, *rest = text.split(":")
        if rest not in ([], ["compiled"]):
            raise argparse.ArgumentTypeError(f"{text}: expected LIBRARY:SIZE or LIBRARY:SIZE:compiled")
        return cls(library, size, bool(rest))

    def __str__(self) -> str:
        return f"{self.library} {self.size}" + ", compiled" * self.compiled

    def python(self) -> Path:
        """Return the interpreter of its environment."""
        own = Path(f".venv-peers-{self.library}/bin/python")
        return Path(sys.executable) if self.library == "mlipq" else own


class Worker:
    """A process that drives one contestant through one phase."""

    def __init__(self, entry: Entry, phase: str, work: Path, threads: int, options: Sequence[object]) -> None:
        self.entry = entry
        self.may_end = phase == "measure"  # compiled code can crash, and the rest is to be known all the same
        name = f"{phase}-{str(entry).replace(', ', '-').replace(' ', '-')}"
        self.log = work / f"{name}.log"
        state = work / f"{name}{'.npz' if phase == 'train' else '.json'}"
        command = [
            *(entry.python(), "-m", "benchmarks.training.peers.drive", phase, entry.library, entry.size),
            *("--molecules", work / "molecules.npz", "--state", state, "--threads", threads, *options),
            *(["--compiled"] if entry.compiled else []),
        ]
        environment = {
            **os.environ,
            **ALLOCATOR,
            "OMP_NUM_THREADS": str(threads),
            # of its own, so that it compiles from nothing
            "TORCHINDUCTOR_CACHE_DIR": str((work / f"{name}.inductor").absolute()),
            # MACE needs e3nn 0.4.4, whose constants are pickled
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def turn(self) -> dict[str, Any]:
        """Let it work for one turn."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        if not self.may_end:
            raise SystemExit(f"{self.entry} ended: see {self.log}")
        return {"rates": {}, "failed": {"all": f"ended with {self.process.wait()}: see {self.log}"}, "finished": True}

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def alternate(workers: Sequence[Worker]) -> dict[Entry, dict[str, Any]]:
    """Let the workers take turns until all have finished; returns their last answers."""
    answers: dict[Entry, dict[str, Any]] = {}
    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(worker)
        while waiting := [each for each in workers if not answers.get(each.entry, {}).get("finished")]:
            for worker in waiting:
                answer = answers[worker.entry] = worker.turn()
                shown = {name: answer[name] for name in SHOWN if name in answer}
                print(f"  {worker.entry!s:24} {shown or ''}", flush=True)
    return answers


def run(entries: Sequence[Entry], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Go through the three phases; gives a row of the results for each contestant."""

    def phase(name: str, entries: Sequence[Entry], *options: object, rates: dict[Entry, Sequence[float]]) -> Any:
        print(f"{name}:", flush=True)
        return alternate(
            [
                Worker(entry, name, given.work, given.threads, [*options, "--learning-rates", *rates[entry]])
                for entry in entries
            ]
        )

    plain = list(dict.fromkeys(replace(entry, compiled=False) for entry in entries))
    trials = phase("trial", plain, "--steps", given.trial_steps, rates=dict.fromkeys(plain, LEARNING_RATES))
    errors = {entry: trials[replace(entry, compiled=False)]["trials_mev"] for entry in entries}
    best = {entry: [float(min(errors[entry], key=errors[entry].get))] for entry in entries}
    trained = phase("train", entries, "--steps", given.steps, "--turns", TURNS, rates=best)
    measured = phase("measure", entries, "--turns", REPEATS, rates=best)
    best_mev = min(answer["mae_mev"] for answer in trained.values())
    for entry in entries:
        answer = trained[entry] | {"trials_mev": errors[entry], "learning_rate": best[entry][0]}
        curve = answer.pop("curve")
        del answer["finished"]
        yield {
            "contestant": str(entry),
            **answer,
            **{f"seconds_to_{factor}_best": first(curve, factor * best_mev) for factor in FACTORS},
            **{name: spread(values) for name, values in sorted(measured[entry]["rates"].items())},
            "failed": measured[entry]["failed"],
            "curve": curve,
        }


def first(curve: Sequence[dict[str, float]], goal: float) -> float | None:
    """Return the seconds after which the error was first no larger than the goal; none if it never was."""
    return next((point["seconds"] for point in curve if point["mae_mev"] <= goal), None)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""

    def cell(value: Any) -> str:
        number = value["median"] if isinstance(value, dict) else value
        if number is None or isinstance(number, str):
            return number or "–"
        return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"

    names = [name for name, value in rows[0].items() if not isinstance(value, (list, dict)) or "median" in value]
    lines = [names, ["---"] * len(names), *([cell(row.get(name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    both = [Entry.read(name + end) for name in CONTESTANTS for end in ("", ":compiled")]
    parser.add_argument("--contestants", nargs="+", type=Entry.read, default=both, metavar="LIBRARY:SIZE[:compiled]")
    parser.add_argument("--steps", type=int, default=2400, help="of training; a multiple of 60")
    parser.add_argument("--trial-steps", type=int, default=400, help="with each learning rate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("out/peers"), help="where a run that was stopped goes on")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    settings = {
        "dataset": DATASET,
        "target": TARGET,
        "train": N_TRAIN,
        "validation": N_VALIDATION,
        "batch": N_BATCH,
        "cutoff": CUTOFF,
        "steps": given.steps,
        "trial_steps": given.trial_steps,
        "learning_rates": list(LEARNING_RATES),
        "weight_decay": loop.WEIGHT_DECAY,
        "clip": loop.CLIP,
        "ema": loop.EMA,
        "smooth_l1_ev": loop.SMOOTH_L1,
        "warm_up": loop.WARM_UP,
        "precision": "float32",
        "threads": given.threads,
    }
    kept = given.work / "settings.json"
    if kept.exists() and json.loads(kept.read_text()) != settings:
        raise SystemExit(f"{given.work} was begun with other settings: remove it, or name another --work")
    kept.write_text(json.dumps(settings))
    if not (given.work / "molecules.npz").exists():
        export(given.work / "molecules.npz")
    rows = list(run(given.contestants, given))
    software = {name: number for row in rows for name, number in row.pop("versions").items() if name != "e3nn"}
    name = "training and inference of potentials of several libraries"
    write_results(given.results, name, settings, software, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
