"""Small datasets of molecules, with a split."""

from collections.abc import Sequence
from pathlib import Path

from published import publish_structures, rewrite_manifest

from mlipq.hub.split import add_split
from mlipq.store import open_dataset
from mlipq.structures import Structure


def dataset_of(base: Path, structures: Sequence[Structure], parts: Sequence[str]) -> Path:
    """Write a dataset whose split ``mine`` has the structures in these parts; return its folder."""
    folder = publish_structures(base, structures, per_shard=80)
    rewrite_manifest(folder, name="", version="")  # which is not published
    add_split(folder, "mine", open_dataset(folder)["identity"][:], parts, "by hand")
    return folder
