"""Backbones: their features turn as they should, are smooth, and do not depend on the order of atoms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from building import BACKBONES, EQUIVARIANT, assert_close, batch_of, moved, precision, rotation_of, wigner
from e3nn import o3

from mlipq.training.models import BACKBONES as CLASSES
from mlipq.training.models.layers import Radial, directions

DTYPES = (torch.float32, torch.float64)


def backbone_of(name, dtype=torch.float64, **settings):
    torch.manual_seed(3)
    with precision(dtype):
        return CLASSES[name](**{"channels": 16, "layers": 3, "cutoff": 5.0, "radial": 8, **settings})


def test_directions_are_the_spherical_harmonics_of_e3nn():
    vectors = torch.randn(50, 3, dtype=torch.float64)
    one, two = directions(vectors, vectors.norm(dim=1, keepdim=True))
    for l, found in ((1, one), (2, two)):
        expected = o3.spherical_harmonics(l, vectors, normalize=True, normalization="norm")
        assert torch.allclose(torch.cat(found, dim=1), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_features_turn_with_the_structure(samples, name, improper, dtype):
    rotation = rotation_of(1, improper)
    backbone = backbone_of(name, dtype)
    structures = [*samples("gscdb138")[:5], *samples("crystals")[:2]]
    with torch.no_grad():
        before = backbone(batch_of(*structures, dtype=dtype))
        after = backbone(batch_of(*(moved(s, rotation) for s in structures), dtype=dtype))
    assert_close(after.scalars, before.scalars, dtype)
    if name in EQUIVARIANT:
        for found, features, irrep in (
            (after.vectors, before.vectors, "1o"),
            (after.tensors, before.tensors, "2e"),
        ):
            assert features.abs().max() > 1e-2  # not zero, or nothing is shown
            turned = torch.einsum("ab,bnc->anc", wigner(irrep, rotation, dtype), features)
            assert_close(found, turned, dtype)
    else:
        assert after.vectors is None and after.tensors is None


@pytest.mark.parametrize("name", BACKBONES)
def test_features_follow_the_order_of_atoms(samples, name):
    structure = max(samples("gscdb138")[:20], key=len)
    order = np.random.default_rng(0).permutation(len(structure))
    shuffled = replace(structure, numbers=structure.numbers[order], positions=structure.positions[order])
    backbone = backbone_of(name)
    with torch.no_grad():
        before, after = backbone(batch_of(structure)), backbone(batch_of(shuffled))
    for old, new in zip(before, after, strict=True):
        if old is not None:
            assert_close(new, old[..., order, :], torch.float64)


@pytest.mark.parametrize("name", BACKBONES)
def test_features_tell_mirror_images_of_nothing_but_distances_apart_only_where_they_can(samples, name):
    """Bending a chain with its first-neighbour distances kept changes what an atom with one shell of neighbours knows."""
    chain = samples("qm7")[0]
    angles = (np.pi, 2.0)
    three = [
        replace(
            chain,
            numbers=np.array([8, 6, 8], dtype=np.uint8),
            positions=np.array([[1.2, 0, 0], [0, 0, 0], [1.2 * np.cos(angle), 1.2 * np.sin(angle), 0]]),
        )
        for angle in angles
    ]
    backbone = backbone_of(name, layers=1, cutoff=1.5)  # the outer atoms do not see each other
    with torch.no_grad():
        straight, bent = (backbone(batch_of(s, cutoff=1.5)).scalars[1] for s in three)
    assert torch.allclose(straight, bent, atol=1e-12) == (name == "schnet")


@pytest.mark.parametrize("name", BACKBONES)
def test_features_and_their_slope_are_smooth_at_the_cutoff(samples, name):
    backbone = backbone_of(name, cutoff=3.0)

    def scalars(distance: float) -> tuple[float, float]:
        positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
        pair = replace(samples("qm7")[0], numbers=np.array([6, 8], dtype=np.uint8), positions=positions)
        batch = batch_of(pair, cutoff=10.0).differentiable()  # the list reaches farther than the model
        total = backbone(batch).scalars.sum()
        return total.item(), torch.autograd.grad(total, batch.vectors)[0].abs().max().item()

    apart, no_slope = scalars(3.5)
    assert no_slope == 0
    for below in (1e-2, 1e-3, 1e-4):
        value, slope = scalars(3.0 - below)
        assert abs(value - apart) < 1e3 * below**3
        assert slope < 3e3 * below**2
    assert abs(scalars(2.5)[0] - apart) > 1e-4


def test_the_envelope_has_two_derivatives_that_vanish_at_the_cutoff():
    r = torch.tensor([[5.0 - 1e-12]], dtype=torch.float64, requires_grad=True)
    radial = Radial(8, 5.0).double()
    value = radial(r)[:, 0].sum()
    (first,) = torch.autograd.grad(value, r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert max(map(abs, (value.item(), first.item(), second.item()))) < 1e-9


@pytest.mark.parametrize("name", BACKBONES)
def test_charge_and_spin_change_what_the_atoms_know(samples, name):
    structure = samples("qm7")[3]
    backbone = backbone_of(name)
    with torch.no_grad():
        seen = [
            backbone(batch_of(replace(structure, charge=charge, multiplicity=multiplicity))).scalars
            for charge, multiplicity in ((0, 1), (1, 2), (-1, 2), (0, 3), (1, 4))
        ]
    for i, one in enumerate(seen):
        assert all((one - other).abs().max() > 1e-4 for other in seen[:i])
