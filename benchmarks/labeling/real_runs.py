"""Describe labelled datasets as the table in RESULTS.md: what was labelled, failed, flagged, retried, and how physical it is.

mlipq label qm7.extxyz.gz -o qm7
python benchmarks/labeling/real_runs.py qm7 gscdb138 …
"""

import argparse
import csv
import platform
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np

import mlipq
from mlipq.labeling.folder import OutputFolder
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
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", nargs="+", type=Path)
    parser.add_argument("--failures", action="store_true", help="list the failures by class too")
    args = parser.parse_args()
    columns = [describe(path) for path in args.outputs]
    print(
        f"{date.today()}, Python {platform.python_version()}, {mlipq.open_dataset(args.outputs[0]).manifest.provenance.software}\n"
    )
    for key in columns[0]:
        print("| " + " | ".join([key, *(column[key] for column in columns)]) + " |")
        if key == "dataset":
            print("|" + "---|" * (len(columns) + 1))
    if args.failures:
        for path in args.outputs:
            with OutputFolder(path).failures_file.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            print(f"\n{path.name}: {dict(Counter(row['error'] for row in rows))}")
            for row in rows:
                print(f"  {row['source_index']} {row['name']}: {row['error']}: {row['message'][:300]}")


if __name__ == "__main__":
    main()
