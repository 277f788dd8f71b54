"""Packages: what inference needs and no more; the graph of a model that never had the other heads."""

import pytest
import torch
from building import ALL_HEADS, BACKBONES, batch_of, potential_of
from trained import model_of

from mlipq.errors import InputError
from mlipq.training.models.export import exported
from mlipq.training.saved.model import load_model
from mlipq.training.saved.packaging import package

AUXILIARY = ("orbital_charges", "orbital_moments", "atomic_charges", "dipole", "dipole_magnitude")


def parameters(potential) -> int:
    return sum(values.numel() for values in potential.parameters())


def graph(potential) -> list[tuple]:
    """Every node of the exported graph: what it does, to what, and what shape comes out."""
    nodes = exported(potential).graph_module.graph.nodes
    return [(node.op, str(node.target), str(node.args), str(node.kwargs), str(node.meta.get("val"))) for node in nodes]


@pytest.mark.parametrize(
    "name",
    [
        "painn",
        "density",
        pytest.param("schnet", marks=pytest.mark.slow),
        pytest.param("tensornet", marks=pytest.mark.slow),
    ],
)
def test_the_packaged_model_is_the_graph_of_one_trained_for_the_energy(tmp_path, name):
    multitask = potential_of(torch.float32, backbone=name, heads=("energy", *AUXILIARY), layers=1)
    package(model_of(multitask, tmp_path / "run"), tmp_path / "model.mlipq")
    packaged = load_model(tmp_path / "model.mlipq").potential
    alone = potential_of(torch.float32, backbone=name, heads=("energy",), layers=1)
    assert packaged.config == alone.config
    assert parameters(packaged) == parameters(alone) < parameters(multitask)
    nodes = graph(packaged)
    assert len(nodes) > 50
    assert nodes == graph(alone)


@pytest.mark.parametrize("name", BACKBONES)
def test_energies_and_forces_stay_the_same(samples, tmp_path, name):
    whole = potential_of(backbone=name, heads=ALL_HEADS, composite=True, feed_charges="atomic_charges")
    report = package(model_of(whole, tmp_path / "run"), tmp_path / "model.mlipq", keep=["dipole"])
    assert report.kept == {
        "energy": "correction and GFN1 head merged",
        "atomic_charges": "the energy reads it",
        "dipole": "kept on request",
    }
    assert set(report.dropped) == set(ALL_HEADS) - set(report.kept)
    packaged = load_model(tmp_path / "model.mlipq")
    assert list(packaged.outputs) == ["energy", "atomic_charges", "dipole"]
    assert report.parameters == (parameters(whole), parameters(packaged.potential))
    batch = batch_of(*samples("gscdb138")[:6], samples("crystals")[0]).differentiable()
    before, after = whole(batch, ["energy"]), packaged.potential(batch, ["energy"])
    for key in ("energy", "forces", "dipole"):
        assert torch.allclose(after[key], before[key], rtol=1e-12, atol=1e-12)


def test_a_merged_composite_has_the_parameters_of_a_wider_read_out(tmp_path):
    composite = potential_of(heads=("energy", "gfn1_energy", "dipole"), composite=True, channels=16)
    _, merged = package(model_of(composite, tmp_path / "run"), tmp_path / "model.mlipq").parameters
    alone = parameters(potential_of(heads=("energy",), channels=16))
    head = (16 + 1) * 8 + (8 + 1)
    wider = (16 + 1) * 16 + (16 + 1) * 2
    assert merged == alone - head + wider


def test_what_the_energy_needs_stays(tmp_path):
    heads = ("energy", "orbital_charges", "dipole")
    model = model_of(potential_of(heads=heads, feed_charges="orbital_charges"), tmp_path / "run")
    path = tmp_path / "model.mlipq"
    for settings, said in (
        ({"drop": ["orbital_charges"]}, "'orbital_charges' cannot be dropped: its charges feed the energy"),
        ({"drop": ["energy"]}, "'energy' cannot be dropped: it is the energy"),
        ({"drop": ["moments"]}, "no head 'moments' to drop; it has energy, orbital_charges, dipole"),
        ({"keep": ["moments"]}, "no head 'moments' to keep; it has energy, orbital_charges, dipole"),
        ({"keep": ["dipole"], "drop": ["dipole"]}, "both kept and dropped"),
    ):
        with pytest.raises(InputError, match=said):
            package(model, path, **settings)
        assert not path.exists()
    assert package(model, path, drop=["dipole"]).dropped == ("dipole",)
    with pytest.raises(InputError, match="is there already"):
        package(model, path)
    card = load_model(path).card
    assert card.startswith("# A model\n\n## Package\n")
    assert "Dropped: `dipole`." in card


def test_a_model_of_charges_alone_keeps_them(tmp_path):
    model = model_of(potential_of(heads=("orbital_charges",)), tmp_path / "run")
    assert package(model, tmp_path / "model.mlipq").dropped == ()


def test_a_package_can_be_packaged_again(samples, tmp_path):
    composite = potential_of(heads=("energy", "gfn1_energy", "dipole"), composite=True)
    package(model_of(composite, tmp_path / "run"), tmp_path / "one.mlipq", keep=["dipole"])
    package(load_model(tmp_path / "one.mlipq"), tmp_path / "two.mlipq")
    batch = batch_of(*samples("qm7")[:3])
    energies = [load_model(tmp_path / f"{name}.mlipq").potential(batch)["energy"] for name in ("one", "two")]
    assert torch.equal(*energies)
