"""What labels cost is what the job noted."""

import json

import pytest
from labelled import FRAMES, labelled
from preparing import base

from mlipq.bench.prepared.label_cost import label_seconds
from mlipq.errors import CheckError
from mlipq.store import open_dataset


def test_seconds_a_structure_are_those_of_the_job(tmp_path):
    folder = labelled(tmp_path)
    noted = [json.loads(path.read_text())["seconds"] for path in (folder / "shards").glob("*.json")]
    assert label_seconds(open_dataset(folder)) == pytest.approx(sum(noted) / FRAMES, abs=1e-6)
    next((folder / "shards").glob("*.json")).write_text("{}")
    with pytest.raises(CheckError, match="beside a shard is damaged"):
        label_seconds(open_dataset(folder))


def test_what_another_labeler_took_is_not_what_gfn1_took(tmp_path):
    folder = labelled(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["provenance"]["settings"]["labeler"]["name"] = "pbe"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert label_seconds(open_dataset(folder)) is None


def test_nobody_knows_what_others_paid(tmp_path):
    folder = base(tmp_path / "base")
    assert label_seconds(open_dataset(folder)) is None
    assert label_seconds(open_dataset(folder / "shards" / "part-00000.zarr.zip")) is None
