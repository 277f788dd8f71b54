"""The exported graph gives what the potential gives, for other sizes than it was traced with."""

import warnings

import pytest
import torch
from building import batch_of, potential_of

from mlipq.training.models.export import INPUTS, exported


@pytest.mark.parametrize(
    "name",
    [
        "painn",
        pytest.param("tensornet", marks=pytest.mark.slow),
        "schnet",
    ],
)
def test_a_saved_graph_gives_the_same_energies_charges_and_slopes(samples, tmp_path, name):
    heads = ("energy", "gfn1_energy", "orbital_charges")
    potential = potential_of(backbone=name, heads=heads, composite=True, feed_charges="orbital_charges", layers=2)
    torch.export.save(exported(potential), tmp_path / "model.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = torch.export.load(tmp_path / "model.pt2").module()
    for structures in (samples("gscdb138")[:7], samples("crystals")[:1]):
        batch = batch_of(*structures).differentiable()
        found = graph(*(getattr(batch, key) for key in INPUTS))
        expected = potential(batch)
        assert set(found) == set(heads)
        for key in heads:
            assert torch.allclose(found[key], expected[key], atol=1e-12)
        slopes = [torch.autograd.grad(out["energy"].sum(), batch.vectors)[0] for out in (found, expected)]
        assert torch.allclose(*slopes, atol=1e-12)
