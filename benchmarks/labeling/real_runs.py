"""Describe labelled datasets as the table in RESULTS.md: what was labelled, failed, flagged, retried, and how physical it is.

    mlipq label qm7.extxyz.gz -o qm7
    python -m benchmarks.labeling.real_runs qm7 gscdb138 …

What it took is read from the job's own log: of each time that the job was begun or went on, from then until its last partition was done.
"""

import argparse
import csv
import platform
import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import numpy as np

import mlipq
from mlipq.labeling.folder import OutputFolder, Plan, Sidecar
from mlipq.methods.electrons import REFERENCE_OCCUPATION
from mlipq.xtb.parameters import SHELL_CAPACITY


def describe(path: Path) -> dict[str, str]:
    dataset = mlipq.open_dataset(path)
    folder = OutputFolder(path)
    plan, manifest = folder.plan(), dataset.manifest
    sidecars = list(folder.sidecars(plan))
    numbers, charges, forces = [], [], []
    for table in dataset.tables():
        numbers.append(table.arrays["atomic_numbers"])
        charges.append(table.arrays["gfn1/orbital_charges"])
        forces.append(np.abs(table.arrays["gfn1/forces"]).max(initial=0.0))
    z = np.concatenate(numbers)
    populations = REFERENCE_OCCUPATION[z] - np.concatenate(charges)
    excess = populations - SHELL_CAPACITY[z]
    read = plan.counts["read"]
    distinct = read - plan.counts["duplicates"]
    seconds = sum(sidecar.seconds for sidecar in sidecars)
    size = sum(entry.bytes for entry in manifest.shards)
    return {
        "dataset": path.name,
        "read": f"{read:,}",
        "duplicates (conflicts)": f"{plan.counts['duplicates']} ({plan.counts['conflicts']})",
        "labelled": f"{manifest.n_structures:,}",
        "of the distinct": f"{100 * manifest.n_structures / distinct:.2f} %",
        "failed by cause": ", ".join(f"{name} {n}" for name, n in sorted(manifest.failures.items())) or "none",
        "flagged by check": ", ".join(f"{name} {n}" for name, n in sorted(manifest.quality.items())) or "none",
        "SCF rungs": ", ".join(f"#{rung} {n:,}" for rung, n in sorted(manifest.scf_attempts.items())),
        "populations": f"{populations.min():+.3f} e to capacity {excess.max():+.3f} e",
        "largest force": f"{max(forces):.1f} eV/Å",
        "energy outliers": str(len(manifest.outliers)),
        "atoms": f"{manifest.n_atoms:,}",
        "single-point seconds": f"{seconds:,.0f}",
        "ms a structure": f"{1e3 * seconds / max(manifest.n_structures, 1):.1f}",
        "bytes an atom": f"{size / max(manifest.n_atoms, 1):.0f}",
        **_cost_model(plan, sidecars),
    }


def _cost_model(plan: Plan, sidecars: Sequence[Sidecar]) -> dict[str, str]:
    """How far the predicted share of each partition in the whole was from the true one."""
    predicted = np.array([plan.partitions[sidecar.index].seconds for sidecar in sidecars])
    taken = np.array([sidecar.seconds for sidecar in sidecars])
    ratios = taken / predicted * (predicted.sum() / taken.sum())
    low, high = np.quantile(ratios, [0.05, 0.95])
    return {
        "seconds over predicted ones": f"{taken.sum() / predicted.sum():.2f}",
        "of a partition, over that": f"{low:.2f} to {high:.2f} (90 %), {ratios.min():.2f} to {ratios.max():.2f}",
    }


_LINE = re.compile(r"(?P<when>\S+ [\d:]+),\d+ INFO (labeling (?P<begins>\d+) partitions|partition (?P<done>\d+) done)")


def spells(path: Path, workers: int) -> list[dict[str, str]]:
    """What was done each time that the job was begun or went on."""
    folder = OutputFolder(path)
    sidecars = {sidecar.index: sidecar for sidecar in folder.sidecars(folder.plan())}
    found: list[tuple[datetime, list[tuple[datetime, Sidecar]]]] = []
    for line in (folder.logs / "label.log").read_text().splitlines():
        if match := _LINE.match(line):
            when = datetime.fromisoformat(match["when"])
            if match["begins"]:
                found.append((when, []))
            elif int(match["done"]) in sidecars:
                found[-1][1].append((when, sidecars[int(match["done"])]))
    return [_spell(began, done, workers) for began, done in found if done]


def _spell(began: datetime, done: Sequence[tuple[datetime, Sidecar]], workers: int) -> dict[str, str]:
    wall = (done[-1][0] - began).total_seconds()
    structures, atoms, seconds = (
        sum(getattr(sidecar, name) for _, sidecar in done) for name in ("n_structures", "n_atoms", "seconds")
    )
    return {
        "began": f"{began:%Y-%m-%d %H:%M}",
        "minutes": f"{wall / 60:.1f}",
        "partitions": f"{len(done)}",
        "structures/s": f"{structures / wall:.2f}",
        "atoms/s": f"{atoms / wall:,.0f}",
        "single points of the cores' time": f"{100 * seconds / (workers * wall):.1f} %",
    }


def _print_table(columns: Sequence[dict[str, str]]) -> None:
    first, *others = columns[0]
    print("| " + " | ".join([first, *(column[first] for column in columns)]) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for key in others:
        print("| " + " | ".join([key, *(column[key] for column in columns)]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", nargs="+", type=Path)
    parser.add_argument("--failures", action="store_true", help="list the failures by class too")
    parser.add_argument(
        "--workers", type=int, help="that there were: tell what was done when, and how well they were used"
    )
    args = parser.parse_args()
    print(
        f"{date.today()}, Python {platform.python_version()}, {mlipq.open_dataset(args.outputs[0]).manifest.provenance.software}\n"
    )
    _print_table([describe(path) for path in args.outputs])
    if args.workers:
        for path in args.outputs:
            print(f"\n{path.name}")
            _print_table(spells(path, args.workers))
    if args.failures:
        for path in args.outputs:
            with OutputFolder(path).failures_file.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            print(f"\n{path.name}: {dict(Counter(row['error'] for row in rows))}")
            for row in rows:
                print(f"  {row['source_index']} {row['name']}: {row['error']}: {row['message'][:300]}")


if __name__ == "__main__":
    main()
