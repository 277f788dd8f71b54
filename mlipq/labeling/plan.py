"""Stream the inputs once: check, deduplicate, pack into partitions of like cost, and write down what was planned."""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import mlipq
from mlipq.errors import InputError
from mlipq.labeling.augment import rattled
from mlipq.labeling.child import Labeler
from mlipq.labeling.folder import (
    OutputFolder,
    Plan,
    PlannedInput,
    PlannedPartition,
    differences,
    plan_digest,
)
from mlipq.labeling.job import Job
from mlipq.labeling.ledgers import Ledgers
from mlipq.labeling.sources import Source, unchanged
from mlipq.schema import ArraySpec, Flag
from mlipq.store import commit_json, pack, sync_folder, unwritable, write_shard
from mlipq.store.commit import TEMPORARY_PREFIX
from mlipq.store.seen import Seen
from mlipq.structures import Rejected, Structure

PARTITION_SHARE = 32
"""A partition closes at this fraction of the cost planned so far …"""
PARTITION_SECONDS = (0.25, 120.0)
"""… but at least and at most this many predicted seconds. Fixed by the inputs, not by the number of workers."""
PARTITION_ATOMS = 20_000
"""It closes with this many atoms, too: planner and workers hold a partition in memory."""

_LABEL_NAME = re.compile(r"(?i)(^|_)(energy|forces?|stress|virial|dipole|charges|magmoms?)(_|$)")
"""Names that labels have: where they arrive unmapped, the user should hear of it."""

_CHARGE_OR_SPIN_NAME = re.compile(r"(?i)(^|_)(q|chrg|charge|spin|mult|multiplicity|unpaired|nspin)(_|$)")
"""Names that charge and spin may have: where defaults were taken beside them, the user should hear of it."""

_OWN_FILE = re.compile(r"part-\d+\.zarr\.zip|rejected\.jsonl|duplicates\.jsonl|\.tmp-.*")
"""What a plan writes into ``inputs/``."""

OnStructures = Callable[[int], None]


def versions(labeler: Labeler) -> dict[str, str]:
    """Versions of the software that made the dataset, for its provenance."""
    program = {name: str(made) for name, made in labeler.settings.items() if name in ("tblite", "pyscf")}
    return {"mlipq": mlipq.__version__, **program, "numpy": version("numpy"), "ase": version("ase")}


def make_plan(sources: list[Source], job: Job, folder: OutputFolder, progress: OnStructures = lambda _: None) -> Plan:
    """Plan a job, or return the plan that is there where it is the same one.

    Parameters
    ----------
    sources
        The inputs.
    job
        The settings.
    folder
        Where to write; made if need be.
    progress
        Called with the number of structures read so far.

    Returns
    -------
    Plan
        As ``plan.json`` holds it.

    Raises
    ------
    InputError
        If an input is damaged or holds no structure, a reference label is in none of them, or the folder was planned with
        other inputs or settings (listed). Nothing is written then.
    """
    with _held(folder):
        if folder.plan_file.exists():
            planned = folder.plan()
            inputs = _fingerprints(sources, planned)
            if inputs is not None:
                found = {"settings": job.settings(), "inputs": inputs}
                _require_same(folder, planned, planned.model_copy(update=found))
                return planned
        else:
            _require_free(folder)
        with _staged(folder) as stage:
            wanted = _write_plan(sources, job, stage, progress)
            if folder.plan_file.exists():
                _require_same(folder, planned, wanted)
                return planned
            _commit(stage, folder, wanted)
    return wanted


def _commit(stage: Path, folder: OutputFolder, plan: Plan) -> None:
    try:
        if folder.inputs.exists():
            shutil.rmtree(folder.inputs)  # left by a kill between the next line and the last
        stage.rename(folder.inputs)
        folder.shards.mkdir(exist_ok=True)
        sync_folder(folder.path)
    except OSError as error:
        raise unwritable(folder.path, error) from error
    commit_json(folder.plan_file, plan.model_dump())


def _fingerprints(sources: list[Source], planned: Plan) -> list[PlannedInput] | None:
    """Fingerprint the inputs, or return ``None`` where one can only be compared by reading it."""
    known = {entry.source_file: entry for entry in planned.inputs}
    inputs = []
    for source in sources:
        file = getattr(source, "file", None)
        entry = known.get(file.source_file) if file else None
        found = unchanged(entry, source) if entry else source.fingerprint()
        if found is None:
            return None
        inputs.append(found)
    return inputs


def _require_same(folder: OutputFolder, planned: Plan, wanted: Plan) -> None:
    found = differences(plan_digest(planned), plan_digest(wanted))
    if found:
        shown = "\n".join(f"  {line}" for line in found[:20])
        raise InputError(
            f"{folder.path} holds another job. What differs:\n{shown}\nUse another output folder, or the same inputs and settings."
        )


def _require_free(folder: OutputFolder) -> None:
    """Refuse a folder that holds anything but what a killed plan leaves behind.

    The plan replaces ``inputs/`` there: the user's own folder of that name must never be taken for a leftover.
    """
    other = sorted(path.name for path in _strangers(folder))
    if other:
        shown = ", ".join(other[:3]) + (", …" if len(other) > 3 else "")
        raise InputError(
            f"{folder.path}: the output must be a new or empty folder, or that of an earlier run, and this one holds "
            f"other files ({shown}); name another with -o"
        )


def _strangers(folder: OutputFolder) -> Iterator[Path]:
    """What no plan has put into an output folder; hidden files and logs (of an array job, say) may be there before."""
    for path in folder.path.iterdir() if folder.path.is_dir() else ():
        if path == folder.inputs and path.is_dir():
            yield from (inside for inside in path.iterdir() if not _OWN_FILE.fullmatch(inside.name))
        elif path == folder.shards and path.is_dir():
            yield from path.iterdir()
        elif path != folder.logs and not path.name.startswith("."):
            yield path


@contextmanager
def _held(folder: OutputFolder) -> Iterator[None]:
    """Make the output folder and hold it for one planner at a time; one that stays empty is removed again."""
    if folder.path.exists() and not folder.path.is_dir():
        raise InputError(f"{folder.path}: the output must be a folder, and this is a file; name another with -o")
    made = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder.path, error) from None
    try:
        with folder.held():
            yield
    finally:
        with suppress(OSError):  # not empty
            for path in made:
                path.rmdir()


@contextmanager
def _staged(folder: OutputFolder) -> Iterator[Path]:
    """A folder that becomes ``inputs/``, or vanishes."""
    for stale in folder.path.glob(f"{TEMPORARY_PREFIX}plan-*"):  # of a killed planner; shards/ may have live writers
        shutil.rmtree(stale, ignore_errors=True)
    stage = folder.path / f"{TEMPORARY_PREFIX}plan-{secrets.token_hex(8)}"
    try:
        stage.mkdir()
    except OSError as error:
        raise unwritable(folder.path, error) from None
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_plan(sources: list[Source], job: Job, stage: Path, progress: OnStructures) -> Plan:
    packer = _Packer(stage, job.labeler.build(), _joined_specs(sources))
    with Ledgers(stage) as ledgers, Seen(stage) as seen:
        problems = []
        for source in sources:
            try:
                _read(source, job, packer, ledgers, seen, progress)
            except InputError as error:
                problems.append(str(error))
        if problems:
            raise InputError("\n".join(["damaged inputs; nothing was written:", *problems]))
        packer.close()
        counts, found = ledgers.counts, seen.names
    if not counts["read"]:
        raise InputError("the inputs hold no structure; nothing was written")
    _require_references(sources, found, counts["read"])
    _require_keys(job, found, counts)
    inputs = [
        source.fingerprint() or PlannedInput(source_file="", bytes=0, mtime_ns=0, sha256=seen.digest())
        for source in sources
    ]
    return Plan(
        settings=job.settings(),
        versions=versions(job.labeler.build()),
        inputs=inputs,
        partitions=packer.partitions,
        counts=dict(counts),
        unmapped=sorted(name for name in found if _LABEL_NAME.search(name) and not name.startswith("reference/")),
        unread=sorted(filter(_CHARGE_OR_SPIN_NAME.search, found))
        if counts["charge_default"] or counts["spin_default"]
        else [],
    )


def _read(
    source: Source, job: Job, packer: "_Packer", ledgers: "Ledgers", seen: "Seen", progress: OnStructures
) -> None:
    for item in source.structures():
        ledgers.counts["read"] += 1
        if ledgers.counts["read"] % 100 == 0:
            progress(ledgers.counts["read"])
        if isinstance(item, Rejected):
            ledgers.reject(item)
            continue
        if not _is_new(item, ledgers, seen):
            continue
        ledgers.counts["charge_default"] += bool(item.quality & Flag.F_CHARGE_DEFAULT.value)
        ledgers.counts["spin_default"] += bool(item.quality & Flag.F_SPIN_DEFAULT.value)
        packer.add(item)
        for copy in rattled(item, job.augment.rattle) if job.augment else ():
            if _is_new(copy, ledgers, seen):
                ledgers.counts["rattled"] += 1
                packer.add(copy)
    progress(ledgers.counts["read"])


def _is_new(structure: Structure, ledgers: "Ledgers", seen: "Seen") -> bool:
    identity = structure.identity()
    first = seen.add(identity, structure)
    if first is not None:
        ledgers.duplicate(identity, structure, first)
    return first is None


def _joined_specs(sources: list[Source]) -> dict[str, ArraySpec]:
    specs: dict[str, ArraySpec] = {}
    for source in sources:
        for name, spec in source.specs.items():
            known = specs.setdefault(name, spec)
            if (known.unit, known.kind, known.level_of_theory, known.shape) != (
                spec.unit,
                spec.kind,
                spec.level_of_theory,
                spec.shape,
            ):
                raise InputError(
                    f"{name} means two things: {known.kind} in {known.unit} at {known.level_of_theory}, and {spec.kind} in {spec.unit} at "
                    f"{spec.level_of_theory}; give one of them another name"
                )
    return specs


def _require_references(sources: list[Source], found: set[str], read: int) -> None:
    missing = [
        f"reference {reference.name}: none of the {read} structures has a field {reference.field!r}"
        for source in sources
        for reference in getattr(getattr(source, "options", None), "references", ())
        if f"reference/{reference.name}" not in found
    ]
    if missing:
        known = ", ".join(sorted(name for name in found if not name.startswith("reference/"))) or "none"
        raise InputError(
            "\n".join([*dict.fromkeys(missing), f"fields that the structures have: {known}; nothing was written"])
        )


def _require_keys(job: Job, found: set[str], counts: dict[str, int]) -> None:
    """A field that the user names and no structure has is a slip, not a reason to take the default for all."""
    accepted = counts["read"] - counts["rejected"] - counts["duplicates"]
    for quantity, key in (("charge", job.charge.key), ("spin", job.spin.key)):
        if key is not None and accepted and counts[f"{quantity}_default"] == accepted:
            known = ", ".join(sorted(found)) or "none"
            raise InputError(
                f"{quantity} key {key!r}: none of the {counts['read']} structures has this field; fields that they have: {known}; "
                "nothing was written"
            )


class _Packer:
    """Collect structures until a partition is full, then write it."""

    def __init__(self, stage: Path, labeler: Labeler, specs: dict[str, ArraySpec]) -> None:
        self._stage = OutputFolder(stage)
        self._labeler = labeler
        self._specs = specs
        self._open: list[Structure] = []
        self._seconds = self._total = 0.0
        self._atoms = 0
        self.partitions: list[PlannedPartition] = []

    def add(self, structure: Structure) -> None:
        self._open.append(structure)
        cost = self._labeler.cost(structure.numbers)
        self._seconds += cost
        self._total += cost
        self._atoms += len(structure.numbers)
        least, most = PARTITION_SECONDS
        if self._seconds >= min(max(self._total / PARTITION_SHARE, least), most) or self._atoms >= PARTITION_ATOMS:
            self.close()

    def close(self) -> None:
        """Write the open partition, if it holds anything."""
        if not self._open:
            return
        index = len(self.partitions)
        path = self._stage.path / self._stage.packed_input(index).name
        _, digest = write_shard(path, pack(self._open, self._specs), {})
        entry = PlannedPartition(
            index=index,
            n_structures=len(self._open),
            n_atoms=self._atoms,
            seconds=round(self._seconds, 6),
            sha256=digest,
        )
        self.partitions.append(entry)
        self._open, self._seconds, self._atoms = [], 0.0, 0
