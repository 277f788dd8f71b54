"""Workers as jobs of a queueing system, by dask-jobqueue."""

import inspect
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mlipq.errors import InputError
from mlipq.interrupts import interrupts_unclaimed
from mlipq.labeling.clusters.cluster import DASK_SETTINGS, Cluster
from mlipq.labeling.clusters.profile import QueueProfile, refuse_unknown
from mlipq.labeling.clusters.security import credentials, security_of

RETIREMENT = 300.0
"""Workers retire this many seconds before their job's time is up; of less than 25 minutes, a fifth before …"""
LEAST_RETIREMENT = 60.0
"""… but not less than this, or half of the time: a worker waits up to half a minute for what it is at."""

LOOPBACK_DASHBOARD = "127.0.0.1:0"
"""Who is not on this machine reaches it by an ssh tunnel."""

_CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
}
_OURS = {"self", "scheduler", "name", "loop", "asynchronous", "n_workers", "job_cls", "scheduler_cls", "silence_logs"}
"""Parameters of dask-jobqueue that are not options of a profile."""


@contextmanager
def queue_cluster(profile: QueueProfile, folder: Path, threads: int) -> Iterator[Cluster]:
    """Submit workers to a queue; they are replaced when it ends them, and cancelled when the work is done.

    Parameters
    ----------
    profile
        Which queue, how many jobs, and dask-jobqueue's options.
    folder
        On the shared file system: for logs of the jobs and for credentials.
    threads
        Cores that one task uses.

    Raises
    ------
    InputError
        If dask-jobqueue or the queue's commands are missing, or an option is unknown.
    """
    import dask
    from distributed import Client

    kind = check_queue(profile)
    options = dict(profile.options)
    for name in (
        "distributed",
        "asyncio",
        "tornado.application",
    ):  # what happens to a task, its outcome tells; to a job, the keeper
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        files = stack.enter_context(credentials(options, profile.unencrypted, folder))
        stack.enter_context(dask.config.set(DASK_SETTINGS))
        _complete(kind, options, folder, threads)
        if options["scheduler_options"]["dashboard_address"] == LOOPBACK_DASHBOARD:
            stack.enter_context(dask.config.set({"distributed.dashboard.link": "http://127.0.0.1:{port}/status"}))
        security = security_of(files)
        try:
            deployed = stack.enter_context(kind(**options, security=security, silence_logs=logging.CRITICAL))
        except (ValueError, TypeError) as error:  # what dask-jobqueue says of its options
            raise InputError(f"cluster {profile.kind}: {error}") from None
        except RuntimeError as error:
            raise InputError(f"cluster {profile.kind}: {error.__cause__ or error}") from None
        client = stack.enter_context(Client(deployed, set_as_default=False))
        processes = options["processes"]
        cluster = Cluster(client, profile.most_jobs * processes, deployed, replaces=True)
        keeper = deployed.adapt(
            Adaptive=partial(_keeper(), kind=profile.kind, troubles=cluster.troubles),
            minimum_jobs=profile.least_jobs,
            maximum_jobs=profile.most_jobs,
            interval="2s",
        )
        cluster.adaptive = keeper
        stack.callback(keeper.end)
        yield cluster


def check_queue(profile: QueueProfile) -> Any:
    """Refuse what cannot be submitted, before any long work; return dask-jobqueue's class.

    Raises
    ------
    InputError
        If dask-jobqueue or the queue's commands are missing, or an option is unknown.
    """
    kind = _cluster_class(profile.kind)
    bases = (*kind.__mro__, *kind.job_cls.__mro__)
    known = {name for base in bases if "__init__" in vars(base) for name in inspect.signature(base.__init__).parameters}
    refuse_unknown(f"dask-jobqueue's {kind.__name__}", known - _OURS, profile.options)
    return kind


def most_workers(profile: QueueProfile, threads: int = 1) -> int:
    """Return how many processes there may be at a time."""
    return profile.most_jobs * _processes(check_queue(profile), profile.options, threads)


def _keeper() -> Any:
    from mlipq.labeling.clusters.keeper import Keeper  # a subclass of Dask's, which takes a second to import

    return Keeper


def _cluster_class(kind: str) -> Any:
    try:
        with interrupts_unclaimed():  # it would end the program at Ctrl-C, as if all were done
            import dask_jobqueue
    except ImportError:
        raise InputError(f"cluster {kind}: dask-jobqueue is not installed: pip install 'mlipq[cluster]'") from None
    found = getattr(dask_jobqueue, _CLASSES[kind])
    submit = found.job_cls.submit_command.split()[0]
    if shutil.which(submit) is None:
        raise InputError(
            f"cluster {kind}: the command {submit} is not here; submit from a login node, where it is, or choose another cluster"
        )
    return found


def _complete(kind: Any, options: dict[str, Any], folder: Path, threads: int) -> None:
    """Fill in what labeling wants and neither the profile nor the user's dask configuration says."""

    def configured(name: str) -> Any:
        return _configured(kind, options, name)

    options["processes"] = _processes(kind, options, threads)
    extra = list(options.get("worker_extra_args") or configured("worker-extra-args") or [])
    if not any("lifetime" in str(argument) for argument in extra):
        extra += _lifetime(options.get("walltime") or configured("walltime"))
    options["worker_extra_args"] = [*extra, "--nthreads", "1"]  # one task at a time, however many cores it uses
    prologue = list(options.get("job_script_prologue") or configured("job-script-prologue") or [])
    settings = {
        f"DASK_{key.replace('.', '__').replace('-', '_').upper()}": value for key, value in DASK_SETTINGS.items()
    }
    options["job_script_prologue"] = [*(f"export {name}={value}" for name, value in settings.items()), *prologue]
    options["scheduler_options"] = {
        "dashboard_address": LOOPBACK_DASHBOARD,
        **(options.get("scheduler_options") or configured("scheduler-options") or {}),
    }
    options.setdefault("log_directory", configured("log-directory") or str(folder / "jobs"))


def _processes(kind: Any, options: dict[str, Any], threads: int) -> int:
    """Processes of a job: one for each task that its cores can do at a time; Dask would give processes several threads each."""
    cores = options.get("cores") or _configured(kind, options, "cores")
    return int(options.get("processes") or max(1, int(cores or 1) // threads))


def _configured(kind: Any, options: dict[str, Any], name: str) -> Any:
    """Return what the user's dask configuration says of an option."""
    import dask

    return dask.config.get(f"jobqueue.{options.get('config_name') or kind.job_cls.config_name}.{name}", None)


def _lifetime(walltime: Any) -> list[str]:
    """Let workers end in good time, and not all at once: what they were given goes to others, and new jobs replace theirs."""
    seconds = _seconds(str(walltime))
    if seconds is None:
        return []
    before = min(RETIREMENT, max(LEAST_RETIREMENT, seconds / 5), seconds / 2)
    return ["--lifetime", f"{seconds - before:.0f}s", "--lifetime-stagger", f"{before / 4:.0f}s"]


def _seconds(walltime: str) -> float | None:
    """Read ``1-12:00:00``, ``04:00:00``, ``30:00``, or LSF's ``04:00``; ``None`` where it is written otherwise."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+)(?::(\d+))?", walltime.strip())
    if match is None:
        return None
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[4] is None and not match[1]:
        return first * 60.0 + second  # of MM:SS; LSF's HH:MM would be longer, and retiring early does no harm
    return ((days * 24 + first) * 60 + second) * 60.0 + third
