"""Which manifest a name, a path or a URL means, and what its hash must be."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import CheckError, IncompleteError, InputError
from mlipq.hub.catalogue import catalogue_location, load_catalogue, manifest_location
from mlipq.hub.pulling import home
from mlipq.hub.refs import DatasetRef
from mlipq.hub.transfer.download import read_bytes
from mlipq.hub.transfer.locations import canonical, scheme, shown
from mlipq.hub.transfer.remote import TransferError
from mlipq.hub.transfer.transport import Transport
from mlipq.store import Manifest
from mlipq.store.manifest import MANIFEST

OFFLINE_SETTING = "MLIPQ_OFFLINE"
"""Environment variable: 1 makes every command work without the network."""
MOST_BYTES = 256_000_000
"""A manifest that is larger is not read."""


@dataclass(frozen=True)
class Origin:
    """Where a version comes from.

    Parameters
    ----------
    location
        Of its manifest: an absolute path or a URL.
    ref
        What it must be, where a name was asked for.
    manifest_sha256
        What the catalogue says.
    unreachable
        Why nothing more can be pulled: the manifest is that in the data home. Empty where there is no such reason.
    """

    location: str
    ref: DatasetRef | None = None
    manifest_sha256: str | None = None
    unreachable: str = ""


def is_offline(wanted: bool | None) -> bool:
    """Return whether to stay off the network: as wanted, or, by default, as ``MLIPQ_OFFLINE`` says."""
    return wanted if wanted is not None else os.environ.get(OFFLINE_SETTING, "").lower() not in ("", "0", "false", "no")


def origin_of(where: str, offline: bool) -> Origin:
    """Return where the version is that ``where`` means: the path or URL of a manifest or its folder, or a name.

    Offline, and where a catalogue cannot be reached, what was pulled of it has to do.

    Raises
    ------
    InputError
        If there is nothing of that kind.
    IncompleteError
        If it is somewhere else, nothing of it was pulled, and it cannot be reached.
    """
    try:
        origin = _asked_for(where, offline)
    except IncompleteError as error:
        ref = pulled_ref(where)
        if ref is None:
            raise
        return Origin(str(home.folder_of(ref) / MANIFEST), ref, unreachable=str(error))
    if not offline or scheme(origin.location) == "":
        return origin
    ref = origin.ref or pulled_ref(where)
    if ref is None or home.record_of(home.folder_of(ref)) is None:
        others = ", ".join(map(str, home.pulled_refs())) or "nothing"
        raise IncompleteError(
            f"offline, and {ref or shown(where)} is not here; what is: {others}. Pull it where there is a network, without "
            f"--offline and {OFFLINE_SETTING}"
        )
    return Origin(str(home.folder_of(ref) / MANIFEST), ref, origin.manifest_sha256, unreachable="offline")


def pulled_ref(where: str) -> DatasetRef | None:
    """Return the version that ``where``, a name or a URL, means among those that were pulled."""
    if scheme(where):
        return home.pulled_from(shown(_manifest_in(canonical(where))))
    return home.latest_pulled(_as_ref(where))


def _asked_for(where: str, offline: bool) -> Origin:
    if scheme(where):
        return Origin(_manifest_in(canonical(where)))
    if Path(where).exists():
        path = Path(canonical(where))
        return Origin(str(path / MANIFEST if path.is_dir() else path))
    ref = _as_ref(where)
    location = catalogue_location()
    if offline and scheme(location):
        raise IncompleteError(f"offline, and the catalogue is {shown(location)}: it cannot be asked where {ref} is")
    catalogue = load_catalogue(location)
    try:
        ref, entry = catalogue.find(ref)
    except InputError as error:
        raise InputError(f"{where}: no such file or folder, and {error}") from None
    return Origin(manifest_location(catalogue, location, ref), ref, entry.manifest_sha256)


def fetch_manifest(origin: Origin, transport: Transport) -> tuple[bytes, Manifest, DatasetRef]:
    """Return the bytes of a version's manifest, what they say, and the version's reference.

    Raises
    ------
    TransferError
        If it does not come.
    CheckError
        If it is not the one that the catalogue lists, or is not valid.
    InputError
        If there is none, or it is that of an unpublished dataset.
    """
    name = shown(origin.location)
    try:
        data = read_bytes(transport.open(origin.location), MOST_BYTES)
    except TransferError as error:
        if error.lasting and not error.wrong:
            raise InputError(f"{error}. Expected there: the {MANIFEST} of a published version") from None
        raise
    found = hashlib.sha256(data).hexdigest()
    if origin.manifest_sha256 not in (None, found):
        raise CheckError(
            f"{name}: expected sha256 {origin.manifest_sha256[:16]}…, as the catalogue says, got {found[:16]}…; it was not "
            "used. It was damaged on the way, or it is not the version that was published: try again, or tell who publishes it"
        )
    manifest = Manifest.parse(data, name)
    if not manifest.name or not manifest.version:
        raise InputError(
            f"{name}: expected a published version, got a dataset without a name or a version; open its folder as it is, or "
            "publish it first:  mlipq data publish"
        )
    try:
        ref = DatasetRef.parse(f"{manifest.name}@{manifest.version}")
    except InputError as error:
        raise CheckError(f"{name}: {error}; nothing was pulled. Tell who publishes it") from None
    if origin.ref not in (None, ref):
        raise CheckError(f"{name}: expected {origin.ref}, got {ref}; nothing was pulled. Tell who publishes it")
    home.check_names(manifest, name)
    return data, manifest, ref


def _as_ref(where: str) -> DatasetRef:
    try:
        return DatasetRef.parse(where)
    except InputError as error:
        raise InputError(f"{where} cannot be opened: no such file or folder, and it is no name: {error}") from None


def _manifest_in(location: str) -> str:
    return location if shown(location).endswith(".json") else f"{location.rstrip('/')}/{MANIFEST}"
