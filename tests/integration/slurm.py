"""A real SLURM on this machine: munged, slurmctld and slurmd with a configuration of their own, started by a fixture.

All of it, and every job, lives in a process namespace that ends with the tests, however these end.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# what needs neither control groups nor the system bus
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
# jobs start, and end, within a second
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
KillWait=2
ReturnToService=2
# more cores than there may be, shared by jobs
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MaxArraySize={max_array_size}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=64000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 OverSubscribe=NO
"""

DAEMONS = """
munged --foreground --force --socket={folder}/munge --key-file={folder}/munge.key --pid-file={folder}/munged.pid \
    --log-file={folder}/munged.log --seed-file={folder}/munge.seed &
until [ -S {folder}/munge ]; do sleep 0.02; done
slurmctld -D -f {folder}/slurm.conf &
slurmd -D -f {folder}/slurm.conf &
wait
"""

LIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}


@dataclass(frozen=True)
class Job:
    id: str
    """As SLURM prints it: ``7``, or ``7_2`` for the second task of an array."""
    name: str
    state: str
    """``PENDING``, ``RUNNING``, ``COMPLETED``, ``CANCELLED``, ``TIMEOUT``, ``FAILED``, …"""


@dataclass(frozen=True)
class Slurm:
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For whatever talks to this SLURM."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _path()}

    def run(self, *command: object) -> str:
        """Run one of SLURM's commands; return what it printed."""
        arguments = list(map(str, command))
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{arguments}: {done.stderr}\n{self.logs()}"
        return done.stdout.strip()

    def submit(self, script: str, *options: object) -> str:
        """Submit a batch script; return the number of the job."""
        file = self.folder / f"script-{time.monotonic_ns()}"
        file.write_text(script)
        return self.run("sbatch", "--parsable", f"--output={self.folder}/job-%A-%a.out", *options, file)

    def queue(self) -> list[Job]:
        """Jobs that wait or run, each task of an array by itself."""
        return [job for job in self.history() if job.state in LIVE]

    def history(self) -> list[Job]:
        """All jobs of the last five minutes, those that ended too."""
        rows = self.run("squeue", "--all", "--array", "--states=all", "--noheader", "--format=%i|%j|%T").splitlines()
        return [Job(*row.split("|")) for row in rows]

    def cancel(self, job: str, signal: str | None = None) -> None:
        """End a job as ``scancel`` does, or send it a signal: ``KILL``, ``TERM``."""
        self.run("scancel", *(["--full", f"--signal={signal}"] if signal else []), job)

    def end_in(self, job: str, seconds: int) -> None:
        """Set a running job's walltime so that it ends that soon; as an option it would count in minutes."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))
        self.run("scontrol", "update", f"JobId={job}", f"EndTime={at}")

    def processes(self, job: str) -> list[psutil.Process]:
        """What runs in a job."""
        return [process for process in psutil.process_iter() if self._runs_in(process, job)]

    def _runs_in(self, process: psutil.Process, job: str) -> bool:
        try:
            found = process.environ()
        except psutil.Error:  # gone meanwhile, or another user's
            return False
        return found.get("SLURM_JOB_ID") == job and found.get("SLURM_CONF") == str(self.folder / "slurm.conf")

    def logs(self) -> str:
        """The last lines of all logs."""
        return "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))


@contextmanager
def running_slurm(cores: int = 4, max_array_size: int = 1001) -> Iterator[Slurm]:
    """Start SLURM with one node, this machine; end it with all of its jobs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        slurm = Slurm(folder)
        controller, daemon = _free_ports(2)
        host = socket.gethostname().partition(".")[0]
        settings = {"folder": folder, "host": host, "controller": controller, "daemon": daemon}
        text = CONFIGURATION.format(**settings, cores=cores, max_array_size=max_array_size)
        (folder / "slurm.conf").write_text(text)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        folder.chmod(0o755)  # munged refuses a socket that others could not reach
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        contained = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with (folder / "daemons.log").open("w") as log:
            daemons = subprocess.Popen(
                [*contained, "sh", "-c", DAEMONS.format(folder=folder)],
                env=slurm.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        stack.callback(daemons.wait)
        stack.callback(daemons.kill)
        _wait_until_idle(slurm, daemons)
        yield slurm


def _wait_until_idle(slurm: Slurm, daemons: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    state = ""
    while state != "idle":
        assert daemons.poll() is None and time.monotonic() < deadline, f"SLURM's node is {state!r}\n{slurm.logs()}"
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=slurm.environment, capture_output=True, text=True
        )
        state = done.stdout.strip()
        time.sleep(0.05)


def _path() -> str:
    """Debian keeps daemons where the path of a user does not lead."""
    assert shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"), "run tests/integration/install.sh"
    return f"{os.environ['PATH']}:/usr/sbin"


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
