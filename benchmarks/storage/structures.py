"""The labelled structures that all contestants hold: joined datasets, filled up with copies where there are too few."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

import mlipq
from benchmarks.storage.contestants import TRAINING
from mlipq import resources
from mlipq.schema import KNOWN_ARRAYS, STRUCTURE_ARRAYS
from mlipq.store import Dataset, Manifest, ShardEntry, Table, join_specs, open_dataset, write_shard
from mlipq.structures.structure import identity, identity_words

SHARD_ATOMS = 400_000
"""Atoms in a shard, which then takes some 32 MB: the size of published shards."""

_NEEDED = {spec.name for spec in STRUCTURE_ARRAYS if not spec.optional} | set(TRAINING)
"""What a shard holds in any case (identity, source, group …), which mlipq stores beside what the others store."""


def source_parser(description: str | None, structures: int) -> argparse.ArgumentParser:
    """Return a parser of what a benchmark is told of its structures and rounds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset", type=Path, nargs="+", help="labelled datasets; default the bundled samples, labelled"
    )
    parser.add_argument("--structures", type=int, default=structures)
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def labelled_samples(work: Path) -> Path:
    """Label the bundled samples, once; takes about a minute."""
    out = work / "labelled"
    if not (out / "manifest.json").is_file():
        print("labelling the bundled samples", flush=True)
        mlipq.label([resources.samples()], out)
    return out


def make_source(datasets: Iterable[Path], n_structures: int, folder: Path) -> tuple[Dataset, int]:
    """Write ``n_structures`` of these datasets as one, and return it with the number of copies among them.

    Where there are more, they are drawn at random, in order. Where there are fewer, copies of them follow: see :func:`copied`.
    """
    whole = Table.concatenate(
        [_needed(table) for path in datasets for table in open_dataset(path).tables() if len(table)]
    )
    rng = np.random.default_rng(4)
    if len(whole) >= n_structures:
        whole = whole.take(np.sort(rng.choice(len(whole), n_structures, replace=False)))
    n_copies = n_structures - len(whole)
    parts = [whole]
    while (missing := n_structures - sum(map(len, parts))) > 0:
        parts.append(copied(whole.take(np.arange(min(missing, len(whole)))), rng))
    write_dataset(_in_shards(Table.concatenate(parts)), folder, ".zarr.zip")
    return open_dataset(folder), n_copies


def copied(table: Table, rng: np.random.Generator) -> Table:
    """Return copies that are as hard to compress as the originals.

    Positions, forces and dipoles are turned, each molecule by a rotation of its own. Energies, charges and moments get noise
    of a thousandth, far above their precision, where they are not zero; moments are not turned.
    """
    counts = np.diff(table.arrays["atom_offsets"])
    rotations = Rotation.random(len(table), random_state=rng).as_matrix()
    turns = {"atom": np.repeat(rotations, counts, axis=0), "structure": rotations}
    arrays = dict(table.arrays)
    for name in ("positions", "gfn1/forces", "gfn1/dipole"):
        values = np.einsum("nij,nj->ni", turns[table.specs[name].level], table.arrays[name])
        arrays[name] = np.round(values, 8).astype(table.arrays[name].dtype)
    for name in ("gfn1/energy", "gfn1/atomic_charges", "gfn1/orbital_charges", "gfn1/orbital_moments"):
        noise = 1 + 1e-3 * rng.standard_normal(table.arrays[name].shape)
        arrays[name] = (table.arrays[name] * noise).astype(table.arrays[name].dtype)
    copy = Table(arrays, table.specs)
    arrays["identity"] = np.array([_identity(copy, row) for row in range(len(copy))], dtype="u8").reshape(-1, 2)
    return copy


def write_dataset(tables: Iterable[Table], folder: Path, suffix: str) -> None:
    """Write tables as the shards of a dataset."""
    (folder / "shards").mkdir(parents=True)
    entries, specs = [], []
    for number, table in enumerate(tables):
        file = f"shards/part-{number:05d}{suffix}"
        write_shard(folder / file, table, {})
        entries.append(ShardEntry.of(folder, file, table))
        specs.append(table.specs)
    Manifest(shards=entries, arrays=list(join_specs(specs).values())).write(folder / "manifest.json")


def _needed(table: Table) -> Table:
    missing = _NEEDED - set(table.arrays)
    if missing:
        raise SystemExit(f"these datasets should be labelled with GFN1-xTB, but lack {', '.join(sorted(missing))}")
    return Table(
        {name: table.arrays[name] for name in sorted(_NEEDED)}, {name: KNOWN_ARRAYS[name] for name in sorted(_NEEDED)}
    )


def _identity(table: Table, row: int) -> np.ndarray:
    atoms, arrays = table.atoms_of(row), table.arrays
    charge, multiplicity = int(arrays["charge"][row]), int(arrays["multiplicity"][row])
    return identity_words(identity(arrays["atomic_numbers"][atoms], arrays["positions"][atoms], charge, multiplicity))


def _in_shards(table: Table) -> Iterator[Table]:
    offsets = table.arrays["atom_offsets"]
    cuts = np.searchsorted(offsets, np.arange(SHARD_ATOMS, table.n_atoms, SHARD_ATOMS))
    for first, last in zip([0, *cuts], [*cuts, len(table)], strict=True):
        yield table.take(np.arange(first, last))
