"""Turn done partitions into a dataset: check every shard, then write ledger and manifest."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from mlipq.errors import CheckError, IncompleteError
from mlipq.labeling.folder import Duplicate, Failure, OutputFolder, Plan, Sidecar, plan_digest
from mlipq.schema import ArraySpec, Flag
from mlipq.store import Manifest, ShardEntry, Table, commit_bytes, open_shard, sha256_file
from mlipq.store.columns import join_specs
from mlipq.store.manifest import Conflict, Provenance
from mlipq.store.shard import Shard
from mlipq.store.statistics import summarise

LEDGER_TEXT = 10_000
"""Characters of a name or message in ``failures.csv``."""


def finish(folder: OutputFolder) -> Manifest:
    """Check that everything is there and intact, then write the failure ledger and the manifest.

    Parameters
    ----------
    folder
        Output folder with all partitions done.

    Returns
    -------
    Manifest
        As written to ``manifest.json``.

    Raises
    ------
    IncompleteError
        If partitions are missing (all are listed, nothing is touched), or shards are damaged (they are set aside to be made
        again).
    """
    plan = folder.plan()
    with folder.held():
        return _finish(folder, plan)


def _finish(folder: OutputFolder, plan: Plan) -> Manifest:
    missing = folder.missing(plan)
    if missing:
        raise IncompleteError(
            f"{folder.path}: {len(missing)} of {len(plan.partitions)} partitions are not labelled: {spans(missing)}\n"
            f"Label them with: mlipq label {folder.path}  or: mlipq partition {folder.path} {spans(missing)}"
        )
    sidecars = list(folder.sidecars(plan))
    _require_intact(folder, sidecars)
    failures = list(_failures(folder, sidecars))
    commit_bytes(folder.failures_file, _as_csv(failures))
    manifest = _manifest(folder, plan, sidecars, failures)
    manifest.write(folder.manifest_file)
    folder.clear_temporaries()
    return manifest


def finished(folder: OutputFolder, plan: Plan) -> Manifest | None:
    """Return the manifest where it is valid and describes the shards that are there, else ``None``."""
    if not folder.manifest_file.is_file() or folder.missing(plan):
        return None
    try:
        manifest = Manifest.read(folder.manifest_file)
    except CheckError:
        return None
    described = {entry.file: entry.sha256 for entry in manifest.shards}
    there = {f"{folder.shards.name}/{sidecar.file}": sidecar.sha256 for sidecar in folder.sidecars(plan)}
    return manifest if described == there else None


def spans(indices: list[int]) -> str:
    """Write partition numbers as the command line takes them: ``0-3,7,9-11``."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _require_intact(folder: OutputFolder, sidecars: list[Sidecar]) -> None:
    damaged = []
    for sidecar in sidecars:
        found = sha256_file(folder.shards / sidecar.file)
        if found != sidecar.sha256:
            damaged.append(f"  {sidecar.file}: expected sha256 {sidecar.sha256[:16]}…, found {found[:16]}…")
            folder.sidecar_file(sidecar.index).unlink(missing_ok=True)
    if damaged:
        listed = "\n".join(damaged)
        raise IncompleteError(
            f"{folder.path}: {len(damaged)} shards are damaged and will be made again:\n{listed}\nRun: mlipq label {folder.path}"
        )


def _failures(folder: OutputFolder, sidecars: list[Sidecar]) -> Iterator[Failure]:
    with folder.rejected_file.open(encoding="utf-8") as file:
        yield from map(Failure.model_validate_json, file)
    for sidecar in sidecars:
        yield from sidecar.failures


def _as_csv(failures: list[Failure]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Failure.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _one_line(value) for name, value in failure.model_dump().items()} for failure in failures)
    return text.getvalue().encode(errors="replace")


def _one_line(value: Any) -> Any:
    """Keep a text of the ledger on its line, in a length that every reader of CSV takes."""
    return " ".join(value.split())[:LEDGER_TEXT] if isinstance(value, str) else value


@dataclass
class _Tally:
    """What is counted over all shards."""

    attempts_array: str
    specs: list[dict[str, ArraySpec]] = field(default_factory=list)
    empty: list[dict[str, ArraySpec]] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)

    def add(self, shard: Shard) -> None:
        """Count one shard; an empty one has a say in the types of arrays only where all are."""
        if len(shard) == 0:
            self.empty.append(dict(shard.specs))
            return
        self.specs.append(dict(shard.specs))
        quality = shard.read("quality", 0, len(shard))
        self.flags.update({str(flag.name): n for flag in Flag if (n := int((quality & flag.value != 0).sum()))})
        if self.attempts_array in shard.specs:
            rungs, counts = np.unique(shard.read(self.attempts_array, 0, len(shard)), return_counts=True)
            self.attempts.update({str(rung): int(n) for rung, n in zip(rungs, counts, strict=True)})


def _manifest(folder: OutputFolder, plan: Plan, sidecars: list[Sidecar], failures: list[Failure]) -> Manifest:
    labeler = plan.settings["labeler"]
    tally = _Tally(f"{labeler['name']}/scf_attempt")
    entries = [_entry(folder, sidecar, tally) for sidecar in sidecars]

    def tables() -> Iterator[Table]:
        for sidecar in sidecars:
            with open_shard(folder.shards / sidecar.file) as shard:
                table, _ = shard.load()
            yield table

    found = summarise(tables)
    digest = hashlib.sha256(json.dumps(plan_digest(plan), sort_keys=True).encode()).hexdigest()
    return Manifest(
        level_of_theory=labeler["level_of_theory"],
        shards=entries,
        arrays=list(join_specs(tally.specs, tally.empty).values()),
        statistics=found.statistics,
        reference_energies=found.reference_energies,
        outliers=found.outliers,
        quality=dict(tally.flags),
        scf_attempts=dict(tally.attempts),
        failures=dict(Counter(failure.error for failure in failures)),
        conflicts=list(_conflicts(folder)),
        duplicates=plan.counts["duplicates"],
        provenance=Provenance(software=plan.versions, settings=plan.settings, plan_sha256=digest),
    )


def _entry(folder: OutputFolder, sidecar: Sidecar, tally: _Tally) -> ShardEntry:
    with open_shard(folder.shards / sidecar.file) as shard:
        tally.add(shard)
        elements = np.unique(shard.read("atomic_numbers", 0, shard.rows["atomic_numbers"]))
    return ShardEntry(
        file=f"{folder.shards.name}/{sidecar.file}",
        bytes=sidecar.bytes,
        sha256=sidecar.sha256,
        n_structures=sidecar.n_structures,
        n_atoms=sidecar.n_atoms,
        elements=[chemical_symbols[z] for z in elements],
    )


def _conflicts(folder: OutputFolder) -> Iterator[Conflict]:
    with folder.duplicates_file.open(encoding="utf-8") as file:
        for row in map(Duplicate.model_validate_json, file):
            if row.conflict:
                yield Conflict(
                    identity=row.identity,
                    kept=f"{row.first_source_file} frame {row.first_source_index}",
                    dropped=f"{row.source_file} frame {row.source_index}",
                    labels=row.conflict.split("; "),
                )
