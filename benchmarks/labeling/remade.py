"""How much labels differ when they are made again elsewhere: other BLAS, other kernels, an older processor, another order.

    python -m benchmarks.labeling.remade

The bundled samples are labelled once for each setting, by ``mlipq label`` in a process of its own, and every array is compared
with that of the first setting. A processor that lacks an instruction set is imitated: ``OPENBLAS_CORETYPE`` chooses the
kernels of OpenBLAS, ``GLIBC_TUNABLES`` the functions of the C library (exp, sin …), which have a variant with fused
multiply-add. The tolerances of ``mlipq data diff`` (``mlipq/hub/tolerances.py``) come from here.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import mlipq
from benchmarks.harness import versions, write_results
from mlipq import resources
from mlipq.store import Dataset

RESULTS = Path(__file__).parent / "results" / "remade.json"
FILES = ("qm7.extxyz.gz", "gscdb138.extxyz.gz", "mopac_pm7.extxyz.gz", "tmqm.extxyz.gz")
NO_FMA = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4"}
SETTINGS: dict[str, dict[str, str]] = {
    "as is": {},
    "reference BLAS": {"MLIPQ_BLAS": "stock"},
    "OpenBLAS kernels: Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS kernels: Zen": {"OPENBLAS_CORETYPE": "Zen"},
    "OpenBLAS kernels: Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "no AVX2, no FMA": {"OPENBLAS_CORETYPE": "Nehalem", **NO_FMA},
    "reference BLAS, no FMA": {"MLIPQ_BLAS": "stock", **NO_FMA},
    "files in reverse order": {},
}
"""Environment variables of each run; the first is what the others are compared with."""


def label(folder: Path, setting: str, workers: int) -> Dataset:
    """Label the samples; what a killed run left is gone on with."""
    out = folder / setting.replace(" ", "-").replace(":", "").replace(",", "")
    files = [str(resources.samples() / file) for file in FILES]
    inputs = files[::-1] if "reverse" in setting else files
    command = [Path(sys.executable).with_name("mlipq"), "label", *inputs, "-o", out, "--workers", str(workers)]
    subprocess.run(command, env={**os.environ, **SETTINGS[setting]}, check=True, stdout=subprocess.DEVNULL)
    return mlipq.open_dataset(out)


def differences(dataset: Dataset, first: Dataset) -> dict[str, Any]:
    """Return the largest difference of every array over all structures, and what beyond numbers differs."""
    rows = [first.find(identity.tobytes()) for identity in dataset["identity"][:].astype("<u8")]
    common = np.array([number for number, row in enumerate(rows) if row is not None])
    theirs = dataset.batch(common)
    ours = first.batch([row for row in rows if row is not None])
    found: dict[str, Any] = {
        "structures": len(common),
        "only in one": len(dataset) + len(first) - 2 * len(common),
        "other flags": int((theirs["quality"] != ours["quality"]).sum()),
        "other rung": int((theirs["gfn1/scf_attempt"] != ours["gfn1/scf_attempt"]).sum()),
    }
    for name in sorted(name for name in ours if name.startswith("gfn1/") and ours[name].dtype.kind == "f"):
        gaps = np.abs(theirs[name].astype("f8") - ours[name].astype("f8"))
        known = gaps[np.isfinite(gaps)]
        found[name] = float(known.max())
        found[f"{name}, 99.9 %"] = float(np.quantile(known, 0.999))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--folder", type=Path, help="keep the labelled datasets here; what is there already is used")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        datasets = {setting: label(folder, setting, args.workers) for setting in SETTINGS}
        first, *others = datasets
        for setting in others:
            rows.append({"contestant": setting, **differences(datasets[setting], datasets[first])})
            print(rows[-1], flush=True)
    settings = {"files": FILES, "compared_with": first, "environment": SETTINGS}
    write_results(args.results, "labels made again", settings, versions("mlipq", "tblite", "scipy-openblas32"), rows)


if __name__ == "__main__":
    main()
