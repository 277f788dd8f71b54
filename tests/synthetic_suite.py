"""A suite's folder as runs would leave it, with errors drawn from a model of known truth: for tests of statistics and reports."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlipq.bench.results import (
    STRUCTURES,
    SUITE,
    LabelsFrom,
    Result,
    Structures,
    SuiteRecord,
    Trial,
    result_path,
    write_record,
)

LIKE_QM7 = {
    "energy": 1.0,
    "charges": 0.93,
    "moments": 0.90,
    "atomic-charges": 0.98,
    "dft-charges": 0.92,
    "gfn1": 0.95,
    "composite": 0.97,
    "all": 0.91,
    "shuffled": 1.01,
    "gaussian": 1.0,
    "charges+extra": 0.82,
    "composite+extra": 0.66,
    "composite-charges+extra": 0.60,
    "composite-moments+extra": 0.58,
    "pretrained+extra": 0.71,
    "delta": 0.45,
}
"""Modes, and their expected errors over those of the first."""


@dataclass
class Synthetic:
    """A suite whose expected errors are known: ``error(N) = 1000·N^-0.5`` meV for the first mode, times a factor for the others.

    Parameters
    ----------
    modes
        Mode to the factor.
    n_test
        Test structures.
    spread_structures, spread_seeds, spread_both
        Standard deviations of the logarithms of errors, by what they are common to.
    """

    modes: Mapping[str, float] = field(default_factory=lambda: dict(LIKE_QM7))
    sizes: Sequence[int] = (100, 300, 1000, 3000)
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    n_test: int = 400
    spread_structures: float = 0.7
    spread_seeds: float = 0.05
    spread_both: float = 0.5
    groups_held_out: bool = False
    seed: int = 0

    def write(self, folder: Path) -> Path:
        """Write suite.json, structures.json and all results."""
        rng = np.random.default_rng(self.seed)
        structures = self._structures(rng)
        write_record(folder / STRUCTURES, structures)
        write_record(folder / SUITE, self._record())
        common = self.spread_structures * rng.standard_normal(self.n_test)
        signs = rng.choice([-1.0, 1.0], self.n_test)
        for seed in self.seeds:
            for size in self.sizes:
                of_seed = self.spread_seeds * rng.standard_normal()
                distance = rng.integers(0, 6, self.n_test).astype(float)
                for mode, factor in self.modes.items():
                    own = 0.5 * self.spread_seeds * rng.standard_normal()
                    logs = common + of_seed + own + self.spread_both * rng.standard_normal(self.n_test)
                    logs -= (self.spread_structures**2 + 1.25 * self.spread_seeds**2 + self.spread_both**2) / 2
                    errors = 1000 * size**-0.5 * factor * signs * np.exp(logs)
                    write_record(*self._result(folder, mode, size, seed, errors, distance))
        return folder

    def _structures(self, rng: np.random.Generator) -> Structures:
        carbons, oxygens = rng.integers(2, 8, self.n_test), rng.integers(0, 3, self.n_test)
        sulphurs = (rng.random(self.n_test) < 0.1).astype(int)
        hydrogens = 2 * carbons + 2
        formulas = [
            f"C{c}H{h}" + (f"O{o}" if o else "") + ("S" if s else "")
            for c, h, o, s in zip(carbons, hydrogens, oxygens, sulphurs)
        ]
        elements = [["H", "C"] + ["O"] * bool(o) + ["S"] * bool(s) for o, s in zip(oxygens, sulphurs)]
        return Structures(
            identities=[digest(f"structure {k}")[:32] for k in range(self.n_test)],
            name=[f"molecule {k}" for k in range(self.n_test)],
            n_atoms=(carbons + hydrogens + oxygens + sulphurs).tolist(),
            formula=formulas,
            elements=elements,
            charge=[0] * self.n_test,
            group=[f"group {k // 3}" for k in range(self.n_test)],
            groups_held_out=self.groups_held_out,
            charge_deviation=[None if k % 4 == 0 else float(v) for k, v in enumerate(rng.gamma(4, 0.02, self.n_test))],
        )

    def _record(self) -> SuiteRecord:
        return SuiteRecord(
            name="synthetic",
            title="Synthetic errors of known truth",
            modes=list(self.modes),
            sizes=list(self.sizes),
            seeds=list(self.seeds),
            tuning=[
                Trial(
                    mode=mode, settings={"training": {"learning_rate": rate}}, validation_mae=error, chosen=error < 50
                )
                for mode in list(self.modes)[:2]
                for rate, error in ((5e-4, 47.1), (1e-3, 52.3))
            ],
            content={"dataset": "synthetic", "split": "random"},
        )

    def _result(
        self, folder: Path, mode: str, size: int, seed: int, errors: np.ndarray, distance: np.ndarray
    ) -> tuple[Path, Result]:
        source = labels_from(mode)
        n_validation = size // 10
        n = {"train": size - n_validation, "validation": n_validation, "test": self.n_test}
        n |= {"extra": 4901} if source == "extra" else {}
        drawn = f"{size} {seed}"
        mae = float(np.abs(errors).mean())
        pace = {"extra": 2.1, "same": 1.1}.get(source, 1.0)
        result = Result(
            suite="synthetic",
            suite_sha256=digest(f"{mode} {drawn}"),
            mode=mode,
            labels_from=source,
            size=size,
            seed=seed,
            dataset="synthetic@1.0.0",
            dataset_sha256=digest("dataset"),
            target="reference/pbe0_energy",
            unit="meV",
            level_of_theory="PBE0",
            splits={part: digest("test" if part == "test" else f"{part} {drawn}") for part in n},
            n=n,
            parameters=412_310,
            parameters_packaged=398_400,
            steps=6000,
            seconds=330.0 * pace,
            pretraining_seconds=1200.0 if mode.startswith("pretrained") else 0.0,
            threads=1,
            hardware="AMD EPYC 7B13",
            versions={"mlipq": "0.1.0", "torch": "2.13.0"},
            label_core_seconds=None if source == "none" else 0.02 * sum(n.values()),
            peak_memory_mb=612.0,
            inference_ms_per_structure=9.4 if source == "inference" else 1.7,
            curve=[(s, 330.0 * pace * s / 6000, mae * (1 + 4 * np.exp(-s / 1500))) for s in range(500, 6001, 500)],
            validation_mae=mae * 1.02,
            mae=mae,
            rmse=float(np.sqrt((errors**2).mean())),
            errors=[float(f"{error:.4g}") for error in errors],
            distance=distance.tolist(),
            other_maes={},
            config={"seed": seed},
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:06:00+00:00",
        )
        return result_path(folder, result.id), result


def labels_from(mode: str) -> LabelsFrom:
    """Return the class of a mode, as its name says."""
    if mode.endswith("+extra"):
        return "extra"
    return "none" if mode == "energy" else "inference" if mode == "delta" else "same"


def digest(text: str) -> str:
    """Return some 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()
