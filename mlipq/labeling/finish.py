"""Turn done partitions into a dataset: check every shard, then write ledger and manifest."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from mlipq.errors import CheckError, IncompleteError
from mlipq.labeling.folder import Duplicate, OutputFolder, Plan, plan_sha256
from mlipq.store import Manifest, Table, read_shard, sha256_file
from mlipq.store.failures import Failure, write_failures
from mlipq.store.manifest import Conflict, Provenance
from mlipq.store.statistics import Summary, summarise
from mlipq.store.tally import Tally


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
    tally = Tally()
    found = summarise(_intact(folder, plan, tally), partial(_again, folder, plan))
    failures = write_failures(folder.failures_file, _failures(folder, plan))
    manifest = _manifest(folder, plan, tally, found, failures)
    before = finished(folder, plan)
    if before is not None:  # finished once more: the same structures, so splits made meanwhile hold
        manifest = manifest.model_copy(update={"splits": before.splits})
    manifest.write(folder.manifest_file)
    folder.clear_temporaries()
    return manifest


def finished(folder: OutputFolder, plan: Plan) -> Manifest | None:
    """Return the manifest where it is valid and describes the shards that are there, else ``None``."""
    if not folder.manifest_file.is_file():
        return None
    if not is_finished(folder, plan, {sidecar.file: sidecar.sha256 for sidecar in folder.sidecars(plan)}):
        return None
    try:
        return Manifest.read(folder.manifest_file)
    except CheckError:
        return None


def is_finished(folder: OutputFolder, plan: Plan, done: Mapping[str, str]) -> bool:
    """True where all partitions are done and the manifest lists their shards; of a valid one, :func:`finished` makes sure.

    Parameters
    ----------
    done
        SHA-256 by file of the shards that are done, as their sidecars have them.
    """
    if len(done) < len(plan.partitions):
        return False
    try:
        shards = json.loads(folder.manifest_file.read_bytes())["shards"]  # checking 100,000 entries would take seconds
        listed = {entry["file"]: entry["sha256"] for entry in shards}
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return listed == {f"{folder.shards.name}/{file}": sha256 for file, sha256 in done.items()}


def spans(indices: list[int]) -> str:
    """Write partition numbers as the command line takes them: ``0-3,7,9-11``."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _failures(folder: OutputFolder, plan: Plan) -> Iterator[Failure]:
    with folder.rejected_file.open(encoding="utf-8") as file:
        yield from map(Failure.model_validate_json, file)
    for sidecar in folder.sidecars(plan):
        yield from sidecar.failures


def _manifest(folder: OutputFolder, plan: Plan, tally: Tally, found: Summary, failures: Counter[str]) -> Manifest:
    return Manifest(
        **tally.fields(),
        **vars(found),
        level_of_theory=plan.settings["labeler"]["level_of_theory"],
        failures=dict(failures),
        conflicts=list(_conflicts(folder)),
        duplicates=plan.counts["duplicates"],
        provenance=Provenance(software=plan.versions, settings=plan.settings, plan_sha256=plan_sha256(plan)),
    )


def _intact(folder: OutputFolder, plan: Plan, tally: Tally) -> Iterator[Table]:
    """Check and count the shards one after the other.

    Raises
    ------
    IncompleteError
        After the last one, if some are damaged; these are listed, and have lost their sidecars.
    """
    damaged = []
    for sidecar in folder.sidecars(plan):
        path = folder.shards / sidecar.file
        found = sha256_file(path)
        if found != sidecar.sha256:
            damaged.append(f"  {sidecar.file}: expected sha256 {sidecar.sha256[:16]}…, found {found[:16]}…")
            folder.sidecar_file(sidecar.index).unlink(missing_ok=True)
            continue
        table = read_shard(path)
        tally.add(f"{folder.shards.name}/{sidecar.file}", sidecar.bytes, sidecar.sha256, table)
        yield table
    if damaged:
        listed = "\n".join(damaged)
        raise IncompleteError(
            f"{folder.path}: {len(damaged)} shards are damaged and will be made again:\n{listed}\nRun: mlipq label {folder.path}"
        )


def _again(folder: OutputFolder, plan: Plan, names: Sequence[str]) -> Iterator[Table]:
    """Read some arrays of all shards."""
    for sidecar in folder.sidecars(plan):
        yield read_shard(folder.shards / sidecar.file, names)


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
