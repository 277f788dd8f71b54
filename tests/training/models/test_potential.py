"""Potentials: symmetry of every output, forces, extensivity, crystals, composite energies, and what dropping heads leaves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from building import (
    ALL_HEADS,
    BACKBONES,
    TOLERANCE,
    assert_close,
    batch_of,
    moved,
    potential_of,
    precision,
    rotation_of,
    wigner,
)
from pydantic import ValidationError

from mlipq.errors import InputError
from mlipq.schema import MOMENT_IRREPS, MOMENT_SLICES
from mlipq.training.models.moments import MOMENT_SHELLS, SHELL_MASK
from mlipq.training.models.potential import Potential, PotentialConfig

DTYPES = (torch.float32, torch.float64)
BOTH = ["energy", "gfn1_energy"]


def everything(name, dtype=torch.float64, **config):
    return potential_of(dtype, backbone=name, heads=ALL_HEADS, composite=True, **config)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_output_turns_with_the_molecule(samples, name, improper, dtype):
    rotation = rotation_of(2, improper)
    structures = samples("gscdb138")[:6] + samples("tmqm")[:1]
    potential = everything(name, dtype, feed_charges="orbital_charges", conserve_charge=True)
    before = potential(batch_of(*structures, dtype=dtype).differentiable(), BOTH)
    turned = [moved(structure, rotation, shift=[1.0, -2.0, 30.0]) for structure in structures]
    after = potential(batch_of(*turned, dtype=dtype).differentiable(), BOTH)
    matrix = torch.from_numpy(rotation).to(dtype)
    moments = wigner(MOMENT_IRREPS, rotation, dtype)
    for same in ("energy", "gfn1_energy", "orbital_charges", "atomic_charges", "dipole_magnitude"):
        assert_close(after[same], before[same], dtype)
    for vector in ("forces", "gfn1_forces", "dipole"):
        assert before[vector].abs().max() > 1e-2
        assert_close(after[vector], before[vector] @ matrix.T, dtype)
    assert_close(after["strain_gradient"], matrix @ before["strain_gradient"] @ matrix.T, dtype)
    turned_moments = before["orbital_moments"] @ moments.T
    for part in MOMENT_SLICES.values():
        size = turned_moments[:, part].abs().max()
        assert bool(size > 0) == (name != "schnet" or part.stop <= 3)
        if size > 0:  # each part beside its own size: some are small
            assert_close(after["orbital_moments"][:, part] / size, turned_moments[:, part] / size, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_outputs_follow_the_order_of_atoms(samples, name, dtype):
    structure = max(samples("gscdb138")[:20], key=len)
    order = np.random.default_rng(0).permutation(len(structure))
    shuffled = replace(structure, numbers=structure.numbers[order], positions=structure.positions[order])
    potential = everything(name, dtype, feed_charges="atomic_charges", conserve_charge=True)
    before = potential(batch_of(structure, dtype=dtype).differentiable(), BOTH)
    after = potential(batch_of(shuffled, dtype=dtype).differentiable(), BOTH)
    for key, values in before.items():
        assert_close(after[key], values[order] if len(values) == len(order) else values, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_energy_and_forces_do_not_jump_where_an_atom_crosses_the_cutoff(samples, name, dtype):
    """An atom comes to a molecule: the list of neighbours is that of the model, and has an edge more on one side."""
    molecule = samples("qm7")[2]
    potential = everything(name, dtype, feed_charges="orbital_charges")
    nearest = molecule.positions[molecule.positions[:, 0].argmax()]

    def found(distance: float):
        positions = np.vstack([molecule.positions, nearest + np.array([distance, 0, 0])])
        both = replace(molecule, numbers=np.append(molecule.numbers, np.uint8(8)), positions=positions)
        batch = batch_of(both, dtype=dtype)
        return len(batch.senders), potential(batch.differentiable(), BOTH)

    (n_apart, apart), (n_far, gone) = found(5.0 + 1e-5), found(100.0)
    n_close, close = found(5.0 - 1e-5)
    assert n_close == n_apart + 2 and n_apart == n_far
    for key, values in close.items():
        if key not in ("dipole", "dipole_magnitude"):  # which know how far away a charge is
            assert_close(values, apart[key], dtype)
    assert (found(4.0)[1]["energy"] - gone["energy"]).abs() > 1e-4  # nearer, it is felt


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_batch_of_many_is_as_one_by_one(samples, name, dtype):
    structures = [*samples("gscdb138")[:8], *samples("crystals")[:2], *samples("qm7")[:3]]
    potential = everything(name, dtype, feed_charges="orbital_charges", conserve_charge=True)
    together = potential(batch_of(*structures, dtype=dtype).differentiable(), BOTH)
    alone = [potential(batch_of(s, dtype=dtype).differentiable(), BOTH) for s in structures]
    for key, values in together.items():
        assert_close(values, torch.cat([one[key] for one in alone]), dtype)


@pytest.mark.parametrize("name", BACKBONES)
def test_forces_are_minus_the_slope_of_the_energy(samples, name):
    structures = samples("gscdb138")[:4]
    potential = everything(name, feed_charges="orbital_charges")
    batch = batch_of(*structures).differentiable()
    out = potential(batch, BOTH)
    direction = np.random.default_rng(5).normal(size=(batch.n_atoms, 3))
    parts = np.split(direction, np.cumsum([len(s) for s in structures])[:-1])
    step = 1e-5
    ahead, behind = (
        potential(
            batch_of(
                *(replace(s, positions=s.positions + sign * step * d) for s, d in zip(structures, parts, strict=True))
            )
        )
        for sign in (1, -1)
    )
    for energy, forces in (("energy", "forces"), ("gfn1_energy", "gfn1_forces")):
        slope = float((ahead[energy] - behind[energy]).detach().sum()) / (2 * step)
        assert float((out[forces].detach() * torch.from_numpy(direction)).sum()) == pytest.approx(-slope, rel=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_strain_gradient_is_the_slope_of_the_energy_of_a_strained_crystal(samples, name):
    crystal = samples("crystals")[0]
    potential = potential_of(backbone=name)
    found = potential(batch_of(crystal).differentiable(), ["energy"])["strain_gradient"][0]
    assert found.abs().max() > 1e-2
    step = 1e-5
    for a, b in ((0, 0), (1, 2), (2, 0)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step
            energies.append(potential(batch_of(moved(crystal, strain)))["energy"].item())
        assert found[a, b].item() == pytest.approx((energies[0] - energies[1]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_two_molecules_far_apart_are_the_sum_of_both(samples, name):
    one, two = samples("qm7")[2], samples("qm7")[40]
    both = replace(
        one,
        numbers=np.concatenate([one.numbers, two.numbers]),
        positions=np.concatenate([one.positions, two.positions + 100.0]),
    )
    potential = everything(name, feed_charges="orbital_charges")
    apart = potential(batch_of(one, two).differentiable(), BOTH)
    together = potential(batch_of(both).differentiable(), BOTH)
    assert_close(together["energy"], apart["energy"].sum(dim=0, keepdim=True), torch.float64)
    for key in ("forces", "orbital_charges", "orbital_moments"):
        assert_close(together[key], apart[key], torch.float64)


def supercell(crystal, repeats):
    cells = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = (cells @ crystal.cell)[:, None] + crystal.positions
    return replace(
        crystal,
        numbers=np.tile(crystal.numbers, len(cells)),
        positions=positions.reshape(-1, 3),
        cell=crystal.cell * np.array(repeats)[:, None],
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_a_supercell_is_so_many_cells(samples, name):
    potential = potential_of(backbone=name, heads=("energy", "orbital_moments"))
    crystals = [replace(crystal, multiplicity=1) for crystal in samples("crystals")]
    assert any(np.linalg.norm(crystal.cell, axis=1).min() < 5.0 for crystal in crystals)  # atoms see their own images
    for crystal in crystals:
        small = potential(batch_of(crystal).differentiable(), ["energy"])
        large = potential(batch_of(supercell(crystal, (2, 1, 3))).differentiable(), ["energy"])
        assert_close(large["energy"] / 6, small["energy"], torch.float64)
        assert_close(large["forces"], small["forces"].repeat(6, 1), torch.float64)
        assert_close(large["orbital_moments"], small["orbital_moments"].repeat(6, 1), torch.float64)


@pytest.mark.parametrize("name", BACKBONES)
def test_ten_thousand_atoms(samples, name):
    crystal = samples("crystals")[0]
    repeats = round((10_000 / len(crystal)) ** (1 / 3) + 0.5)
    large = supercell(crystal, (repeats,) * 3)
    assert len(large) >= 10_000
    potential = potential_of(torch.float32, backbone=name, cutoff=3.5)
    out = potential(batch_of(large, cutoff=3.5, dtype=torch.float32).differentiable(), ["energy"])
    small = potential(batch_of(crystal, cutoff=3.5, dtype=torch.float32))
    assert out["energy"].item() / repeats**3 == pytest.approx(small["energy"].item(), abs=1e-5 * len(crystal))
    assert out["forces"].shape == (len(large), 3)


@pytest.mark.parametrize("name", BACKBONES)
def test_isolated_atoms_have_energies_and_no_forces(samples, name):
    atoms = [
        replace(samples("qm7")[0], numbers=np.array([z], dtype=np.uint8), positions=np.zeros((1, 3)), multiplicity=spin)
        for z, spin in ((1, 2), (2, 1), (26, 5))
    ]
    potential = everything(name, feed_charges="orbital_charges", conserve_charge=True)
    for structures in (atoms, [*atoms, samples("qm7")[0]], atoms[:1]):
        batch = batch_of(*structures)
        out = potential(batch.differentiable(), BOTH)
        assert all(bool(values.isfinite().all()) for values in out.values())
        assert not out["forces"][: len(structures) if len(structures) < 4 else 3].any()
        out["energy"].sum().backward()
        gradients = [p.grad for p in potential.parameters() if p.grad is not None]
        assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_loss_of_the_forces_reaches_the_parameters(samples, name):
    potential = potential_of(backbone=name).train()
    weight = potential.heads["energy"].network[0].weight
    batch = batch_of(*samples("qm7")[:3]).differentiable()

    def loss() -> torch.Tensor:
        return potential(batch, ["energy"])["forces"].square().sum()

    loss().backward()
    with torch.no_grad():
        step = 1e-6 * torch.randn_like(weight)
        expected = float((weight.grad * step).sum())
        weight += step
        ahead = loss_value(loss)
        weight -= 2 * step
        behind = loss_value(loss)
    assert (ahead - behind) / 2 == pytest.approx(expected, rel=1e-4)


def loss_value(loss) -> float:
    with torch.enable_grad():
        return loss().item()


FREE = {
    "energy": {"kind": "energy"},
    "other_energy": {"kind": "energy"},
    "gap": {"kind": "structure_values"},
    "tensor": {"kind": "structure_values", "shape": (2, 3)},
    "volumes": {"kind": "atom_values", "shape": (4,)},
    "radius": {"kind": "atom_values"},
    "other_dipole": {"kind": "dipole"},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_heads_of_any_name(samples, name):
    structures = [*samples("gscdb138")[:4], samples("qm7")[3]]
    potential = potential_of(backbone=name, heads=FREE)
    assert potential.config.energies == {"energy": "forces", "other_energy": "other_forces"}
    batch = batch_of(*structures)
    out = potential(batch.differentiable(), potential.config.energies)
    s, n = batch.n_structures, batch.n_atoms
    shapes = {
        "gap": (s,),
        "tensor": (s, 2, 3),
        "volumes": (n, 4),
        "radius": (n,),
        "other_dipole": (s, 3),
        "other_forces": (n, 3),
    }
    assert {key: tuple(out[key].shape) for key in shapes} == shapes
    rotation = rotation_of(3, improper=True)
    turned = potential(batch_of(*(moved(s, rotation, shift=5.0) for s in structures)))
    for same in ("other_energy", "gap", "tensor", "volumes", "radius"):
        assert_close(turned[same], out[same], torch.float64)
    alone = [potential(batch_of(structure)) for structure in structures]
    for key in ("gap", "tensor", "volumes"):
        assert_close(torch.cat([one[key] for one in alone]), out[key], torch.float64)
    dropped = potential.drop({"gap", "tensor", "volumes", "radius", "other_dipole", "other_energy"})
    assert dropped.config == potential_of(backbone=name).config
    config = PotentialConfig.model_validate_json(potential.config.model_dump_json())
    assert config == potential.config


def test_a_gap_does_not_grow_with_the_system(samples):
    crystal = replace(samples("crystals")[0], multiplicity=1)
    potential = potential_of(heads=FREE)
    small, large = potential(batch_of(crystal)), potential(batch_of(supercell(crystal, (2, 1, 1))))
    assert_close(large["gap"], small["gap"], torch.float64)
    assert_close(large["other_energy"] / 2, small["other_energy"], torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("conserve", [True, False])
def test_shells_that_an_element_lacks_are_zero_and_charges_add_up_where_imposed(samples, conserve, dtype):
    structures = [*samples("gscdb138")[:40], *samples("tmqm")[:2]]
    assert {-2, 0, 1, 2} <= {s.charge for s in structures}
    potential = everything("painn", dtype, conserve_charge=conserve)
    batch = batch_of(*structures, dtype=dtype)
    with torch.no_grad():
        out = potential(batch)
    mask = SHELL_MASK[batch.atomic_numbers]
    assert bool(((out["orbital_charges"] != 0) == (mask != 0)).all())
    assert not out["orbital_moments"][mask[:, MOMENT_SHELLS] == 0].any()
    for charges in (out["orbital_charges"].double().sum(dim=1), out["atomic_charges"].double()):
        sums = torch.zeros(batch.n_structures, dtype=torch.float64).index_add(0, batch.structures, charges)
        assert bool(torch.allclose(sums, batch.charge.double(), rtol=0, atol=TOLERANCE[dtype])) == conserve


def test_charges_of_elements_without_shells_are_zero_and_numbers(samples):
    """GFN1-xTB ends at radon: an actinide alone has no charge to conserve, and what it feeds is still a number."""
    atom = replace(samples("qm7")[0], numbers=np.array([92], dtype=np.uint8), positions=np.zeros((1, 3)), charge=2)
    potential = everything("painn", conserve_charge=True, feed_charges="orbital_charges").train()
    out = potential(batch_of(atom, samples("qm7")[1]).differentiable(), BOTH)
    assert not out["orbital_charges"][0].any()
    assert out["atomic_charges"][0].item() == pytest.approx(2)
    out["energy"].sum().backward()
    assert all(bool(values.isfinite().all()) for values in out.values())
    assert all(bool(p.grad.isfinite().all()) for p in potential.parameters() if p.grad is not None)


@pytest.mark.parametrize("feeds", ["orbital_charges", "atomic_charges"])
def test_charges_that_feed_the_energy_change_it_and_learn_from_it(samples, feeds):
    batch = batch_of(*samples("gscdb138")[:4])
    heads = ("energy", "orbital_charges", "atomic_charges")
    for feed_charges, reaches in ((feeds, True), ("", False)):
        potential = potential_of(heads=heads, feed_charges=feed_charges).train()
        before = potential(batch.differentiable(), ["energy"])
        (before["energy"].sum() + before["forces"].square().sum()).backward()
        gradients = [p.grad for p in potential.heads[feeds].parameters()]
        assert any(g is not None and bool(g.any()) for g in gradients) == reaches
        with torch.no_grad():
            potential.heads[feeds].normal.shift += 0.1
        after = potential(batch.differentiable(), ["energy"])
        for key in ("energy", "forces"):
            assert torch.equal(after[key], before[key]) != reaches


def test_a_composite_energy_teaches_both_of_its_heads_and_its_forces_are_those_of_the_sum(samples):
    potential = potential_of(heads=("energy", "gfn1_energy"), composite=True).train()
    batch = batch_of(*samples("qm7")[:3])
    potential(batch)["energy"].sum().backward()
    for head in potential.heads.values():
        assert all(bool(p.grad.any()) for p in head.parameters())
    potential.zero_grad()
    potential(batch)["gfn1_energy"].sum().backward()
    assert not any(p.grad is not None and bool(p.grad.any()) for p in potential.heads["energy"].parameters())
    out = potential(batch.differentiable(), BOTH)
    with torch.no_grad():
        potential.heads["energy"].network[2].weight.zero_()  # no correction
    alone = potential(batch.differentiable(), BOTH)
    assert torch.equal(alone["gfn1_forces"], out["gfn1_forces"])
    assert_close(alone["forces"], alone["gfn1_forces"], torch.float64)
    assert (out["forces"] - out["gfn1_forces"]).abs().max() > 1e-3


def test_references_are_float64_and_an_element_without_one_has_no_energy(samples):
    potential = potential_of(backbone="schnet")
    head = potential.heads["energy"]
    head.references.fill_(torch.nan)
    exact = {1: -13.123456789012345, 6: -1e4 / 3}
    for z, energy in exact.items():
        head.references[z] = energy
    head.scale.zero_()  # the references alone
    alkane = next(s for s in samples("qm7") if set(s.numbers.tolist()) == {1, 6})
    amine = next(s for s in samples("qm7") if 7 in s.numbers)
    energies = potential.float()(batch_of(alkane, amine, dtype=torch.float32))["energy"]
    assert energies.dtype == torch.float64
    assert energies[0].item() == pytest.approx(sum(exact[z] for z in alkane.numbers.tolist()), rel=1e-15)
    assert energies[1].isnan()


@pytest.mark.parametrize("name", BACKBONES)
def test_the_gfn1_head_of_a_composite_is_merged_when_it_is_dropped(samples, name):
    potential = everything(name, feed_charges="orbital_charges")
    batch = batch_of(*samples("gscdb138")[:8])
    before = potential(batch.differentiable(), BOTH)
    correction = before["energy"] - before["gfn1_energy"]
    assert correction.abs().max() > 1e-2
    small = potential.drop({"gfn1_energy", "orbital_moments", "atomic_charges", "dipole", "dipole_magnitude"})
    after = small(batch.differentiable(), ["energy"])
    assert set(after) == {"energy", "forces", "strain_gradient", "orbital_charges"}
    for key, values in after.items():
        assert_close(values, before[key], torch.float64)
    with precision(torch.float64):
        loaded = Potential(PotentialConfig.model_validate_json(small.config.model_dump_json()))
    loaded.load_state_dict(small.state_dict())
    assert torch.equal(loaded(batch)["energy"], small(batch)["energy"])


@pytest.mark.parametrize("name", BACKBONES)
def test_without_its_other_heads_a_potential_is_one_trained_for_the_energy(samples, name):
    multitask = potential_of(backbone=name, heads=[head for head in ALL_HEADS if head != "gfn1_energy"])
    alone = potential_of(backbone=name, heads=("energy",))
    dropped = multitask.drop(set(multitask.heads) - {"energy"})
    assert dropped.config == alone.config
    assert {key: value.shape for key, value in dropped.state_dict().items()} == {
        key: value.shape for key, value in alone.state_dict().items()
    }
    batch = batch_of(samples("qm7")[0])
    assert torch.equal(dropped(batch)["energy"], multitask(batch)["energy"])


@pytest.mark.parametrize(
    "drop, why",
    [("energy", "it is the energy"), ("orbital_charges", "feed the energy"), ("dipole", "has no head 'dipole'")],
)
def test_a_head_that_the_energy_needs_cannot_be_dropped(drop, why):
    potential = potential_of(heads=("energy", "orbital_charges"), feed_charges="orbital_charges")
    with pytest.raises(InputError, match=why):
        potential.drop([drop])


@pytest.mark.parametrize(
    "config",
    [
        {"composite": True},
        {"feed_charges": "orbital_charges"},
        {"backbone": "gemnet"},
        {"heads": ("energies",)},
        {"heads": {"energies": {"kind": "energy"}}},
        {"heads": {"dipole": {"kind": "energy"}}},
        {"chanels": 64},
        {"cutoff": -1.0},
    ],
)
def test_configurations_that_cannot_be_are_refused(config):
    with pytest.raises(ValidationError):
        PotentialConfig(**config)


@pytest.mark.parametrize("name", BACKBONES)
def test_equal_seeds_give_equal_potentials(samples, name):
    batch = batch_of(*samples("qm7")[:4], dtype=torch.float32)
    outputs = []
    for _ in range(2):
        torch.manual_seed(11)
        outputs.append(Potential(PotentialConfig(backbone=name, channels=16))(batch)["energy"])
    assert torch.equal(*outputs)
