"""A Dask scheduler that runs already, with workers that somebody else looks after."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlipq.errors import InputError
from mlipq.labeling.clusters.cluster import Cluster
from mlipq.labeling.clusters.profile import SchedulerProfile


@contextmanager
def running_cluster(profile: SchedulerProfile) -> Iterator[Cluster]:
    """Connect to a scheduler.

    Parameters
    ----------
    profile
        Its address, and the client's certificates where it uses TLS.

    Raises
    ------
    InputError
        If it does not answer.
    """
    from distributed import Client, Security

    security = Security(**profile.options) if profile.options else None
    try:
        client = Client(profile.address, security=security, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        hint = "" if profile.address.startswith("tcp") else ", and that the certificates are those of the scheduler"
        raise InputError(
            f"no Dask scheduler answers at {profile.address}: {error}. Check that it runs, that this machine reaches it{hint}"
        ) from None
    with client:
        yield Cluster(client)
