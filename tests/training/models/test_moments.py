"""The fixed maps of orbital moments against e3nn and against the labeler's own blocks."""

import numpy as np
import torch
from e3nn import o3

from mlipq.irreps import to_blocks, to_moments
from mlipq.schema import gfn1_shells
from mlipq.training.models.moments import COUPLING_4, POPULATION_NAMES, SHELL_MASK, populations


def test_the_coupling_of_two_tensors_turns_as_4e_and_is_orthonormal():
    coupling = torch.from_numpy(COUPLING_4)
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, dtype=torch.float64)
    for rotation in o3.rand_matrix(5, dtype=torch.float64):
        two, four = o3.Irrep("2e").D_from_matrix(rotation), o3.Irrep("4e").D_from_matrix(rotation)
        turned = torch.einsum("kab,a,b->k", coupling, two @ a, two @ b)
        assert torch.allclose(turned, four @ torch.einsum("kab,a,b->k", coupling, a, b), atol=1e-12)
    assert torch.allclose(torch.einsum("kab,lab->kl", coupling, coupling), torch.eye(9, dtype=torch.float64))
    # the same, with its sign, as e3nn's own
    basis = o3.ReducedTensorProducts("ij=ji", i="1x2e").change_of_basis.double()[6:]
    assert torch.allclose(coupling, basis, atol=1e-6)


def test_populations_are_the_diagonals_of_the_blocks():
    generator = np.random.default_rng(1)
    s, p, d = generator.normal(size=7), generator.normal(size=(7, 3, 3)), generator.normal(size=(7, 5, 5))
    moments = to_moments(s, p + p.transpose(0, 2, 1), d + d.transpose(0, 2, 1))
    s, p, d = to_blocks(moments)
    expected = np.concatenate([s[:, None], np.einsum("nii->ni", p), np.einsum("nii->ni", d)], axis=1)
    assert np.allclose(populations(torch.from_numpy(moments)).numpy(), expected, atol=1e-12)
    assert expected.shape[1] == len(POPULATION_NAMES)


def test_the_mask_of_shells_is_that_of_the_schema():
    assert ["spd"[: int(SHELL_MASK[z].sum())] for z in range(1, 87)] == [gfn1_shells(z) for z in range(1, 87)]
    assert not SHELL_MASK[0].any() and not SHELL_MASK[87:].any()
