"""Jobs that label with PBE: on their own, beside GFN1-xTB's labels, and gone on with by the right software only."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule

import mlipq as package
from mlipq.dft import Pbe
from mlipq.errors import InputError
from mlipq.labeling.child import LabelingChild
from mlipq.labeling.job import Limits
from mlipq.structures import from_atoms


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    """A file of water, hydroxyl and hydrogen with their charges and spins."""
    frames = [molecule(name) for name in ("H2O", "OH", "H2")]
    for atoms, multiplicity in zip(frames, (1, 2, 1), strict=True):
        atoms.set_initial_magnetic_moments(None)
        atoms.info.update(charge=0, spin_multiplicity=multiplicity, smiles="")
    path = tmp_path_factory.mktemp("three") / "three.extxyz"
    ase.io.write(path, frames)
    return path


def arrays_of(folder: str) -> dict[str, np.ndarray]:
    dataset = package.open_dataset(folder)
    return dataset.batch(range(len(dataset)))


def test_pbe_beside_the_labels_that_a_dataset_has(mlipq, three):
    assert mlipq("label", three, "-o", "gfn1", "--workers", "1").code == 0
    ended = mlipq("label", "gfn1", "--labeler", "pbe", "-o", "both", "--workers", "1", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["structures"] == 3 and ended.json["flagged"] == {}
    assert ended.json["scf_attempts"] == {"0": 3, "pbe/0": 3}
    before, after = arrays_of("gfn1"), arrays_of("both")
    assert before.keys() < after.keys()
    for name, values in before.items():
        assert after[name].dtype == values.dtype and np.array_equal(after[name], values), name
    alone = package.label_atoms(package.open_dataset("gfn1")[1], labeler={"name": "pbe"})
    assert after["pbe/energy"][1] == alone["pbe/energy"]
    assert np.array_equal(after["pbe/orbital_charges"][3:5], alone["pbe/orbital_charges"].astype("f4"))
    assert mlipq("verify", "both").code == 0
    manifest = package.open_dataset("both").manifest
    assert manifest.level_of_theory == "PBE/def2-SVP"
    assert manifest.provenance.software.keys() == {"mlipq", "pyscf", "numpy", "ase"}
    again = mlipq("label", "both", "--labeler", "pbe", "-o", "again")
    assert again.code == 2 and "already labelled by pbe" in again.err


def test_the_users_settings_of_pyscf_are_not_read(tmp_path):
    (tmp_path / ".pyscf_conf.py").write_text("raise SystemExit('read')")
    child = LabelingChild(Pbe(forces=False, grid=0), Limits(), {"HOME": str(tmp_path)})
    arrays, _ = child.label(from_atoms(molecule("H2")))
    child.close()
    assert float(arrays["pbe/energy"]) < -30


def test_another_pyscf_does_not_go_on(mlipq, three):
    assert mlipq("plan", three, "--labeler", "pbe", "-o", "out").code == 0
    plan = json.loads(Path("out/plan.json").read_text())
    plan["settings"]["labeler"]["pyscf"] = "2.5.0"
    Path("out/plan.json").write_text(json.dumps(plan))
    ended = mlipq("partition", "out", "0")
    assert ended.code == 2
    assert 'labels otherwise than planned: labeler.pyscf: planned "2.5.0", now' in ended.err


def test_a_plan_for_a_labeler_of_the_future(mlipq, three):
    assert mlipq("plan", three, "-o", "out").code == 0
    plan = json.loads(Path("out/plan.json").read_text())
    plan["settings"]["labeler"]["name"] = "gfn9"
    Path("out/plan.json").write_text(json.dumps(plan))
    ended = mlipq("partition", "out", "0")
    assert ended.code == 2 and "planned for the labeler gfn9, which this mlipq does not have" in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labeler", "dft"), "name should be gfn1 or pbe, got {'name': 'dft'}"),
        (("--labeler", "pbe", "--accuracy", "0.1"), "--accuracy: does not go with the other keys of labeler"),
    ],
)
def test_options_that_do_not_go_together(mlipq, three, options, message):
    ended = mlipq("label", three, "-o", "out", *options)
    assert ended.code == 2 and message in ended.err
    assert not Path("out").exists()


def test_one_structure_with_a_labeler_that_is_not_there():
    with pytest.raises(InputError, match="name should be gfn1 or pbe"):
        package.label_atoms(molecule("H2"), labeler={"name": "pbee"})
