"""Tasks: the array that each means, what is refused and how, labels and their gaps, and losses against NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from building import batch_of
from bundled import bundled, settings_of, tasks_of

from mlipq import open_dataset
from mlipq.errors import InputError
from mlipq.schema import gfn1_shells
from mlipq.store import Table, write_shard
from mlipq.training.architecture import HeadConfig
from mlipq.training.tasks.task import count_labels, heads_of, labels_of, loss_of, residuals_of, resolve_tasks


def task_of(name, **settings):
    (task,) = tasks_of({name: settings})
    return task


def dataset_with(folder, *labels):
    """Three molecules with these labels alone."""
    table = bundled().take(range(3))
    keep = [name for name in table.arrays if "/" not in name or name in labels]
    part = Table({name: table.arrays[name] for name in keep}, {name: table.specs[name] for name in keep})
    write_shard(folder / "some.zarr.zip", part, {})
    return open_dataset(folder / "some.zarr.zip")


@pytest.mark.parametrize(
    ("name", "settings", "target", "kind", "unit", "metric"),
    [
        ("energy", {"target": "reference/pbe0_energy"}, "reference/pbe0_energy", "energy", "eV", "meV"),
        ("energy", {"target": "gfn1/energy", "per_atom": True}, "gfn1/energy", "energy", "eV", "meV/atom"),
        ("energy", "main", "reference/pbe0_energy", "energy", "eV", "meV"),
        ("forces", {"target": "gfn1/forces"}, "gfn1/forces", "forces", "eV/Å", "meV/Å"),
        ("gfn1_energy", {}, "gfn1/energy", "energy", "eV", "meV"),
        ("gfn1_forces", {}, "gfn1/forces", "forces", "eV/Å", "meV/Å"),
        ("orbital_charges", {}, "gfn1/orbital_charges", "orbital_charges", "e", "me"),
        ("orbital_moments", {}, "gfn1/orbital_moments", "orbital_moments", "e", "me"),
        ("atomic_charges", {}, "gfn1/atomic_charges", "atomic_charges", "e", "me"),
        ("dipole", {}, "gfn1/dipole", "dipole", "e·Å", "me·Å"),
        ("dipole_magnitude", {}, "gfn1/dipole", "dipole_magnitude", "e·Å", "me·Å"),
        ("gap", "gfn1/homo_lumo_gap", "gfn1/homo_lumo_gap", "structure_values", "eV", "meV"),
        ("spin", "gfn1/uhf", "gfn1/uhf", "structure_values", "", "1"),
        ("my_dipole", "gfn1/dipole", "gfn1/dipole", "dipole", "e·Å", "me·Å"),
        ("shells", {"target": "gfn1/orbital_charges", "kind": "atom_values"}, "gfn1/orbital_charges", "atom_values", "e", "me"),
        ("wb97mv_energy", "reference/wb97mv_energy", "reference/wb97mv_energy", "energy", "eV", "meV"),
    ],
)  # fmt: skip
def test_what_a_task_learns(name, settings, target, kind, unit, metric):
    (task,) = tasks_of({name: settings})
    assert (task.target, task.kind, task.unit, task.metric.name) == (target, kind, unit, metric)
    assert task.metric.factor == (1000 if metric.startswith("m") else 1)
    assert task.level_of_theory == {"re": bundled().specs[target].level_of_theory, "gf": "GFN1-xTB"}[target[:2]] != ""


def test_main_forces_are_those_of_the_main_energy(tmp_path):
    dataset = dataset_with(tmp_path, "gfn1/energy", "gfn1/forces")
    energy, forces = tasks_of({"energy": "main", "forces": "main"}, dataset)
    assert (energy.target, forces.target, forces.head) == ("gfn1/energy", "gfn1/forces", "energy")
    with pytest.raises(InputError, match=r"which forces belong to reference/pbe0_energy\?.*it has gfn1/forces"):
        tasks_of({"energy": "main", "forces": "main"})


def test_the_only_energy_is_the_main_one(tmp_path):
    dataset = dataset_with(tmp_path, "gfn1/energy")
    assert [task.target for task in tasks_of({"energy": {}}, dataset)] == ["gfn1/energy"]
    said = resolve_tasks(settings_of({"energy": "main"}), bundled(), "reference/wb97mv_energy")
    assert [task.target for task in said] == ["reference/wb97mv_energy"]


@pytest.mark.parametrize("said", ["main", {}])
def test_an_energy_that_is_not_clear_lists_those_there_are(tmp_path, said):
    dataset = dataset_with(tmp_path, "gfn1/energy", "reference/pbe0_energy")
    with pytest.raises(InputError, match=r"which energy\? The dataset mine has gfn1/energy, reference/pbe0_energy"):
        tasks_of({"energy": said}, dataset)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"energy": "reference/pbe_energy"}, "dataset mine has no array reference/pbe_energy; did you mean reference/pbe0_energy?"),
        ({"energy": "dft"}, "has no array dft; it has gfn1/"),
        ({"bond_orders": {}}, "task bond_orders should name its target, an array of the dataset mine: gfn1/"),
        ({"energy": "gfn1/homo_lumo_gap"}, "gfn1/homo_lumo_gap of the dataset mine is not said to be one"),
        ({"dipole": "gfn1/energy"}, "dipole should have rows of shape (3,) for each structure; gfn1/energy of the dataset mine has rows of shape ()"),
        ({"spin": {"target": "gfn1/uhf", "kind": "atom_values"}}, "atom_values need one row for each atom; gfn1/uhf has one for each structure"),
        ({"label": "info/CSD_code"}, "info/CSD_code of the dataset mine holds no numbers to learn from, but str"),
        ({"pbe0": "reference/pbe0_energy"}, "the name of such a task ends in energy, as my_energy"),
        *(({name: "gfn1/uhf"}, f"task {name}: this name is taken") for name in ("items", "training", "stress", "orbital_populations")),
        ({"forces": {"target": "gfn1/forces", "kind": "atom_values"}}, "task forces: this name is taken"),
        ({"dipole": {"per_atom": True}}, "per_atom is for energies"),
        ({"dipole": {"references": "none"}}, "references are for energies"),
        ({"energy": {"target": "reference/pbe0_energy", "references": "isolated"}}, "holds no isolated atoms with reference/pbe0_energy"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_says_why(tasks, message):
    with pytest.raises(InputError) as refused:
        tasks_of(tasks)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "task", "unit", "kind"),
    [
        ("gfn1/energy", "gfn1_energy", "Hartree", "energy"),
        ("gfn1/forces", "gfn1_forces", "eV", "forces"),
        ("gfn1/atomic_charges", "atomic_charges", "", "charges"),
        ("gfn1/dipole", "dipole_magnitude", "Debye", "dipole"),
    ],
)
def test_another_unit_is_refused(name, task, unit, kind):
    """No writer of mlipq makes such an array; a manifest from elsewhere may say what it likes."""
    dataset = bundled().select(max_atoms=1)  # another object: its own specifications
    dataset.specs = {**dataset.specs, name: replace(dataset.specs[name], unit=unit)}
    with pytest.raises(InputError) as refused:
        tasks_of({task: {}}, dataset)
    assert f"{name} of the dataset mine is in {unit or 'no unit'}" in str(refused.value)
    assert f"--reference NAME=FIELD:{kind}:UNIT:LEVEL_OF_THEORY" in str(refused.value)


def test_isolated_atoms_come_from_the_manifest():
    task = task_of("gfn1_energy", references="isolated")
    assert task.references == bundled().manifest.reference_energies["gfn1/energy"].isolated
    assert len(task.references) > 3


def test_heads_of_several_datasets():
    one = tasks_of({"energy": "main", "forces": "gfn1/forces", "gap": "gfn1/homo_lumo_gap", "gfn1_forces": {}})
    two = tasks_of(
        {"energy": "reference/wb97mv_energy", "shells": {"target": "gfn1/orbital_charges", "kind": "atom_values"}}
    )
    assert heads_of([one, two]) == {
        "energy": HeadConfig(kind="energy"),
        "gap": HeadConfig(kind="structure_values"),
        "gfn1_energy": HeadConfig(kind="energy"),
        "shells": HeadConfig(kind="atom_values", shape=(3,)),
    }


def test_tasks_of_one_name_must_be_of_one_kind_and_unit():
    one, two = tasks_of({"extra": "gfn1/homo_lumo_gap"}), tasks_of({"extra": "gfn1/uhf"})
    with pytest.raises(
        InputError, match=r"task extra: gfn1/homo_lumo_gap and gfn1/uhf cannot share an output.*in eV.*in no unit"
    ):
        heads_of([one, two])


def test_labels_are_missing_where_there_are_none_and_where_there_is_no_shell():
    rows = [0, 1500, 2000]
    arrays = bundled().batch(rows)
    shells = [len(gfn1_shells(int(z))) for z in arrays["atomic_numbers"]]
    labels = labels_of(task_of("orbital_charges"), arrays)
    assert np.isfinite(labels).tolist() == [[column < n for column in range(3)] for n in shells]
    count = count_labels(task_of("orbital_charges"), arrays)
    assert (count.labels, count.missing, count.no_shell) == (sum(shells), 0, 3 * len(shells) - sum(shells))
    moments = labels_of(task_of("orbital_moments"), arrays)
    assert np.isfinite(moments).sum(axis=1).tolist() == [[1, 7, 22][n - 1] for n in shells]
    lengths = labels_of(task_of("dipole_magnitude"), arrays)
    np.testing.assert_allclose(lengths**2, (arrays["gfn1/dipole"].astype(float) ** 2).sum(axis=1), rtol=1e-6)


def test_missing_and_infinite_labels_are_counted_and_none_at_all_is_an_error():
    task = task_of("energy", target="reference/pbe0_energy")
    rows = np.arange(0, len(bundled()), 50)
    arrays = bundled().batch(rows)
    known = int(np.isfinite(arrays[task.target]).sum())
    assert 0 < known < len(rows)
    assert (count_labels(task, arrays).labels, count_labels(task, arrays).missing) == (known, len(rows) - known)
    first = int(np.flatnonzero(np.isfinite(arrays[task.target]))[0])
    arrays[task.target][first] = np.inf
    assert count_labels(task, arrays).labels == known - 1
    arrays[task.target][:] = np.nan
    with pytest.raises(
        InputError, match="task energy: none of the training structures has a label in reference/pbe0_energy"
    ):
        count_labels(task, arrays)


def expected_loss(task, residuals):
    x = np.abs(residuals / task.scale)
    if task.loss == "mse":
        return x**2
    if task.loss == "l1":
        return x
    return np.where(x < task.beta, x**2 / (2 * task.beta), x - task.beta / 2)


@pytest.mark.parametrize("loss", ["mse", "l1", "smooth_l1"])
@pytest.mark.parametrize("name", ["energy", "orbital_moments"])
def test_losses_are_of_what_has_a_label(samples, loss, name):
    batch = batch_of(*samples("qm7")[:5])
    settings = {"target": "reference/pbe0_energy", "per_atom": True} if name == "energy" else {}
    task = task_of(name, loss=loss, beta=0.3, scale=0.7, **settings)
    rng = np.random.default_rng(2)
    shape = (batch.n_structures if name == "energy" else batch.n_atoms, *task.shape)
    labels, predicted = rng.normal(size=shape), rng.normal(size=shape)
    labels[rng.random(shape) < 0.4] = np.nan
    known = np.isfinite(labels)
    assert 0 < known.sum() < known.size
    atoms = np.bincount(batch.structures.numpy()) if name == "energy" else 1
    residuals = (predicted - labels) / atoms
    leaf = torch.from_numpy(predicted).requires_grad_()
    total, count = loss_of(task, leaf, torch.from_numpy(labels), batch)
    assert int(count) == known.sum()
    assert total.item() == pytest.approx(expected_loss(task, residuals)[known].sum(), rel=1e-12)
    total.backward()
    assert torch.equal(leaf.grad != 0, torch.from_numpy(known))  # and none of them NaN
    left, _ = residuals_of(task, leaf, torch.from_numpy(labels), batch)
    np.testing.assert_allclose(left.detach().numpy(), np.where(known, residuals, 0), rtol=1e-14)


def test_a_prediction_that_is_no_number_does_no_harm_where_there_is_no_label(samples):
    batch = batch_of(*samples("qm7")[:2])
    task = task_of("energy", target="reference/pbe0_energy", scale=1.0, beta=1.0)
    predicted = torch.tensor([torch.nan, 2.0], dtype=torch.float64, requires_grad=True)
    total, count = loss_of(task, predicted, torch.tensor([torch.nan, 1.0]), batch)
    total.backward()
    assert (total.item(), int(count)) == (0.5, 1)
    assert predicted.grad.tolist() == [0, 1]


def test_a_loss_keeps_the_digits_of_large_energies(samples):
    batch = batch_of(*samples("qm7")[:1], dtype=torch.float32)
    task = task_of("energy", target="reference/pbe0_energy", scale=1e-3, loss="l1")
    energy = -123456.789
    predicted = torch.tensor([energy + 1e-3], dtype=torch.float64)
    total, _ = loss_of(task, predicted, torch.tensor([energy], dtype=torch.float64), batch)
    assert float(total) == pytest.approx(1, rel=1e-6)
