"""Packages: what inference needs and no more; the graph of a model that never had the other heads."""

import numpy as np
import pytest
import torch
from building import ALL_HEADS, BACKBONES, batch_of, potential_of, precision
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import model_of

from mlipq.errors import InputError
from mlipq.training.models.export import exported
from mlipq.training.models.heads import EnergyHead, merge
from mlipq.training.models.layers import Features
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
        pytest.param("schnet", marks=pytest.mark.slow),
        pytest.param("tensornet", marks=pytest.mark.slow),
    ],
)
def test_the_packaged_model_is_the_graph_of_one_trained_for_the_energy(tmp_path, name):
    alone = potential_of(torch.float32, backbone=name, heads=("energy",), layers=1)
    expected = graph(alone)
    assert len(expected) > 50
    for kind, config in (
        ("multitask", {"heads": ("energy", *AUXILIARY)}),
        ("composite", {"heads": ("energy", "gfn1_energy", *AUXILIARY), "composite": True}),
    ):
        whole = potential_of(torch.float32, backbone=name, layers=1, **config)
        package(model_of(whole, tmp_path / kind), tmp_path / f"{kind}.mlipq")
        packaged = load_model(tmp_path / f"{kind}.mlipq").potential
        assert packaged.config == alone.config
        assert parameters(packaged) == parameters(alone) < parameters(whole)
        assert graph(packaged) == expected


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


@pytest.mark.parametrize("channels", [4, 6, 7, 16])
@pytest.mark.parametrize("feed", ["", "orbital_charges"])
def test_a_packaged_composite_has_the_parameters_of_one_energy(tmp_path, channels, feed):
    heads = ("energy", "orbital_charges")
    config = {"backbone": "schnet", "layers": 1, "channels": channels, "feed_charges": feed}
    composite = potential_of(heads=(*heads, "gfn1_energy"), composite=True, **config)
    package(model_of(composite, tmp_path / "run"), tmp_path / "model.mlipq", keep=["orbital_charges"])
    merged, alone = load_model(tmp_path / "model.mlipq").potential, potential_of(heads=heads, **config)
    assert merged.config == alone.config
    assert parameters(merged) == parameters(alone)


@settings(max_examples=25, deadline=None)
@given(fed=st.lists(st.sampled_from([0, 1, 3]), min_size=1, max_size=3), seed=st.integers(0, 2**32 - 1))
def test_a_merged_head_says_the_sum(samples, fed, seed):
    torch.manual_seed(seed)
    batch = batch_of(*samples("qm7")[:3])
    with precision(torch.float64):
        heads = [EnergyHead(8, 2, hidden, columns) for hidden, columns in zip((1, 4, 5), fed)]
        both, charges = torch.randn(batch.n_atoms, 16), torch.randn(batch.n_atoms, max(fed))
    features = Features(both[:, 8:], both)
    for head in heads:
        head.scale.uniform_(0.01, 100)
        head.of_elements.data.normal_()
        head.references.normal_(std=1e4)
    with torch.no_grad():
        each = [head(features, batch, charges[:, : head.fed] if head.fed else None) for head in heads]
        merged = merge(heads)(features, batch, charges if max(fed) else None)
    np.testing.assert_allclose(merged, sum(each), rtol=1e-12, atol=1e-9)


def test_what_the_energy_needs_stays(tmp_path):
    heads = ("energy", "orbital_charges", "dipole")
    model = model_of(potential_of(heads=heads, feed_charges="orbital_charges"), tmp_path / "run")
    path = tmp_path / "model.mlipq"
    for choice, said in (
        ({"drop": ["orbital_charges"]}, "'orbital_charges' cannot be dropped: its charges feed the energy"),
        ({"drop": ["energy"]}, "'energy' cannot be dropped: it is the energy"),
        ({"drop": ["moments"]}, "no head 'moments' to drop; it has energy, orbital_charges, dipole"),
        ({"keep": ["moments"]}, "no head 'moments' to keep; it has energy, orbital_charges, dipole"),
        ({"keep": ["dipole"], "drop": ["dipole"]}, "both kept and dropped"),
    ):
        with pytest.raises(InputError, match=said):
            package(model, path, **choice)
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
