"""A trained model over files of structures, block by block; what cannot be predicted does not stop the rest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipq.errors import InputError
from mlipq.schema import STRUCTURE_ARRAYS
from mlipq.store import Table, atoms_at, open_dataset, pack
from mlipq.store.commit import committing
from mlipq.store.exporters.frames import frame_text
from mlipq.structures import InputFile, ReadOptions, Rejected, Structure, find_inputs, read_structures
from mlipq.training.inference.predictor import Predictor

_OWN = {spec.name for spec in STRUCTURE_ARRAYS}

BLOCK_STRUCTURES = 200
BLOCK_ATOMS = 5_000
"""Predicted and written at a time."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, of how many structures it is done, and how many there are; 0 while that is not known."""


@dataclass
class Predicted:
    """What was written, and what could not be.

    Attributes
    ----------
    structures
        How many were written.
    failures
        Where each of the others stands, and why it could not be predicted.
    """

    structures: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    output: Path,
    options: ReadOptions | None = None,
    progress: Progress = lambda doing, done, total: None,
) -> Predicted:
    """Predict for the structures of files or datasets, and write them as extended XYZ.

    ASE reads energy, forces, stress and dipole back as results of a calculator; all else is in ``info`` and ``arrays`` by its
    name. What the input carried beside charge and spin is kept, as ``info_<name>``.

    Parameters
    ----------
    predictor
        The model.
    inputs
        As for :func:`mlipq.structures.find_inputs`.
    output
        A file that does not exist yet; it appears when all is written.
    options
        How to read charge, spin and cell.
    progress
        Hears how far it is.

    Raises
    ------
    InputError
        If an input or the output cannot be used, or nothing could be predicted.
    """
    files, options = find_inputs(inputs, Path()), options or ReadOptions()
    total = _count(files, options, progress)
    predicted = Predicted()
    with committing(output) as out:
        for table in _tables(files, options, predicted.failures):
            for frame in _frames(predictor, table, predicted.failures):
                out.write(frame.encode())
                predicted.structures += 1
            progress("predicting", predicted.structures + len(predicted.failures), total)
        if not predicted.structures:
            where, why = predicted.failures[0]
            raise InputError(f"none of {total:,} structures could be predicted; the first, {where}: {why}")
    return predicted


def _count(files: Sequence[InputFile], options: ReadOptions, progress: Progress) -> int:
    """Read all files, which is quick beside predicting, so that a damaged one is found before and not in the middle."""
    total = 0
    for file in files:
        if file.kind == "dataset":
            total += len(open_dataset(file.path))
        else:
            for _ in read_structures(file, options):
                total += 1
                if total % BLOCK_STRUCTURES == 0:
                    progress("reading", total, 0)
    return total


def _tables(files: Sequence[InputFile], options: ReadOptions, failures: list[tuple[str, str]]) -> Iterator[Table]:
    """Yield the structures in blocks."""
    for file in files:
        if file.kind == "dataset":
            dataset = open_dataset(file.path)
            names = [name for name in dataset.specs if name in _OWN or name.startswith("info/")]
            for start in range(0, len(dataset), BLOCK_STRUCTURES):
                yield dataset.take(slice(start, start + BLOCK_STRUCTURES), names)
        else:
            for block in _blocks(file, options, failures):
                yield pack(block, {})


def _blocks(file: InputFile, options: ReadOptions, failures: list[tuple[str, str]]) -> Iterator[list[Structure]]:
    block: list[Structure] = []
    atoms = 0
    for item in read_structures(file, options):
        if isinstance(item, Rejected):
            name = f" ({item.name})" if item.name else ""
            failures.append((f"{item.source_file} frame {item.source_index}{name}", item.message))
            continue
        block.append(item)
        atoms += len(item)
        if len(block) == BLOCK_STRUCTURES or atoms >= BLOCK_ATOMS:
            yield block
            block, atoms = [], 0
    if block:
        yield block


def _frames(predictor: Predictor, table: Table, failures: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the text of each structure with what is predicted for it."""
    problems = predictor.problems(table.arrays)
    failures += [(_where(table, row), problem) for row, problem in problems.items()]
    fine = [row for row in range(len(table)) if row not in problems]
    if fine:
        yield from _predicted(predictor, table.take(fine), failures)


def _predicted(predictor: Predictor, table: Table, failures: list[tuple[str, str]]) -> Iterator[str]:
    try:
        predicted = predictor.predict(table.arrays)
    except InputError as error:
        if len(table) == 1:
            failures.append((_where(table, 0), str(error)))
            return
        for row in range(len(table)):  # one of them, or some: each by itself
            yield from _predicted(predictor, table.take([row]), failures)
        return
    for row in range(len(table)):
        yield _frame(
            atoms_at(table, row),
            {
                name: predicted[name][table.atoms_of(row)]
                for name, level in predictor.outputs.items()
                if level == "atom"
            },
            {name: predicted[name][row] for name, level in predictor.outputs.items() if level == "structure"},
        )


def _where(table: Table, row: int) -> str:
    name = table.arrays["name"][row]
    source = f"{table.arrays['source_file'][row]} frame {table.arrays['source_index'][row]}"
    return f"{source} ({name})" if name else source


def _frame(atoms: Atoms, of_atoms: dict[str, NDArray], of_all: dict[str, NDArray]) -> str:
    energy, forces = of_all.pop("energy", None), of_atoms.pop("forces", None)
    stress = of_all.pop("stress", None)
    if stress is not None and np.isfinite(stress).all():
        atoms.info["stress"] = stress.ravel()  # the form that ASE expects under this name
    atoms.arrays |= of_atoms
    atoms.info |= {name: value if value.ndim else float(value) for name, value in of_all.items()}
    return frame_text(atoms, None if energy is None else float(energy), forces)
