"""Errors of the electrons in each orbital: by element and shell, and of what can be said without a direction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mlipq.store import Dataset
from mlipq.training.inference.predictor import Predictor
from mlipq.training.models.batch import MODEL_INPUTS
from mlipq.training.models.moments import SHELL_MASK, populations

SHELLS = {"s": slice(0, 1), "p": slice(1, 4), "d": slice(4, 9)}
"""Columns of :func:`mlipq.training.models.moments.populations`."""
GROUPS = {"s": "s", "p": "p", "d": "d", "p and d": "pd", "all": "spd"}
"""What errors are told of, and the shells that it has: an orbital counts once, whatever its shell."""
MOMENTS = "gfn1/orbital_moments"
BLOCK = 1000
LEAST = 300
"""Orbitals of an element and shell in the test part, for its error to stand in a table."""

Populations = NDArray[np.float64]
"""``(atoms, 9)``, in e."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Sums of absolute errors, in me, and how many orbitals they are of: ``(119, 3)`` each, by atomic number and shell."""

    absolute: NDArray[np.float64]
    orbitals: NDArray[np.int64]

    @classmethod
    def of(cls, predicted: Populations, true: Populations, atomic_numbers: NDArray) -> Self:
        """Compare predictions with what is true; shells that an element lacks are left out."""
        there = SHELL_MASK.numpy()[atomic_numbers]  # (atoms, 3)
        absolute = np.zeros(SHELL_MASK.shape)
        orbitals = np.zeros(SHELL_MASK.shape, dtype=np.int64)
        for shell, columns in enumerate(SHELLS.values()):
            errors = 1e3 * np.abs(predicted[:, columns] - true[:, columns]).sum(axis=1) * there[:, shell]
            width = columns.stop - columns.start
            np.add.at(absolute[:, shell], atomic_numbers, errors)
            np.add.at(orbitals[:, shell], atomic_numbers, (width * there[:, shell]).astype(np.int64))
        return cls(absolute, orbitals)

    @classmethod
    def sum(cls, parts: Iterable["Errors"]) -> Self:
        """Add up those of several blocks of structures."""
        absolute, orbitals = zip(*((part.absolute, part.orbitals) for part in parts))
        return cls(np.sum(absolute, axis=0), np.sum(orbitals, axis=0))

    def by_group(self) -> dict[str, float]:
        """Return the mean error of each of :data:`GROUPS` that there is."""
        found = {}
        for name, shells in GROUPS.items():
            columns = ["spd".index(shell) for shell in shells]
            if orbitals := int(self.orbitals[:, columns].sum()):
                found[name] = float(self.absolute[:, columns].sum()) / orbitals
        return found

    def by_element(self) -> dict[str, dict[str, tuple[int, float]]]:
        """Return how many orbitals each shell of each element has, and their mean error."""
        return {
            chemical_symbols[z]: {
                shell: (int(self.orbitals[z, i]), float(self.absolute[z, i] / self.orbitals[z, i]))
                for i, shell in enumerate(SHELLS)
                if self.orbitals[z, i]
            }
            for z in np.flatnonzero(self.orbitals.any(axis=1))
        }


def true_populations(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[Populations, NDArray]:
    """Return the populations of the atoms of some structures, and their atomic numbers."""
    arrays = dataset.batch(rows, [MOMENTS, "atomic_numbers"])
    return populations(torch.from_numpy(arrays[MOMENTS].astype(np.float64))).numpy(), arrays["atomic_numbers"]


def errors_of(predictor: Predictor, dataset: Dataset, rows: NDArray[np.int64]) -> Errors:
    """Compare a model with some structures of a dataset, all of whose elements it knows."""
    parts = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        predicted = predictor.predict(dataset.batch(block, MODEL_INPUTS), ["orbital_populations"])[
            "orbital_populations"
        ]
        parts.append(Errors.of(predicted.astype(np.float64), *true_populations(dataset, block)))
    return Errors.sum(parts)


def spread_evenly(true: Populations) -> Populations:
    """Return each shell's electrons, shared out to its orbitals: all that an invariant model of shells could know."""
    return _each_shell(true, np.mean)


def medians(true: Populations) -> Populations:
    """Return the median orbital of each shell: of all predictions without a direction, that of the least absolute error."""
    return _each_shell(true, np.median)


def means_of_elements(train: tuple[Populations, NDArray], atomic_numbers: NDArray) -> Populations:
    """Return the mean of each shell's orbitals over all training atoms of an element, for other atoms."""
    populations_, numbers = train
    means = np.zeros((len(SHELL_MASK), populations_.shape[1]))
    for z in np.unique(numbers):
        means[z] = populations_[numbers == z].mean(axis=0)
    return spread_evenly(means)[atomic_numbers]


def _each_shell(true: Populations, reduce: Any) -> Populations:
    out = true.copy()
    for columns in SHELLS.values():
        out[:, columns] = reduce(true[:, columns], axis=1, keepdims=True)
    return out


Row = Mapping[str, Any]
"""Of the results: ``contestant``, ``dataset``, ``mae_me`` and ``by_element``, as :class:`Errors` gives them."""


def report(rows: Sequence[Row]) -> str:
    """Return the results as Markdown: errors by shell, by how much they differ, and errors by element."""
    return (
        "Mean absolute errors of the electrons in each orbital, in me, of the structures of `test`: mean over seeds ± standard "
        f"deviation.\n\n{_by_shell(rows)}\n\nBy how much the equivariant model's error is lower than the invariant "
        f"one's:\n\n{_by_gain(gains(rows))}\n\nInvariant → equivariant, by element, where there are {LEAST} orbitals at least "
        f"(`charges.csv` has the others):\n\n{_of_elements(by_element(rows))}\n"
    )


def gains(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return by how much the equivariant model's mean error is lower than the invariant one's, in percent of the latter."""
    means = {
        (dataset, contestant): {group: np.mean([row["mae_me"][group] for row in own]) for group in own[0]["mae_me"]}
        for dataset, contestant, own in _contests(rows)
    }
    return {
        dataset: {group: float(100 * (1 - error / means[dataset, "invariant"][group])) for group, error in own.items()}
        for (dataset, contestant), own in means.items()
        if contestant == "equivariant" and (dataset, "invariant") in means
    }


def by_element(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the errors by dataset, element and shell, a column a contestant: means over seeds, in me."""
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for dataset, contestant, own in _contests(rows):
        for element, shells in own[0]["by_element"].items():
            for shell, (orbitals, _) in shells.items():
                start = {"dataset": dataset, "element": element, "shell": shell, "orbitals": orbitals}
                line = lines.setdefault((dataset, element, shell), start)
                mean = np.mean([row["by_element"][element][shell][1] for row in own])
                line[f"{contestant.replace(' ', '_')}_me"] = round(float(mean), 3)
    return list(lines.values())


def _by_shell(rows: Sequence[Row]) -> str:
    lines = []
    for dataset, contestant, own in _contests(rows):
        errors = [row["mae_me"] for row in own]
        values = [_mean([error[group] for error in errors if group in error]) for group in GROUPS]
        lines.append([dataset, contestant, str(len(own)) if "seed" in own[0] else "", *values])
    return _markdown(["dataset", "contestant", "seeds", *GROUPS], lines)


def _by_gain(gains: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        [dataset, *(f"{own[group]:.0f} %" if group in own else "" for group in GROUPS)]
        for dataset, own in gains.items()
    ]
    return _markdown(["dataset", *GROUPS], lines)


def _of_elements(lines: Sequence[Mapping[str, Any]]) -> str:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        if line["orbitals"] >= LEAST and {"invariant_me", "equivariant_me"} <= line.keys():
            both = f"{line['invariant_me']:.1f} → {line['equivariant_me']:.1f}"
            cells.setdefault((line["dataset"], line["element"]), {})[line["shell"]] = both
    return _markdown(
        ["dataset", "element", *SHELLS],
        [[*key, *(own.get(shell, "") for shell in SHELLS)] for key, own in cells.items()],
    )


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)


def _contests(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Yield dataset, contestant, and its rows, one a seed."""
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        of_it = [row for row in rows if row["dataset"] == dataset]
        for contestant in dict.fromkeys(row["contestant"] for row in of_it):
            yield dataset, contestant, [row for row in of_it if row["contestant"] == contestant]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):.2f}"
    return f"{mean} ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else mean
