"""A cluster on this machine."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from mlipq.interrupts import interrupts_spared
from mlipq.labeling.clusters.cluster import DASK_SETTINGS, Cluster


@contextmanager
def local_cluster(workers: int) -> Iterator[Cluster]:
    """Start a Dask cluster on this machine: processes with one thread each, on the loopback interface only.

    Parameters
    ----------
    workers
        How many processes.
    """
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what happens to a task, its outcome tells
    sys.warnoptions.append("ignore:resource_tracker")  # of the semaphores of workers that were killed
    with ExitStack() as stack:
        stack.enter_context(_main_not_imported())
        stack.enter_context(dask.config.set(DASK_SETTINGS))
        with interrupts_spared():  # a Ctrl-C in the terminal is for the client to handle
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # the labeling child has a limit of its own
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        yield Cluster(client, workers, cluster)


@contextmanager
def _main_not_imported() -> Iterator[None]:
    """Keep workers from running the user's script again: they need nothing of it, and it may lack a main guard."""
    main = sys.modules["__main__"]
    file, spec = vars(main).pop("__file__", None), main.__spec__
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def core_count() -> int:
    """Cores that this process may use, within its affinity and control group."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)
