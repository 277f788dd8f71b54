"""Fit the cost model of GFN1-xTB: CPU seconds of a single point from the number n of atomic orbitals.

The model is a + b·n² + c·n³ (Gfn1.cost). Run it on structures of all sizes, from any files that mlipq reads:

    python benchmarks/labeling/fit_cost.py datasets/samples tmqm.extxyz.gz --every 50
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from mlipq.errors import LabelError
from mlipq.structures import ReadOptions, Structure, find_inputs, read_structures
from mlipq.xtb import Gfn1
from mlipq.xtb.checks import n_orbitals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--every", type=int, default=1, help="take one structure in EVERY")
    args = parser.parse_args()
    orbitals, seconds = [], []
    for file in find_inputs(args.inputs, Path()):
        for index, structure in enumerate(read_structures(file, ReadOptions(ignore_pbc=False))):
            if index % args.every or not isinstance(structure, Structure):
                continue
            started = time.process_time()
            try:
                label = Gfn1().label(structure)
            except LabelError:
                continue
            if label.arrays["gfn1/scf_attempt"] == 0:
                seconds.append(time.process_time() - started)
                orbitals.append(n_orbitals(structure.numbers))
    n, t = np.array(orbitals, dtype=float), np.array(seconds)
    design = np.stack([np.ones_like(n), n**2, n**3], axis=1)
    coefficients, _ = nnls(design / t[:, None], np.ones_like(t))  # relative errors count alike
    predicted = design @ coefficients
    print(f"{len(t)} structures, {n.min():.0f} to {n.max():.0f} orbitals")
    print("seconds = {:.3g} + {:.3g} n² + {:.3g} n³".format(*coefficients))
    print(f"Σ predicted / Σ measured = {predicted.sum() / t.sum():.3f}")
    quantiles = np.quantile(predicted / t, [0.05, 0.5, 0.95])
    print("predicted / measured, 5 %, median, 95 %: {:.2f} {:.2f} {:.2f}".format(*quantiles))
    for low, high in ((0, 30), (30, 60), (60, 120), (120, 240), (240, 480), (480, 2000)):
        part = (n >= low) & (n < high)
        if part.any():
            print(
                f"  {low:4d}–{high:4d} orbitals: {part.sum():5d} structures, Σ ratio {predicted[part].sum() / t[part].sum():.2f}, mean {1e3 * t[part].mean():.1f} ms"
            )


if __name__ == "__main__":
    main()
