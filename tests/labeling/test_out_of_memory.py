"""The kernel's out-of-memory killer, for real: a worker's control group is filled up by a neighbour that it may not kill."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from jobs import Running, until
from test_faults import assert_undisturbed
from test_running_scheduler import running, scheduler

__all__ = ["scheduler"]  # a fixture
pytestmark = pytest.mark.timeout(300)

GIB = 1 << 30
LIMIT = 800 << 20
NEIGHBOUR = """
import sys, time
open("/proc/self/oom_score_adj", "w").write("-1000")  # the kernel takes others first
taken = bytearray(int(sys.argv[1]))
taken[::4096] = bytes(len(taken[::4096]))
print("full", flush=True)
time.sleep(1)
"""


@pytest.fixture
def group():
    """A control group of little memory, of either version; what it holds, and how often the kernel killed in it."""
    one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    version = 1 if one.is_dir() else 2
    path = (one if version == 1 else two) / f"mlipq-test-{os.getpid()}"
    try:
        if version == 2:
            (two / "cgroup.subtree_control").write_text("+memory")
        path.mkdir()
    except OSError as error:
        pytest.skip(f"control groups may not be made here: {error}")
    made = Group(path, version)
    made.limit(LIMIT)
    yield made
    until(lambda: not (path / "cgroup.procs").read_text(), 20)
    path.rmdir()


class Group:
    def __init__(self, path: Path, version: int) -> None:
        self.path, self.version = path, version

    def _number(self, file: str, name: str) -> int:
        rows = (line.split() for line in (self.path / file).read_text().splitlines())
        return next(int(number) for key, number in rows if key == name)

    def held(self) -> int:
        """Bytes that cannot be given up."""
        return self._number("memory.stat", "total_rss" if self.version == 1 else "anon")

    def kills(self) -> int:
        return self._number("memory.oom_control" if self.version == 1 else "memory.events", "oom_kill")

    def limit(self, size: int) -> None:
        (self.path / ("memory.limit_in_bytes" if self.version == 1 else "memory.max")).write_text(str(size))

    def command(self, *command: str) -> list[str]:
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs; exec "$@"', "sh", *command]

    def fill(self) -> None:
        """Take more memory than is left, for a second."""
        size = LIMIT - self.held() + (40 << 20)
        subprocess.run(self.command(sys.executable, "-c", NEIGHBOUR, str(size)), capture_output=True, timeout=60)


@contextmanager
def worker_in(group: Group, address: str, scratch: Path):
    options = ["worker", address, "--nthreads", "1", "--host", "127.0.0.1", "--local-directory", str(scratch)]
    with running(*options, before=group.command()):
        yield


def test_a_worker_out_of_memory_costs_no_structure(job, undisturbed, scheduler, group, tmp_path):
    _, address = scheduler
    with worker_in(group, address, tmp_path / "scratch"), Running("label", job.out, "--scheduler", address) as labeling:
        assert until(lambda: job.done() >= 1, 100)
        for _ in range(3):
            group.fill()
            if group.kills():
                break
            time.sleep(0.5)
        code, _, said = labeling.end(150)
    assert group.kills() >= 1
    assert code == 0, said
    assert_undisturbed(job, undisturbed)


def test_a_child_may_have_its_control_groups_share_of_memory(group):
    """As a queue gives a job so many cores and so much memory."""
    script = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from mlipq.labeling.child import memory_share; print(memory_share())"
    for size, expected in ((3 * GIB, 3 * GIB), (GIB, 2 * GIB)):
        group.limit(size)
        done = subprocess.run(group.command(sys.executable, "-c", script), capture_output=True, text=True, timeout=60)
        assert int(done.stdout) == expected, done.stderr
