"""TLS for every cluster that leaves this machine: credentials made for one job, or the user's own."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipq.errors import InputError
from mlipq.store import unwritable

if TYPE_CHECKING:
    from distributed import Security

OWN = tuple(
    f"tls_{part}"
    for part in (
        "ca_file",
        *(f"{role}_{what}" for role in ("scheduler", "worker", "client") for what in ("cert", "key")),
    )
)
"""What a profile's ``options.security`` may name: files in PEM, on the shared file system."""


@contextmanager
def credentials(options: dict[str, Any], unencrypted: bool, folder: Path) -> Iterator[dict[str, str] | None]:
    """Provide the files that scheduler, workers and client prove themselves with.

    Parameters
    ----------
    options
        Of the profile; ``security`` is taken out of them.
    unencrypted
        Whether the profile says that it wants none.
    folder
        On the file system that all share. Credentials for this one job are made there, in a folder of mode 700 that is removed
        again.

    Yields
    ------
    dict or None
        Fields of Dask's ``Security`` and their files; ``None`` without TLS.

    Raises
    ------
    InputError
        If the options do without TLS and the profile does not say ``unencrypted: true``, or a file of the user's is not there.
    """
    own = options.pop("security", True)
    if not unencrypted and (own in (False, None) or str(options.get("protocol", "tls")).startswith("tcp")):
        raise InputError(
            "options turn TLS off: whoever reaches the scheduler's port could run code as you. "
            "Leave protocol and security out, or write unencrypted: true into the profile if you know your network"
        )
    if unencrypted:
        yield None
    elif isinstance(own, dict):
        yield _own_files(own)
    else:
        with _private_folder(folder) as private:
            yield _temporary_files(private)


def security_of(files: dict[str, str] | None) -> "Security | None":
    """Return Dask's object for these files, which refuses connections without TLS."""
    from distributed import Security

    return Security(require_encryption=True, **files) if files else None


def _own_files(own: dict[str, Any]) -> dict[str, str]:
    unknown = sorted(set(own) - set(OWN))
    if unknown:
        raise InputError(f"options.security: unknown key {unknown[0]}; it may have {', '.join(OWN)}")
    lacking = [f"{key}: {path}" for key, path in own.items() if not Path(str(path)).expanduser().is_file()]
    if lacking:
        raise InputError(f"options.security: no such file: {'; '.join(lacking)}")
    return {key: str(Path(str(path)).expanduser().absolute()) for key, path in own.items()}


@contextmanager
def _private_folder(parent: Path) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=".tls-", dir=parent))  # of mode 700
    except OSError as error:
        raise unwritable(parent, error) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary_files(folder: Path) -> dict[str, str]:
    """Make a key and a certificate signed by itself: who holds them belongs to this job, nobody else does."""
    from distributed import Security

    try:
        made = Security.temporary()
    except ImportError:
        raise InputError(
            "TLS needs the package cryptography, which is not installed: pip install 'mlipq[cluster]'"
        ) from None
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(made.tls_ca_file)
    key.touch(mode=0o600)
    key.write_text(made.tls_client_key)
    return {name: str(key if name.endswith("_key") else certificate) for name in OWN}
