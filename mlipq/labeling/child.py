"""Label structures in a killable child."""

import os
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from mlipq.errors import LabelError, WorkerError
from mlipq.labeling.job import LabelerSettings, Limits
from mlipq.process import Arrays, Child, ChildDied, ChildTimeout, Request
from mlipq.schema import ArraySpec
from mlipq.structures.structure import Structure

Labelled = tuple[Arrays, int] | LabelError
"""Labels by array name and bits of :class:`mlipq.schema.Flag`, or why there are none."""

CRASHES_BELIEVED = 2
"""A structure whose child died this often in a row is to blame; the first time it may have been killed from outside."""

LEAST_SECONDS = 60.0
"""Any structure may take this long, unless the limits say otherwise: a busy machine is no reason to fail."""

_BLAS_SETTING = "MLIPQ_BLAS"
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
"""One process a core; and with one thread a label is the same to the last bit each time, which two threads' sums are not."""


class Labeler(Protocol):
    """A method that labels structures: GFN1 is one, PBE another."""

    @property
    def name(self) -> str:
        """Prefix of its arrays: ``gfn1``."""
        ...

    @property
    def version(self) -> str:
        """Changes when its labels do."""
        ...

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """What it makes."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What the labels depend on."""
        ...

    @property
    def child_command(self) -> list[str]:
        """Arguments of the Python interpreter that start the child."""
        ...

    def cost(self, numbers: NDArray) -> float:
        """Predicted seconds of one structure on the reference machine."""
        ...


class ChildStartError(WorkerError):
    """No working labeling child could be started on this machine."""

    exit_code = 1


class LabelingChild:
    """A labeler in a child process that is started when needed and replaced when it dies; threads take turns.

    Parameters
    ----------
    labeler
        What to run.
    limits
        Time and memory of one structure.
    environment
        Variables that the child sees beside this process's own.
    """

    def __init__(self, labeler: Labeler, limits: Limits, environment: Mapping[str, str] | None = None) -> None:
        self.labeler = labeler
        self._limits = limits
        self._environment = dict(environment or {})
        self._child: Child | None = None
        self.blas = ""
        """Name of the BLAS of the child that ran last."""
        self._turn = threading.RLock()

    def start(self) -> dict[str, Any]:
        """Start the child, unless it runs, and return its greeting.

        A child that dies or mislabels its reference molecule gets one more chance with tblite's stock BLAS.

        Raises
        ------
        ChildStartError
            If that does not help.
        """
        with self._turn:
            if self._child is None:
                self._child = self._start()
            return self._child.greeting

    def _start(self) -> Child:
        problem = ""
        for attempt in ({}, {_BLAS_SETTING: "stock"}):
            try:
                child = Child(
                    self.labeler.child_command,
                    {**_ONE_THREAD, **self._environment, **attempt},
                    self._limits.memory or memory_share(),
                )
            except (ChildDied, ChildTimeout) as error:
                problem = str(error)
                continue
            greeting = child.greeting
            if greeting["right"]:
                self.blas = greeting["blas"]
                if attempt and greeting["blas"] == "stock":
                    greeting["warning"] = (
                        f"the fast BLAS does not work here ({problem}); labeling with tblite's stock BLAS, slower"
                    )
                return child
            problem = (
                f"reference molecule: {greeting['energy']!r} eV, expected {greeting['expected']!r} ({greeting['blas']})"
            )
            child.close()
        raise ChildStartError(f"the labeling child does not start: {problem}; see: mlipq doctor")

    @property
    def pid(self) -> int | None:
        """Process id of the running child."""
        return self._child.pid if self._child else None

    def limit(self, structure: Structure) -> float:
        """Seconds that a structure may take."""
        if self._limits.seconds is not None:
            return self._limits.seconds
        return max(LEAST_SECONDS, self._limits.cost_factor * self.labeler.cost(structure.numbers))

    def label(self, structure: Structure) -> tuple[Arrays, int]:
        """Label one structure.

        Returns
        -------
        arrays, quality
            Labels by array name, and bits of :class:`mlipq.schema.Flag`.

        Raises
        ------
        LabelError
            What the labeler raises, ``timeout``, or ``killed`` where the child died of it.
        """
        (outcome,) = self.label_all([structure])
        if isinstance(outcome, LabelError):
            raise outcome
        return outcome

    def label_all(self, structures: Sequence[Structure]) -> Generator[Labelled, None, None]:
        """Label structures in order, as :meth:`label` does; what it would raise takes the place of the labels.

        Other threads wait until it has ended: close it, in its own thread, where not all is taken.
        """
        done = deaths = 0
        with self._turn:
            while done < len(structures):
                child, self._child = self._child or self._start(), None  # not used again unless it answers everything
                try:
                    with closing(child.map(map(self._request, structures[done:]))) as answers:
                        for answer in answers:
                            yield _outcome(*answer)
                            done, deaths = done + 1, 0
                    self._child = child
                    continue
                except ChildTimeout:
                    failure = LabelError(
                        "timeout",
                        f"stopped after its limit of {self.limit(structures[done]):.0f} s; try again with: "
                        "--retry timeout --time-limit SECONDS",
                        attempts=1,
                    )
                except ChildDied as error:
                    deaths += 1
                    if deaths < CRASHES_BELIEVED:
                        continue
                    failure = LabelError("killed", f"its process died {deaths} times: {error}", attempts=deaths)
                yield failure
                done, deaths = done + 1, 0

    def _request(self, structure: Structure) -> Request:
        header = {"charge": structure.charge, "multiplicity": structure.multiplicity}
        arrays: Arrays = {"numbers": structure.numbers, "positions": structure.positions}
        if structure.cell is not None and structure.pbc is not None:
            arrays |= {"cell": structure.cell, "pbc": structure.pbc}
        return header, arrays, self.limit(structure)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _outcome(answer: dict[str, Any], labels: Arrays) -> Labelled:
    if "error" in answer:
        return LabelError(answer["error"], answer["message"], answer["attempts"])
    return labels, answer["quality"]


def memory_share() -> int:
    """Bytes of memory that this machine, or this process's control groups, have for each core that it may use; at least 2 GiB.

    Less would stop the largest molecules, which few workers meet at once.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(max(min(total, *_control_group_limits()) // cores, 2 << 30))


def _control_group_limits() -> Iterator[int]:
    """Memory limits of the control groups that this process is in, of either version, from the innermost outwards."""
    yield sys.maxsize
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                root, file = Path("/sys/fs/cgroup"), "memory.max"
            elif "memory" in controllers.split(","):
                root, file = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
            else:
                continue
            group = root / path.lstrip("/")
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):  # not there, or "max"
                    yield int((folder / file).read_text())


_kept: dict[tuple[LabelerSettings, Limits], LabelingChild] = {}


def worker_child(settings: LabelerSettings, limits: Limits) -> LabelingChild:
    """Return this process's one labeling child for these settings; one for other settings ends."""
    key = (settings, limits)
    if key not in _kept:
        while _kept:
            _kept.popitem()[1].close()
        _kept[key] = LabelingChild(settings.build(), limits)
    return _kept[key]


os.register_at_fork(after_in_child=_kept.clear)  # two processes on one pipe would mix up their answers
