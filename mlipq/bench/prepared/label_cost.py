"""What GFN1-xTB labels cost, as the job that made them noted."""

from pydantic import ValidationError

from mlipq.errors import CheckError
from mlipq.labeling.folder import Sidecar
from mlipq.store import Dataset

_GFN1 = "gfn1"
"""Name of the labeler."""


def label_seconds(dataset: Dataset) -> float | None:
    """Return core-seconds that GFN1-xTB labeling took, a structure, failed ones too; ``None`` where it is no folder of such a job.

    Raises
    ------
    CheckError
        If the file beside a shard is damaged.
    """
    labeler = dataset.manifest.provenance.settings.get("labeler") if dataset.manifest else None
    if not isinstance(labeler, dict) or labeler.get("name") != _GFN1:
        return None  # to the job of another, GFN1's labels came along
    files = sorted((dataset.path / "shards").glob("part-*.json"))
    try:
        sidecars = [Sidecar.model_validate_json(path.read_bytes()) for path in files]
    except ValidationError as error:
        raise CheckError(f"{dataset.path}: a file beside a shard is damaged; finish the job again: {error}") from None
    seconds, structures = sum(found.seconds for found in sidecars), sum(found.n_structures for found in sidecars)
    return round(seconds / structures, 6) if structures else None
