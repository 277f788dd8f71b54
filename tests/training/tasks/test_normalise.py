"""Normalisers: what a potential says before it has learned anything, and scales that make every loss of order one."""

import functools

import numpy as np
import pytest
import torch
from bundled import bundled, tasks_of

from mlipq.errors import InputError
from mlipq.schema import MOMENT_SLICES
from mlipq.training.config import read_config
from mlipq.training.models.batch import collate, find_neighbours
from mlipq.training.models.potential import Potential
from mlipq.training.tasks.normalise import element_statistics, elements_of, rms, set_normalisers
from mlipq.training.tasks.task import heads_of, labels_of, loss_of

QM7 = bundled().select(split="pool").rows[:60]
OTHERS = np.arange(20)
"""Of GSCDB138, which has no PBE0 energies."""


def reader(rows):
    return lambda names: bundled().batch(rows, names)


@functools.cache
def qm7():
    arrays = bundled().batch(QM7)
    return arrays, collate(arrays, find_neighbours(arrays, 4.0), torch.float64)


def potential_of(sources, **model):
    content = {
        "output": "x",
        "data": [{"dataset": "mine", "tasks": {"energy": "main"}}],
        "model": {"channels": 8, "layers": 1, **model},
    }
    config = read_config(content).model.build(heads_of([tasks for tasks, _ in sources]), elements_of(sources))
    torch.manual_seed(0)
    return Potential(config).double()


def untaught(potential):
    """Let every network say 0, as if nothing had been learned."""
    for parameter in potential.requires_grad_(False).parameters():
        parameter.zero_()
    return potential.eval()


def fitted(energies, arrays, elements=(1, 6, 7, 8, 16)):
    """What least squares on the composition tells, by another way than the package's."""
    rows = np.repeat(np.arange(len(energies)), np.diff(arrays["atom_offsets"]))
    counts = np.stack([np.bincount(rows, arrays["atomic_numbers"] == z) for z in elements], axis=1)
    return counts @ np.linalg.lstsq(counts, energies)[0]


@pytest.mark.parametrize("per_atom", [False, True])
def test_before_learning_an_energy_is_what_the_composition_tells(per_atom):
    arrays, batch = qm7()
    tasks = tasks_of({"energy": {"target": "reference/pbe0_energy", "per_atom": per_atom}})
    sources = [(tasks, reader(QM7))]
    potential = potential_of(sources)
    assert potential.config.elements == tuple(np.unique(arrays["atomic_numbers"]))
    found = set_normalisers(potential, sources)
    expected = fitted(arrays["reference/pbe0_energy"], arrays)
    np.testing.assert_allclose(untaught(potential)(batch)["energy"].numpy(), expected, rtol=1e-10)
    left, atoms = arrays["reference/pbe0_energy"] - expected, np.diff(arrays["atom_offsets"])
    ((task,),) = found.tasks
    assert task.scale == pytest.approx(np.sqrt(np.mean((left / atoms if per_atom else left) ** 2)), rel=1e-8)
    assert found.references["energy"].rank == len(potential.config.elements)
    np.testing.assert_allclose(potential.heads["energy"].scale.numpy(), np.sqrt(np.mean(left**2 / atoms)), rtol=1e-6)


def test_before_learning_a_composite_energy_is_the_sum_of_two_compositions():
    arrays, batch = qm7()
    tasks = tasks_of({"energy": "reference/pbe0_energy", "gfn1_energy": {}})
    sources = [(tasks, reader(QM7))]
    potential = potential_of(sources, composite=True)
    found = set_normalisers(potential, sources)
    out = untaught(potential)(batch)
    dft, gfn1 = arrays["reference/pbe0_energy"], arrays["gfn1/energy"]
    np.testing.assert_allclose(out["gfn1_energy"].numpy(), fitted(gfn1, arrays), rtol=1e-10)
    np.testing.assert_allclose(out["energy"].numpy(), fitted(gfn1, arrays) + fitted(dft - gfn1, arrays), rtol=1e-9)
    left = dft - gfn1 - fitted(dft - gfn1, arrays)
    assert found.references["energy"].residual == pytest.approx(rms(left), rel=1e-8)
    energy, _ = found.tasks[0]
    assert energy.scale == pytest.approx(
        rms(dft - fitted(dft, arrays)), rel=1e-8
    )  # as of an energy that is no composite


def test_a_correction_is_fitted_where_both_energies_are_known():
    """GFN1 has labels of 60 structures, DFT of 40 of these: the references of GFN1 are those of all, the correction's of the 40."""
    arrays, batch = qm7()

    def read(names):
        found = bundled().batch(QM7, names)
        if "reference/pbe0_energy" in found:
            found["reference/pbe0_energy"] = np.where(QM7[40] > QM7, found["reference/pbe0_energy"], np.nan)
        return found

    sources = [(tasks_of({"energy": "reference/pbe0_energy", "gfn1_energy": {}}), read)]
    potential = potential_of(sources, composite=True)
    set_normalisers(potential, sources)
    few = bundled().batch(QM7[:40])
    correction = fitted(few["reference/pbe0_energy"] - few["gfn1/energy"], few)
    out = untaught(potential)(batch)
    np.testing.assert_allclose((out["energy"] - out["gfn1_energy"])[:40].numpy(), correction, rtol=1e-9)
    np.testing.assert_allclose(out["gfn1_energy"].numpy(), fitted(arrays["gfn1/energy"], arrays), rtol=1e-10)


def test_a_correction_beside_other_structures_starts_from_their_composition():
    """DFT here, GFN1 there: no structure has both, and yet the sum is what the composition tells of DFT."""
    arrays, batch = qm7()
    sources = [
        (tasks_of({"energy": "reference/pbe0_energy"}), reader(QM7)),
        (tasks_of({"gfn1_energy": {}}), reader(bundled().select(split="pool").rows[60:600])),
    ]
    potential = potential_of(sources, composite=True)
    set_normalisers(potential, sources)
    expected = fitted(arrays["reference/pbe0_energy"], arrays)
    np.testing.assert_allclose(untaught(potential)(batch)["energy"].numpy(), expected, rtol=1e-9)


def test_a_correction_to_nothing_is_refused():
    """GFN1 energies of structures without N, O and S."""
    sources = [
        (tasks_of({"energy": "reference/pbe0_energy"}), reader(QM7)),
        (tasks_of({"gfn1_energy": {}}), reader(bundled().select(only=["H", "C"], split="pool").rows)),
    ]
    with pytest.raises(
        InputError, match=r"structures with an energy have N, O(, S)?, which none with a GFN1 energy has"
    ):
        set_normalisers(potential_of(sources, composite=True), sources)


@pytest.mark.parametrize("composite", [False, True])
def test_given_references_are_those_of_the_whole_energy(composite):
    arrays, batch = qm7()
    given = {"H": -13.6, "C": -1035.0, "N": -1485.0, "O": -2042.0, "S": -10831.0}
    tasks = {"energy": {"target": "reference/pbe0_energy", "references": given}, "gfn1_energy": {}}
    sources = [(tasks_of(tasks), reader(QM7))]
    potential = potential_of(sources, composite=composite)
    set_normalisers(potential, sources)
    table = np.zeros(119)
    table[[1, 6, 7, 8, 16]] = list(given.values())
    expected = np.add.reduceat(table[arrays["atomic_numbers"]], arrays["atom_offsets"][:-1])
    np.testing.assert_allclose(untaught(potential)(batch)["energy"].numpy(), expected, rtol=1e-9)


def test_no_references_leave_0_and_an_unseen_element_has_none():
    _, batch = qm7()
    sources = [(tasks_of({"energy": {"target": "reference/pbe0_energy", "references": "none"}}), reader(QM7))]
    potential = potential_of(sources)
    set_normalisers(potential, sources)
    assert not untaught(potential)(batch)["energy"].any()
    assert potential.heads["energy"].references[26].isnan()


def test_forces_set_the_scale_of_their_energy():
    arrays, _ = qm7()
    sources = [(tasks_of({"gfn1_energy": {}, "gfn1_forces": {}}), reader(QM7))]
    potential = potential_of(sources)
    _, forces = set_normalisers(potential, sources).tasks[0]
    expected = rms(arrays["gfn1/forces"].astype(float))
    assert forces.scale == pytest.approx(expected)
    assert potential.heads["gfn1_energy"].scale.item() == pytest.approx(expected)


def test_before_learning_atoms_have_the_mean_of_their_element():
    arrays, batch = qm7()
    tasks = tasks_of({"orbital_charges": {}, "orbital_moments": {}, "atomic_charges": {}, "gap": "gfn1/homo_lumo_gap"})
    sources = [(tasks, reader(QM7))]
    potential = potential_of(sources)
    set_normalisers(potential, sources)
    out = untaught(potential)(batch)
    z, moments = arrays["atomic_numbers"], out["orbital_moments"].numpy()
    for element in (1, 6, 7, 8):
        own = z == element
        for name in ("orbital_charges", "atomic_charges"):
            expected = np.broadcast_to(arrays[f"gfn1/{name}"][own].astype(float).mean(axis=0), out[name][own].shape)
            np.testing.assert_allclose(out[name][own].numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(
            moments[own, :3], arrays["gfn1/orbital_moments"][own, :3].mean(axis=0)[None].repeat(own.sum(), 0), atol=1e-5
        )
    assert not moments[:, 3:].any()  # what turns has no mean
    np.testing.assert_allclose(out["gap"].numpy(), arrays["gfn1/homo_lumo_gap"].astype(float).mean(), rtol=1e-6)


def test_a_column_without_labels_has_no_mean_and_does_no_harm():
    def read(names):
        found = dict(bundled().batch(QM7, names))
        if "gfn1/dipole" in found:
            found["gfn1/dipole"][:, 1] = np.nan
        return found

    sources = [(tasks_of({"mine": {"target": "gfn1/dipole", "kind": "structure_values"}}), read)]
    potential = potential_of(sources)
    set_normalisers(potential, sources)
    _, batch = qm7()
    expected = np.nan_to_num(read(["gfn1/dipole"])["gfn1/dipole"].astype(float).mean(axis=0))
    assert expected[1] == 0 != expected[0]
    np.testing.assert_allclose(untaught(potential)(batch)["mine"][0].numpy(), expected, rtol=1e-5)


def test_components_that_turn_together_share_a_spread():
    rows = np.concatenate([QM7, OTHERS])
    sources = [(tasks_of({"orbital_moments": {}}), reader(rows))]
    potential = potential_of(sources)
    set_normalisers(potential, sources)
    scale, shift = potential.heads["orbital_moments"].normal.scale, potential.heads["orbital_moments"].normal.shift
    for part in MOMENT_SLICES.values():
        assert torch.equal(scale[:, part], scale[:, part][:, :1].expand_as(scale[:, part]))
    assert not shift[:, 3:].any() and bool((scale > 0).all())
    arrays = bundled().batch(rows, ["atomic_numbers", "gfn1/orbital_moments"])
    carbon = arrays["gfn1/orbital_moments"][arrays["atomic_numbers"] == 6].astype(float)
    assert scale[6, 3].item() == pytest.approx(np.sqrt(np.mean(carbon[:, 3:8] ** 2)), rel=1e-6)


def test_statistics_of_few_and_of_equal_labels():
    numbers = np.array([1] * 20 + [6] * 3 + [8] * 12)
    columns = np.concatenate([np.linspace(0, 1, 20), [5.0, 5.5, np.nan], np.full(12, 2.0)])[:, None]
    shift, scale, left = element_statistics(columns, numbers, [slice(0, 1)])
    assert shift[[1, 6, 8], 0].tolist() == pytest.approx([0.5, 5.25, 2.0])
    overall = np.sqrt(np.nanmean(left**2))
    assert scale[1, 0] == pytest.approx(np.linspace(0, 1, 20).std())
    assert scale[6, 0] == pytest.approx(overall)
    assert scale[8, 0] == pytest.approx(1e-3 * overall)
    assert np.isnan(left[22, 0])


def test_every_loss_is_about_one_before_learning():
    """A label less what is told without learning, over its scale, has a mean square of one."""
    _, batch = qm7()
    names = {
        "energy": {"target": "reference/pbe0_energy", "loss": "mse"},
        "my_gap": {"target": "gfn1/homo_lumo_gap", "loss": "mse"},
    }
    names |= {
        name: {"loss": "mse"}
        for name in ("gfn1_energy", "orbital_charges", "orbital_moments", "atomic_charges", "dipole")
    }
    sources = [(tasks_of(names), reader(QM7))]
    potential = potential_of(sources)
    found = set_normalisers(potential, sources)
    out = untaught(potential)(batch)
    arrays, _ = qm7()
    for task in found.tasks[0]:
        total, count = loss_of(task, out[task.name], torch.from_numpy(labels_of(task, arrays)), batch)
        assert float(total / count) == pytest.approx(1, rel=1e-4), task.name


def test_a_task_of_several_datasets_is_normalised_by_the_first():
    one, two = tasks_of({"gfn1_energy": {}}), tasks_of({"gfn1_energy": {"weight": 0.1}, "dipole": {"scale": 3.0}})
    sources = [(one, reader(QM7)), (two, reader(OTHERS))]
    both, alone = potential_of(sources), potential_of(sources[:1])
    found = set_normalisers(both, sources)
    assert found.tasks[0] == set_normalisers(alone, sources[:1]).tasks[0]
    assert [task.scale for task in found.tasks[1]] == [found.tasks[0][0].scale, 3.0]
    assert set(both.config.elements) > set(alone.config.elements)
    assert found.counts[1]["gfn1_energy"].labels == len(OTHERS)
    head, first = (potential.heads["gfn1_energy"] for potential in (both, alone))
    assert torch.equal(head.scale, first.scale)
    known = list(alone.config.elements)
    assert torch.equal(head.references[known], first.references[known])


@pytest.mark.parametrize("given", [{}, {"references": {"C": -50.0, "H": -15.0, "N": -80.0, "O": -110.0, "S": -86.0}}])
def test_elements_that_only_a_later_dataset_has_are_fitted_to_what_the_others_leave(given):
    """Hydrocarbons first; every nitrogen, oxygen and sulphur is of the second."""
    arrays, batch = qm7()
    plain = bundled().select(only=["H", "C"], split="pool").rows
    tasks = tasks_of({"gfn1_energy": given})
    sources = [(tasks, reader(plain)), (tasks, reader(QM7))]
    potential = potential_of(sources)
    set_normalisers(potential, sources)
    references = potential.heads["gfn1_energy"].references.numpy()
    z, offsets = arrays["atomic_numbers"], arrays["atom_offsets"]
    if given:
        assert references[[1, 6, 7, 8]].tolist() == [-15.0, -50.0, -80.0, -110.0]
        return
    few = bundled().batch(plain)
    left = arrays["gfn1/energy"] - np.add.reduceat(np.where(np.isin(z, [1, 6]), references[z], 0), offsets[:-1])
    counts = np.stack([np.add.reduceat((z == element).astype(float), offsets[:-1]) for element in (7, 8, 16)], axis=1)
    expected = np.linalg.lstsq(counts[counts.any(axis=1)], left[counts.any(axis=1)])[0]
    seen = [element in z for element in (7, 8, 16)]
    np.testing.assert_allclose(references[[7, 8, 16]][seen], expected[seen], rtol=1e-9)
    np.testing.assert_allclose(
        np.add.reduceat(references[few["atomic_numbers"]], few["atom_offsets"][:-1]),
        fitted(few["gfn1/energy"], few, (1, 6)),
        rtol=1e-10,
    )
    assert bool(untaught(potential)(batch)["gfn1_energy"].isfinite().all())


def test_heads_that_are_kept_stay_as_they_are():
    sources = [(tasks_of({"energy": "reference/pbe0_energy", "orbital_charges": {}}), reader(QM7))]
    potential = potential_of(sources)
    before = {key: value.clone() for key, value in potential.heads["orbital_charges"].state_dict().items()}
    found = set_normalisers(potential, sources, keep=["orbital_charges"])
    after = potential.heads["orbital_charges"].state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(task.scale > 0 for task in found.tasks[0])


def test_a_correction_to_a_kept_head_is_fitted_to_what_that_head_was_taught():
    """As in fine-tuning: the head gfn1_energy was trained before, on methane's elements alone."""
    arrays, batch = qm7()
    sources = [(tasks_of({"energy": "reference/pbe0_energy", "gfn1_energy": {}}), reader(QM7))]
    potential = potential_of(sources, composite=True)
    known = potential.heads["gfn1_energy"].references
    known.fill_(torch.nan)
    known[1], known[6] = -15.0, -57.0
    set_normalisers(potential, sources, keep=["gfn1_energy"])
    assert known[[1, 6]].tolist() == [-15.0, -57.0]
    assert not known[[7, 8]].isnan().any()  # new to it: fitted
    out = untaught(potential)(batch)
    correction = fitted(arrays["reference/pbe0_energy"] - arrays["gfn1/energy"], arrays)
    np.testing.assert_allclose((out["energy"] - out["gfn1_energy"]).numpy(), correction, rtol=1e-9)


def test_a_task_without_a_label_is_refused():
    sources = [(tasks_of({"energy": "reference/pbe0_energy"}), reader(OTHERS))]
    with pytest.raises(InputError, match="task energy: none of the training structures has a label"):
        set_normalisers(potential_of(sources), sources)


def test_one_structure_alone_has_scales():
    sources = [(tasks_of({"energy": "reference/pbe0_energy", "gfn1_forces": {}, "dipole": {}}), reader(QM7[:1]))]
    potential = potential_of(sources)
    found = set_normalisers(potential, sources)
    assert all(0 < task.scale <= 10 for task in found.tasks[0])
    assert all(bool(head.scale.gt(0).all()) for name, head in potential.heads.items() if name.endswith("energy"))
    arrays = bundled().batch(QM7[:1])
    batch = collate(arrays, find_neighbours(arrays, 4.0), torch.float64)
    assert untaught(potential)(batch)["energy"].item() == pytest.approx(arrays["reference/pbe0_energy"][0], rel=1e-10)
