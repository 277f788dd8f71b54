"""Datasets of some megabytes made of the bundled molecules: copies, shaken at random, with random labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from published import file_entry

from mlipq.schema import ArraySpec
from mlipq.store import Manifest, ShardEntry, pack, write_shard
from mlipq.structures.structure import Structure, rounded

ENERGY = ArraySpec("reference/energy", "structure", (), "f8", "eV", "Random numbers", "energy", "none")
FORCES = ArraySpec("reference/forces", "atom", (3,), "f4", "eV/Å", "Random numbers", "forces", "none")


def shaken(structures: Sequence[Structure], n: int) -> list[Structure]:
    rng = np.random.default_rng(0)
    copies = []
    for index in range(n):
        original = structures[index % len(structures)]
        positions = rounded(original.positions + rng.normal(0, 0.05, original.positions.shape))
        labels = {"energy": float(rng.normal()), "forces": rng.normal(size=positions.shape)}
        copies.append(replace(original, positions=positions, reference=labels, source_index=index))
    return copies


def publish_large(base: Path, structures: Sequence[Structure], n: int, per_shard: int, ref: str) -> Path:
    """Write a version with ``n`` structures; return its folder."""
    name, version = ref.split("@")
    folder = base / name / version
    (folder / "shards").mkdir(parents=True)
    copies = shaken(structures, n)
    entries, specs = [], {}
    for start in range(0, n, per_shard):
        table = pack(copies[start : start + per_shard], {spec.name: spec for spec in (ENERGY, FORCES)})
        file = f"shards/part-{start // per_shard:05d}.zarr.zip"
        write_shard(folder / file, table, {})
        entries.append(ShardEntry.of(folder, file, table))
        specs |= table.specs
    (folder / "README.md").write_text(f"# {name}\n")
    documents = [file_entry(folder, "README.md")]
    manifest = Manifest(
        name=name, version=version, licence="CC0-1.0", shards=entries, arrays=list(specs.values()), documents=documents
    )
    manifest.write(folder / "manifest.json")
    return folder
