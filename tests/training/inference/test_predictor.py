"""Predictions in batches and blocks against the potential called directly, one structure at a time."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from building import ALL_HEADS, BACKBONES, batch_of, moved, potential_of, precision, rotation_of
from trained import model_of

from mlipq.errors import InputError
from mlipq.store import pack
from mlipq.training.inference import predictor as module
from mlipq.training.inference.predictor import Predictor
from mlipq.training.models.moments import populations
from mlipq.training.models.potential import Potential


def predictor_of(tmp_path, dtype=torch.float64, **config) -> Predictor:
    return Predictor(model_of(potential_of(dtype, **config), tmp_path / "run"))


def some(samples):
    return [*samples("qm7")[:4], *samples("crystals")[:2], *samples("gscdb138")[:8], samples("tmqm")[0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_says_what_the_potential_says_of_each(samples, tmp_path, monkeypatch, dtype):
    predictor = predictor_of(tmp_path, dtype, heads=ALL_HEADS, composite=True, conserve_charge=True)
    monkeypatch.setitem(module.BATCH_EDGES, "cpu", 700)
    monkeypatch.setattr(module, "_BLOCK_ATOMS", 50)
    structures = some(samples)
    found = predictor.predict(structures)
    assert list(found) == [*ALL_HEADS, "forces", "gfn1_forces", "stress", "orbital_populations"]
    alone = []
    for structure in structures:
        out = predictor.potential(batch_of(structure, dtype=dtype).differentiable(), ["energy", "gfn1_energy"])
        volume = np.linalg.det(structure.cell) if structure.is_periodic else np.nan
        alone.append(
            {
                **out,
                "stress": out["strain_gradient"] / volume,
                "orbital_populations": populations(out["orbital_moments"]),
            }
        )
    tolerance = {torch.float32: 2e-5, torch.float64: 1e-11}[dtype]
    for name, values in found.items():
        expected = torch.cat([out[name] for out in alone]).detach().numpy()
        assert values.shape == expected.shape
        assert values.dtype == (np.float64 if "energy" in name else expected.dtype)
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance * np.nanmax(np.abs(expected)))


def test_arrays_of_a_dataset_do_as_well(samples, tmp_path):
    structures = some(samples)
    predictor = predictor_of(tmp_path)
    for key, values in predictor.predict(pack(structures, {}).arrays, ["energy", "stress"]).items():
        np.testing.assert_array_equal(values, predictor.predict(structures, [key])[key])


@pytest.mark.parametrize("name", BACKBONES)
def test_large_structures_in_blocks_are_the_same(samples, tmp_path, monkeypatch, name):
    ion = next(s for s in samples("gscdb138") if s.charge and len(s) > 10)
    structures = [min(samples("crystals"), key=len), ion, samples("qm7")[0]]
    potential = potential_of(backbone=name, heads=("energy", "gfn1_energy", "orbital_moments"))
    whole = Predictor(model_of(potential, tmp_path / "run")).predict(structures)
    for edges in (3, 50):
        monkeypatch.setitem(module.BLOCK_EDGES, "cpu", edges)
        in_blocks = Predictor(model_of(potential, tmp_path / "run"))
        for key, values in in_blocks.predict(structures).items():
            np.testing.assert_allclose(values, whole[key], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(in_blocks.predict(structures, ["energy"])["energy"], whole["energy"], rtol=1e-13)


def test_as_many_edges_as_atoms_are_not_mixed_up(samples, tmp_path, monkeypatch):
    monkeypatch.setitem(module.BLOCK_EDGES, "cpu", 2)
    pairs = np.array([[x, 0, 0] for k in range(4) for x in (9.0 * k, 9.0 * k + 1.0)])
    chain = replace(samples("qm7")[0], numbers=np.full(8, 6, dtype=np.uint8), positions=pairs)
    predictor = predictor_of(tmp_path)
    expected = predictor.predict([replace(chain, numbers=chain.numbers[:2], positions=pairs[:2])])
    found = predictor.predict([chain])
    assert found["energy"][0] == pytest.approx(4 * expected["energy"][0], rel=1e-12)
    np.testing.assert_allclose(found["forces"], np.tile(expected["forces"], (4, 1)), atol=1e-12)


@pytest.mark.parametrize("name", BACKBONES)
def test_embeddings_are_what_heads_read_and_do_not_turn(samples, tmp_path, monkeypatch, name):
    predictor = predictor_of(tmp_path, backbone=name)
    monkeypatch.setitem(module.BATCH_EDGES, "cpu", 700)
    structures = some(samples)
    found = predictor.embeddings(structures)
    alone = [predictor.potential.backbone(batch_of(structure)).scalars.numpy() for structure in structures]
    np.testing.assert_allclose(found, np.concatenate(alone), rtol=1e-10, atol=1e-12)
    for seed, improper in ((1, False), (2, True)):
        turned = [moved(structure, rotation_of(seed, improper), 3.0) for structure in structures]
        np.testing.assert_allclose(predictor.embeddings(turned), found, rtol=1e-8, atol=1e-10)
    bent = replace(structures[0], positions=structures[0].positions * 1.05)
    assert np.abs(predictor.embeddings([bent]) - found[: len(bent)]).max() > 1e-4


def test_embeddings_of_an_element_that_was_not_in_training_are_refused(samples, tmp_path):
    predictor = predictor_of(tmp_path, elements=(1, 6, 7, 8))
    with pytest.raises(InputError, match=r"the element .* was not in training"):
        predictor.embeddings(samples("tmqm")[:1])
    with pytest.raises(InputError, match="nothing to predict for"):
        predictor.embeddings([])


def crystal_of(structure, repeats):
    cells = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = (cells @ structure.cell)[:, None] + structure.positions
    numbers = np.tile(structure.numbers, len(cells))
    return replace(
        structure, numbers=numbers, positions=positions.reshape(-1, 3), cell=structure.cell * np.array(repeats)[:, None]
    )


def test_ten_thousand_atoms_are_so_many_cells(samples, tmp_path):
    cell = replace(samples("crystals")[0], multiplicity=1)
    repeats = round((10_000 / len(cell)) ** (1 / 3) + 0.5)
    large = crystal_of(cell, (repeats,) * 3)
    assert len(large) >= 10_000
    predictor = predictor_of(tmp_path, torch.float32, channels=8, layers=2, cutoff=3.5)
    found, small = (predictor.predict([structure], ["energy", "forces", "stress"]) for structure in (large, cell))
    assert found["energy"][0] / repeats**3 == pytest.approx(small["energy"][0], abs=1e-5 * len(cell))
    np.testing.assert_allclose(found["forces"], np.tile(small["forces"], (repeats**3, 1)), atol=1e-4)
    np.testing.assert_allclose(found["stress"], small["stress"], atol=1e-5)


LARGE = """
import re, resource
import numpy as np, torch
from ase.build import bulk
from mlipq.errors import InputError
from mlipq.training import PRESETS, Potential, Predictor, SavedModel
torch.set_num_threads(1)
atoms = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((14, 14, 13))
atoms.rattle(0.1, seed=1)
predictor = Predictor(SavedModel(Potential(PRESETS["small"]), {}))
arrays = {
    "atom_offsets": np.array([0, len(atoms)]), "atomic_numbers": atoms.numbers, "positions": atoms.positions,
    "charge": np.array([0]), "multiplicity": np.array([1]), "cell": atoms.cell.array[None], "pbc": atoms.pbc[None],
}
assert len(atoms) > 10_000
"""
MEASURED = """
def peak():  # of this program: what getrusage tells counts the tests that started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
before = peak()
assert np.isfinite(predictor.predict(arrays, ["energy", "forces"])["forces"]).all()
print(peak() - before)
"""
LIMITED = """
small = {**arrays, **{name: arrays[name][:3] for name in ("atomic_numbers", "positions")}, "atom_offsets": np.array([0, 3])}
predictor.predict(small)  # what torch makes once
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (150 << 20), -1))
try:
    predictor.predict(arrays, ["energy", "forces"])
except InputError as error:
    print(error)
"""


def run_large(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", LARGE + program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_ten_thousand_atoms_fit_into_one_gigabyte():
    assert int(run_large(MEASURED)) < 1_000_000  # kB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_out_of_memory_is_said():
    assert re.match(
        r"out of memory: 10,\d+ atoms in 1 structures, with \d+,\d+ neighbours, do not fit", run_large(LIMITED)
    )


@pytest.mark.parametrize(
    "device, said", [("gpu", "no device 'gpu'; use cpu or cuda"), ("meta", "meta is not supported")]
)
def test_a_device_that_is_not_there(tmp_path, device, said):
    model = model_of(potential_of(torch.float32), tmp_path / "run")
    with pytest.raises(InputError, match=said):
        Predictor(model, device)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device here"):
            Predictor(model, "cuda:0")


def test_an_isolated_atom_is_its_reference_and_what_its_embedding_says(samples, tmp_path):
    predictor = predictor_of(tmp_path, layers=1, backbone="schnet")
    molecule = samples("qm7")[0]
    atom = replace(molecule, numbers=np.array([2], dtype=np.uint8), positions=np.zeros((1, 3)))
    potential, head = predictor.potential, predictor.potential.heads["energy"]
    with torch.no_grad():
        x = potential.backbone.embedding(torch.tensor([2]))
        interaction = potential.backbone.interactions[0]
        x = x + getattr(interaction, "layer", interaction).after(torch.zeros_like(x))  # no neighbour says nothing
        expected = head.references[2] + head.scale * head.network(x)[0, 0]
    found = predictor.predict([atom, molecule, atom])
    assert found["energy"][[0, 2]] == pytest.approx([float(expected)] * 2, rel=1e-12)
    assert not found["forces"][[0, -1]].any()
    far = replace(
        atom,
        numbers=np.array([2, *molecule.numbers], dtype=np.uint8),
        positions=np.vstack([[50.0, 0, 0], molecule.positions]),
    )
    apart = predictor.predict([far])
    assert apart["energy"][0] == pytest.approx(found["energy"][0] + found["energy"][1], rel=1e-12)


def test_float64_is_exact_though_weights_are_float32(samples, tmp_path):
    single = potential_of(torch.float32, heads=("energy", "orbital_moments"))
    model = model_of(single, tmp_path / "run")
    with precision(torch.float64):
        double = Potential(single.config)
    double.load_state_dict(single.state_dict())
    structures = samples("gscdb138")[:3]
    found = Predictor(model, dtype=torch.float64).predict(structures)
    expected = double(batch_of(*structures))
    for key in ("energy", "orbital_moments"):
        np.testing.assert_allclose(found[key], expected[key].detach().numpy(), rtol=1e-12, atol=1e-13)
    assert Predictor(model).dtype == torch.float32


def test_what_cannot_be_predicted_is_named(samples, tmp_path, monkeypatch):
    fine = samples("qm7")[0]
    predictor = predictor_of(tmp_path, elements=(1, 6, 7, 8), heads=("energy",))
    unseen = replace(fine, numbers=np.where(fine.numbers == 1, 9, fine.numbers).astype(np.uint8))
    broken = replace(fine, positions=np.where(np.arange(len(fine))[:, None] == 2, np.nan, fine.positions))
    twice = replace(fine, positions=np.vstack([fine.positions[:1], fine.positions[:-1]]))
    for wrong, said in (
        (unseen, r"qm7.* frame 0 .*: the element F was not in training; this model knows H, C, N, O"),
        (broken, r"qm7.* frame 0 .*: atom 2 \(from 0\) has a coordinate that is no finite number"),
        (twice, "at the same place"),
    ):
        with pytest.raises(InputError, match=said):
            predictor.predict([fine, wrong, fine])
    with pytest.raises(InputError, match=r"structure 1 .*element F"):
        predictor.predict(pack([fine, unseen], {}).arrays)
    monkeypatch.setattr(module, "_BLOCK_ATOMS", 1)  # the row is that of all, not of a block
    with pytest.raises(
        InputError, match=rf"structure 2 \(from 0, {re.escape(twice.name)}\) has atoms 0 and 1 at the same"
    ):
        predictor.predict(pack([fine, fine, twice], {}).arrays)
    flat = replace(
        samples("crystals")[0], numbers=fine.numbers, positions=fine.positions, cell=np.diag([5.0, 5.0, np.nan])
    )
    for cell in (flat.cell, np.diag([5.0, 5.0, 0.0]), np.ones((3, 3))):
        with pytest.raises(InputError, match=r"crystals.* is periodic along .* but its cell vectors span no such cell"):
            predictor.predict([fine, replace(flat, cell=cell)])
    assert predictor.problems(pack([fine, unseen, fine, unseen], {}).arrays).keys() == {1, 3}
    with pytest.raises(InputError, match="does not predict 'dipole'; it predicts energy, forces, stress"):
        predictor.predict([fine], ["dipole"])
    with pytest.raises(InputError, match="no structure"):
        predictor.predict([])
