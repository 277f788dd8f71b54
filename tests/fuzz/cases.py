"""One case: a valid file changed, published again, read; and what came of it.

Outcomes:

- ``error``: mlipq refused it, with an error of its own or a line of ``verify``;
- ``equal``: what was read is what was there before the change;
- ``declared``: what was read is what the changed file says, by an independent reader or by the sound shards, and is valid;
- ``WRONG``: anything else that was read.
"""

import hashlib
import json
import random
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from mlipq.errors import MlipqError
from mlipq.store import Manifest, Table, open_dataset, open_shard, read_shard, write_shard
from mlipq.store.checking.checks import Whole, label_problems, table_against_entry
from mlipq.store.columns import as_text, is_missing
from mlipq.store.manifest import ArrayStatistics, FileEntry, Split, read_listed
from mlipq.store.splits import split_bytes
from mlipq.store.statistics import summarise
from mlipq.store.tally import Tally
from tests.fuzz.mutate import changed_bytes, changed_json, changed_zip
from tests.store.molecules import g2_table

WORDS = {
    "name",
    "version",
    "description",
    "licence",
    "citation",
    "level_of_theory",
    "failures",
    "conflicts",
    "duplicates",
}
"""Fields of a manifest that only its publisher knows to be true, with the rest of what :func:`_checked_part` leaves out."""


class Base:
    """A valid dataset in a folder: two shards, a split, a document."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables = {f"shards/part-{n}.zarr.zip": _table(6 * n, 6 * n + 6) for n in range(2)}
        (folder / "shards").mkdir(parents=True)
        tally = Tally()
        for file, table in self.tables.items():
            tally.add(file, *write_shard(folder / file, table, {"made_by": "fuzz"}), table)
        tables = list(self.tables.values())
        found = summarise(tables, lambda names: tables)
        identities = np.concatenate([table.arrays["identity"] for table in tables])
        parts = ["train", "test"] * (len(identities) // 2)
        self._write("splits/random.csv", split_bytes(identities, parts))
        self._write("README.md", b"# A dataset\n")
        self.manifest = Manifest(
            name="fuzz",
            version="1.0.0",
            licence="CC-BY-4.0",
            citation="none",
            shards=tally.entries,
            arrays=tally.arrays(),
            statistics=found.statistics,
            reference_energies=found.reference_energies,
            quality=dict(tally.flags),
            scf_attempts=dict(tally.attempts),
            splits={"random": Split(**self._entry("splits/random.csv"), counts={"train": 6, "test": 6})},
            documents=[FileEntry(**self._entry("README.md"))],
        )
        self.manifest.write(folder / "manifest.json")
        self.text = (folder / "manifest.json").read_bytes()
        self.shard = next(iter(self.tables))
        self.zarr = (folder / self.shard).read_bytes()
        write_shard(folder / "sound.h5", self.tables[self.shard], {"made_by": "fuzz"})
        self.h5 = (folder / "sound.h5").read_bytes()

    def _write(self, file: str, data: bytes) -> None:
        (self.folder / file).parent.mkdir(exist_ok=True)
        (self.folder / file).write_bytes(data)

    def _entry(self, file: str) -> dict:
        data = (self.folder / file).read_bytes()
        return {"file": file, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _table(start: int, stop: int) -> Table:
    table = g2_table(start, stop, gfn1=True)
    charges, offsets = table.arrays["gfn1/orbital_charges"], table.arrays["atom_offsets"]
    for first, last in pairwise(offsets):
        charges[first:last] -= charges[first:last].mean(axis=0)  # they add up to the charge, which is 0
    return table


def run(base: Base, kind: str, seed: int, number: int) -> dict:
    """Run one case in a folder of its own; the same numbers give the same case."""
    draw = random.Random(f"{seed} {kind} {number}")
    return {"manifest": _manifest_case, "zarr": _zarr_case, "h5": _h5_case}[kind](base, draw)


def changed_h5(base: Base, seed: int, number: int) -> bytes:
    """Return the file of an HDF5 case."""
    return changed_bytes(base.h5, random.Random(f"{seed} h5 {number}"))


def _manifest_case(base: Base, draw: random.Random) -> dict:
    text = changed_json(base.text, draw) if draw.random() < 0.75 else changed_bytes(base.text, draw)
    try:
        json.loads(text)
        parsed = True
    except (ValueError, RecursionError):
        parsed = False
    try:
        manifest = Manifest.parse(text, "manifest.json")
        (base.folder / "manifest.json").write_bytes(text)
        read_wrongly = _wrong_rows(base, manifest)
        refused = read_wrongly or list(_dataset_problems(base, manifest))
    except MlipqError as error:
        return {"outcome": "error", "json": parsed, "said": str(error)[:200]}
    if read_wrongly:
        outcome = "WRONG"
    elif refused:
        outcome = "error"
    elif manifest == base.manifest:
        outcome = "equal"
    else:
        outcome = "declared" if _is_sound(manifest, base.manifest) else "WRONG"
    return {"outcome": outcome, "json": parsed, "said": str(refused)[:200]}


def _wrong_rows(base: Base, manifest: Manifest) -> str:
    """Read all that the manifest offers; return where it is not what the sound shards hold."""
    tables = open_dataset(base.folder).tables()
    try:
        for entry, table in zip(manifest.shards, tables, strict=True):
            truth = base.tables.get(entry.file)
            if truth is None:
                return f"{entry.file} was read"
            for name, values in table.arrays.items():
                if not _same_values(truth.arrays.get(name), values):
                    return f"{entry.file} {name} was read with other values"
    except MlipqError:
        pass  # of this shard; what came before it was as it should be
    return ""


def _same_values(truth: np.ndarray | None, values: np.ndarray) -> bool:
    """True where values are the true ones, in the type that was declared for them."""
    if truth is None:
        return is_missing(values)
    if values.dtype == object:
        return values.ravel().tolist() == [as_text(value) for value in truth.ravel()]
    return values.shape == truth.shape and np.array_equal(truth.astype(values.dtype), values, equal_nan=True)


def _dataset_problems(base: Base, manifest: Manifest):
    """Yield what verify would: its checks, in this process, which is killable itself."""
    for entry in (*manifest.shards, *manifest.splits.values(), *manifest.documents):
        data = base.folder / entry.file
        if not data.is_file():
            yield f"{entry.file}: missing"
            return
        content = data.read_bytes()
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            yield f"{entry.file}: bytes or sha256"
            return
    whole = Whole()
    for entry in manifest.shards:
        table = base.tables[entry.file]
        yield from table_against_entry(table, entry)
        whole.add(entry, table)
    yield from whole.problems(manifest, partial(read_listed, base.folder))


def _is_sound(manifest: Manifest, true: Manifest) -> bool:
    """True where all that can be checked is true; a split may be left out, or have another name."""
    splits, true_splits = (
        [split.model_dump(exclude={"made_by"}) for split in said.splits.values()] for said in (manifest, true)
    )
    return _checked_part(manifest) == _checked_part(true) and all(split in true_splits for split in splits)


def _checked_part(manifest: Manifest) -> dict:
    """What verify holds against the shards, which may come in any order; numbers as far as it compares them."""
    said = manifest.model_dump(
        exclude=WORDS | {"outliers", "provenance", "shards", "splits", "statistics", "reference_energies", "documents"}
    )
    said["arrays"] = sorted(said["arrays"], key=lambda spec: spec["name"])
    shards = [entry.model_dump(exclude={"urls"}) for entry in manifest.shards]
    said["shards"] = sorted(shards, key=lambda entry: entry["file"])
    said["statistics"] = {
        name: [found.count, found.minimum, found.maximum, *_in_scale(found)]
        for name, found in manifest.statistics.items()
    }
    said["energies"] = {
        name: [found.structures, found.rank, found.isolated, {s: round(e, 2) for s, e in found.fitted.items()}]
        for name, found in manifest.reference_energies.items()
    }
    return said


def _in_scale(found: ArrayStatistics) -> list[float]:
    scale = max(abs(found.minimum), abs(found.maximum)) or 1.0
    return [round(value / scale, 7) for value in (found.mean, found.std)]


def _zarr_case(base: Base, draw: random.Random) -> dict:
    resealed = draw.random() < 0.7
    data = changed_zip(base.zarr, draw) if resealed else changed_bytes(base.zarr, draw)
    path = base.folder / "changed.zarr.zip"
    path.write_bytes(data)
    truth = base.tables[base.shard]
    try:
        table = read_shard(path)
    except MlipqError as error:
        return {"outcome": "error", "said": str(error)[:200]}
    if not _taken_alike(path, table):
        return {"outcome": "WRONG", "said": "rows taken one by one are not those of the whole"}
    if _same_table(table, truth):
        return {"outcome": "equal"}
    if not resealed or not _zarr_agrees(path, table):
        return {"outcome": "WRONG", "said": "read otherwise than zarr reads it"}
    return {"outcome": "error" if any(True for _ in label_problems(table)) else "declared"}


def _taken_alike(path: Path, table: Table) -> bool:
    with open_shard(path) as shard:
        taken = shard.take(np.arange(len(table)), list(table.arrays))
    return _same_table(taken, table)


def _same_table(one: Table, other: Table) -> bool:
    return one.specs == other.specs and all(
        np.array_equal(values, other.arrays[name], equal_nan=values.dtype.kind == "f")
        for name, values in one.arrays.items()
    )


def _zarr_agrees(path: Path, table: Table) -> bool:
    import zarr  # which takes longer than most cases of other kinds

    with warnings.catch_warnings(action="ignore"), zarr.storage.ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        return all(
            np.array_equal(np.asarray(group[name][:], values.dtype), values, equal_nan=values.dtype.kind == "f")
            and group[name].attrs["unit"] == table.specs[name].unit
            for name, values in table.arrays.items()
        )


def _h5_case(base: Base, draw: random.Random) -> dict:
    path = base.folder / "changed.h5"
    path.write_bytes(changed_bytes(base.h5, draw))
    try:
        table = read_shard(path)
    except MlipqError as error:
        return {"outcome": "error", "said": str(error)[:200]}
    return {"outcome": "equal" if _same_table(table, base.tables[base.shard]) else "WRONG"}
