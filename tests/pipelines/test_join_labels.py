"""Labels of a part of a dataset, joined into the whole: PBE labels of a few small molecules beside GFN1-xTB's of all."""

import sys

import join_labels
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from mlipq.hub.publishing.publish import publish
from mlipq.hub.split import split_dataset
from mlipq.labeling.child import LabelingChild
from mlipq.labeling.finish import finish
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import make_job
from mlipq.labeling.partition import label_partition
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import find_sources
from mlipq.schema import NO_ATTEMPT
from mlipq.store import Manifest, open_dataset

NAMES = ("H2", "LiH", "HF", "N2", "H2O", "CO")
PBE = {"name": "pbe", "forces": False, "grid": 0}


def label(folder, out, inputs, **settings):
    """Run a job in this process, but for its child."""
    job = make_job({"inputs": inputs, "output": out, **settings}, "a test")
    output = OutputFolder(folder / out)
    plan = make_plan(find_sources(job, folder), job, output)
    child = LabelingChild(job.labeler.build(), job.limits)
    for partition in plan.partitions:
        label_partition(output, plan, partition.index, child)
    child.close()
    finish(output)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a dataset ``all``, and ``part``, where three of its molecules are labelled with PBE."""
    folder = tmp_path_factory.mktemp("join")
    frames = [molecule(name) for name in NAMES]
    for name, atoms in zip(NAMES, frames, strict=True):
        atoms.info.update(charge=0, spin_multiplicity=1, name=name)
    write(folder / "six.extxyz", frames)
    label(folder, "all", ["six.extxyz"])
    split_dataset(folder / "all", "random", "test=2,pool=rest")
    choices = ({"split": "random/pool", "number": 2}, {"split": "random/test", "number": 1})
    label(folder, "part", [{"path": "all", "choose": choice} for choice in choices], labeler=PBE)
    return folder


@pytest.fixture
def script(monkeypatch, capfd, made):
    """Run the script in this process, in the folder: exit code, standard output, standard error."""
    monkeypatch.chdir(made)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["join_labels.py", *map(str, arguments)])
        capfd.readouterr()
        try:
            join_labels.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def joined(made, tmp_path_factory):
    """The datasets joined; not to be changed."""
    out = tmp_path_factory.mktemp("joined") / "out"
    join_labels.join(open_dataset(made / "all"), open_dataset(made / "part"), out)
    return out


def test_labels_stand_with_their_structures_and_all_else_is_kept(made, joined):
    base, part, whole = (open_dataset(path) for path in (made / "all", made / "part", joined))
    before, after = base.batch(slice(None)), whole.batch(slice(None))
    assert set(after) - set(before) == {name for name in part.specs if name.startswith("pbe/")}
    for name, values in before.items():
        assert after[name].dtype == values.dtype and np.array_equal(after[name], values), name
    rows = [whole.find(words.tobytes()) for words in part["identity"][:]]
    assert len(rows) == 3 and None not in rows
    others = sorted(set(range(6)) - set(rows))
    for name in (name for name in part.specs if name.startswith("pbe/")):
        for mine, row in enumerate(rows):
            assert np.array_equal(whole[name][row], part[name][mine], equal_nan=True), name
        for row in others:
            lacking = whole[name][row]
            assert (lacking == NO_ATTEMPT) if name == "pbe/scf_attempt" else np.isnan(lacking).all(), name
    parts = whole.split("random").of(whole["identity"][rows])
    assert sorted(parts) == ["pool", "pool", "test"]


def test_the_manifest_says_where_the_labels_are_from(made, joined):
    base, part, manifest = (Manifest.read(path / "manifest.json") for path in (made / "all", made / "part", joined))
    assert manifest.splits == base.splits and (manifest.name, manifest.version) == ("", "")
    assert manifest.level_of_theory == "GFN1-xTB, PBE/def2-SVP"
    assert manifest.statistics["pbe/energy"].count == 3 and manifest.statistics["gfn1/energy"].count == 6
    assert manifest.scf_attempts == {"0": 6, "pbe/0": 3}
    assert {"tblite", "pyscf"} <= manifest.provenance.software.keys()
    added = manifest.provenance.settings["added"]["pbe"]
    assert added["settings"] == part.provenance.settings and added["plan_sha256"] == part.provenance.plan_sha256
    assert manifest.provenance.settings["labeler"] == base.provenance.settings["labeler"]


def test_the_result_is_verified_described_and_a_minor_version_of_what_it_was(mlipq, made, joined, tmp_path):
    assert mlipq("verify", joined).code == 0
    assert "Total energy, PBE/def2-SVP; 3 of 6 structures have it" in mlipq("info", joined).out
    assert "have it" not in mlipq("info", made / "all").out
    assert mlipq("inspect", joined, "-o", "page.html").code == 0
    release = {"name": "six", "licence": "MIT", "citation": "nobody", "to": str(tmp_path / "hub")}
    publish(made / "all", version="1.0.0", **release)
    done = publish(joined, version="1.1.0", **release)
    assert (
        done.manifest.splits["random"].sha256 == Manifest.read(made / "all" / "manifest.json").splits["random"].sha256
    )
    assert mlipq("verify", done.where).code == 0


def test_equal_datasets_are_joined_into_equal_bytes(made, joined, tmp_path, script):
    code, out, err = script("all", "part", "-o", tmp_path / "new" / "again")
    assert code == 0 and "labelled    3" in out, err
    files = {path.relative_to(joined): path.read_bytes() for path in joined.rglob("*") if path.is_file()}
    again = tmp_path / "new" / "again"
    assert files == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("part", "all"), "all has no labels of another method: there is nothing to join"),
        (("part", "part"), "part has pbe/"),
        (("absent", "part"), "absent"),
        (("all", "all/shards/part-00000.zarr.zip"), "expected a dataset with its manifest"),
    ],
)
def test_what_cannot_be_joined_is_said(script, tmp_path, arguments, said):
    code, _, err = script(*arguments, "-o", tmp_path / "out")
    assert code == 2 and said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_structures_of_another_dataset_are_refused(script, made, tmp_path):
    ammonia = molecule("NH3")
    ammonia.info.update(charge=0, spin_multiplicity=1)
    write(tmp_path / "other.extxyz", [ammonia])
    label(tmp_path, "other", ["other.extxyz"])
    code, _, err = script(tmp_path / "other", made / "part", "-o", tmp_path / "out")
    assert code == 2 and "3 of its 3 structures are not in" in err and not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(script, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    code, _, err = script("all", "part", "-o", tmp_path)
    assert code == 2 and "is there already" in err and [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
