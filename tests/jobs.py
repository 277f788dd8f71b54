"""Jobs run by the real command line, and what is left of their processes and files."""

import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlipq.labeling import plan as planning
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import make_job
from mlipq.labeling.sources import find_sources
from mlipq.store import open_dataset

MLIPQ = Path(sysconfig.get_path("scripts")) / "mlipq"
WORKERS = 2
DOCUMENTED = re.compile(
    r"plan\.json|manifest\.json|failures\.csv|logs/label\.log|logs/status\.json|logs/workers/[^/]+\.log|inputs/(rejected|duplicates)\.jsonl"
    r"|inputs/part-\d{5}\.zarr\.zip|shards/part-\d{5}\.(zarr\.zip|h5|json)"
)


def run(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess:
    """Run mlipq to its end."""
    command = [MLIPQ, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd="/")


def plan_in_small_partitions(inputs: Path, out: Path, seconds: float = 0.07, **settings: str) -> None:
    """Plan as ``mlipq plan`` does, with smaller partitions."""
    job = make_job({"inputs": [str(inputs)], "output": str(out), **settings}, "a test")
    least, planning.PARTITION_SECONDS = planning.PARTITION_SECONDS, (seconds, 120.0)
    try:
        planning.make_plan(find_sources(job, Path()), job, OutputFolder(out))
    finally:
        planning.PARTITION_SECONDS = least


def until(condition: Callable[[], object], seconds: float = 30) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


@dataclass
class Job:
    """An output folder."""

    out: Path

    @classmethod
    def copy(cls, source: Path, out: Path) -> "Job":
        shutil.copytree(source, out)
        return cls(out)

    @property
    def folder(self) -> OutputFolder:
        return OutputFolder(self.out)

    def done(self) -> int:
        """Partitions that are done."""
        return len(list(self.folder.sidecars(self.folder.plan())))

    def content(self) -> dict[str, bytes]:
        """Every array of every shard, and the manifest, as bytes."""
        shards = [table.arrays for table in open_dataset(self.out).tables()]
        arrays = {
            f"{number}/{name}": repr(values.tolist()).encode() if values.dtype == object else values.tobytes()
            for number, shard in enumerate(shards)
            for name, values in shard.items()
        }
        return {**arrays, "manifest": (self.out / "manifest.json").read_bytes()}

    def files(self) -> list[str]:
        """All files but the logs of workers, which are named for their processes."""
        files = (path.relative_to(self.out) for path in self.out.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in files if path.parent.name != "workers")

    def leftovers(self) -> list[str]:
        """What does not belong into an output folder."""
        folders = {path.relative_to(self.out).as_posix() for path in self.out.rglob("*") if path.is_dir()}
        return [name for name in self.files() if not DOCUMENTED.fullmatch(name)] + sorted(
            folders - {"inputs", "shards", "logs", "logs/workers"}
        )


class Running:
    """A job under way, in a process group of its own as in a terminal; use as a context manager."""

    def __init__(self, *arguments: object) -> None:
        self.client = psutil.Popen(
            [MLIPQ, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
        )
        self._seen: dict[int, psutil.Process] = {}

    def processes(self) -> list[psutil.Process]:
        """Everything that the client started, at any depth, now or before, and is still there."""
        try:
            self._seen |= {process.pid: process for process in self.client.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass
        return [process for process in self._seen.values() if _alive(process)]

    def labeling(self) -> list[psutil.Process]:
        """The labeling children that have used some CPU beyond their start."""
        return [process for process in self.processes() if "mlipq.xtb.child" in _command(process)]

    def workers(self) -> list[psutil.Process]:
        """The Dask workers that have a labeling child."""
        return [parent for parent in (child.parent() for child in self.labeling()) if parent is not None]

    def wait_for(self, job: Job, partitions: int) -> None:
        """Wait until so many partitions are done and every worker is labeling."""
        reached = until(
            lambda: (job.done() >= partitions and len(self.labeling()) >= WORKERS) or self.client.poll() is not None, 60
        )
        assert reached and self.client.poll() is None, self.client.communicate()

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        """Wait for the client: exit code, standard output, standard error."""
        stdout, stderr = self.client.communicate(timeout=timeout)
        return self.client.returncode, stdout, stderr

    def orphans(self, seconds: float = 10) -> list[str]:
        """What is still running some seconds after the client has gone."""
        until(lambda: not self.processes(), seconds)
        return [_command(process) for process in self.processes()]

    def interrupt(self) -> None:
        """Do what a terminal does on Ctrl-C."""
        os.killpg(self.client.pid, signal.SIGINT)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.processes(), self.client]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        self.client.communicate()


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
