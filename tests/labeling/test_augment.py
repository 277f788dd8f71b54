"""Rattled copies: how far their atoms are moved, what they keep of their parent, and that a plan depends on all of it."""

import random
import time
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import Running, run
from scipy.stats import kstest

import mlipq
from mlipq.errors import InputError
from mlipq.labeling.augment import rattled
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import Rattle, load_job, make_job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import find_sources
from mlipq.schema import Flag
from mlipq.store import open_dataset, read_shard

PBE0 = {"field": "pbe0", "kind": "energy", "unit": "eV", "level_of_theory": "PBE0"}


GOLDEN = "3423266ed468d6a51ff5af692dab9d10"


@pytest.fixture(scope="module")
def parents(samples):
    return samples("qm7")


@pytest.fixture
def file(parents, tmp_path):
    """Six molecules with a label of their own, a SMILES-like remark, and a group of two each."""
    frames = [
        Atoms(
            s.numbers,
            s.positions,
            info={"charge": 0, "name": f"m{n}", "group": f"g{n // 2}", "pbe0": -1.0 - n, "remark": "measured"},
        )
        for n, s in enumerate(parents[:6])
    ]
    ase.io.write(tmp_path / "a.extxyz", frames, format="extxyz")
    return tmp_path / "a.extxyz"


def planned(tmp_path, inputs, out="out", **content):
    job = make_job({"inputs": [str(path) for path in inputs], "output": out, **content}, "a test")
    folder = OutputFolder(tmp_path / out)
    plan = make_plan(find_sources(job, tmp_path), job, folder)
    return plan, [read_shard(folder.packed_input(part.index)) for part in plan.partitions]


def identities(tables) -> set[bytes]:
    return {words.tobytes() for table in tables for words in table.arrays["identity"]}


# --- displacements


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_displacements_are_normal_and_independent(parents, sigma):
    rattle = Rattle(copies=3, sigma=sigma, seed=7)
    moved = [[copy.positions - parent.positions for copy in rattled(parent, rattle)] for parent in parents]
    of_all = np.concatenate([np.ravel(copies) for copies in moved]) / sigma
    assert len(of_all) > 20_000 and kstest(of_all, "norm").pvalue > 1e-3
    first, second, third = (np.concatenate([np.ravel(copies[n]) for copies in moved]) for n in range(3))
    assert np.abs(np.corrcoef([first, second, third])[np.triu_indices(3, 1)]).max() < 0.03
    between_molecules = np.corrcoef([np.ravel(copies[0])[:27] for copies in moved if len(copies[0]) >= 9])
    assert np.abs(between_molecules[np.triu_indices(len(between_molecules), 1)]).max() < 0.9


@settings(max_examples=25)
@given(st.integers(0, 199), st.integers(1, 4), st.integers(0, 2**63 - 1), st.floats(1e-3, 1))
def test_a_copy_depends_on_parent_seed_and_number_alone(parents, which, copies, seed, sigma):
    some, more = (Rattle(copies=n, sigma=sigma, seed=seed) for n in (copies, copies + 2))
    elsewhere = replace(parents[which], name="another", source_file="another.xyz", source_index=99, info={"a": 1})
    first = [copy.identity() for copy in rattled(parents[which], some)]
    again = [copy.identity() for copy in rattled(elsewhere, more)]
    assert first == again[:copies] and len(set(again)) == copies + 2
    other_seed = Rattle(copies=1, sigma=sigma, seed=(seed + 1) % 2**63)
    assert next(rattled(parents[which], other_seed)).identity() not in again


def test_copies_are_the_same_in_every_version(parents):
    """A golden hash: another one means that everyone's copies change."""
    (copy,) = rattled(parents[0], Rattle(copies=1))
    assert copy.identity().hex() == GOLDEN


def test_flags_of_a_geometry_stay_with_the_geometry(parents):
    parent = replace(parents[0], quality=int(Flag.F_SPIN_DEFAULT | Flag.F_FORCE_CHECK))
    assert [copy.quality for copy in rattled(parent, Rattle(copies=2))] == [Flag.F_SPIN_DEFAULT] * 2


# --- in a job


def test_a_structure_is_followed_by_its_copies_without_its_labels(file, tmp_path):
    plan, (table,) = planned(tmp_path, [file], augment={"rattle": {"copies": 2}}, reference={"pbe0": PBE0})
    bare, (parents_table,) = planned(tmp_path, [file], "bare", reference={"pbe0": PBE0})
    arrays, kept = table.arrays, parents_table.arrays
    assert plan.n_structures == 18 and (plan.counts["read"], plan.counts["rattled"]) == (6, 12)
    assert plan.seconds == pytest.approx(3 * bare.seconds, rel=1e-3)
    number = arrays["info/rattled"].reshape(6, 3)
    assert np.isnan(number[:, 0]).all() and (number[:, 1:] == [1, 2]).all()
    for name in ("name", "group", "source_file", "source_index", "charge", "multiplicity", "quality"):
        assert (arrays[name].reshape(6, 3) == kept[name][:, None]).all(), name
    assert (arrays["reference/pbe0"].reshape(6, 3)[:, 0] == -1.0 - np.arange(6)).all()
    assert np.isnan(arrays["reference/pbe0"].reshape(6, 3)[:, 1:]).all()
    assert arrays["info/remark"].tolist() == ["measured", "", ""] * 6
    assert (arrays["identity"].reshape(6, 3, 2)[:, 0] == kept["identity"]).all()


def test_neither_order_nor_files_nor_a_double_change_the_copies(parents, tmp_path):
    frames = [Atoms(s.numbers, s.positions) for s in parents[:8]]
    for number, part in enumerate((frames[:3], frames[3:])):
        ase.io.write(tmp_path / f"{number}.xyz", part, format="extxyz")
    shuffled = random.Random(0).sample(frames, 8)
    ase.io.write(tmp_path / "all.xyz", [*shuffled, shuffled[2]], format="extxyz")
    augment = {"rattle": {"copies": 3, "seed": 5}}
    plan, one = planned(tmp_path, [tmp_path / "all.xyz"], "one", augment=augment)
    _, two = planned(tmp_path, [tmp_path / "0.xyz", tmp_path / "1.xyz"], "two", augment=augment)
    assert identities(one) == identities(two) and len(identities(one)) == 32
    assert (plan.counts["duplicates"], plan.counts["conflicts"], plan.counts["rattled"]) == (1, 0, 24)


def test_copies_that_are_in_the_inputs_already_are_kept_once(file, tmp_path):
    augment = {"rattle": {"copies": 2}}
    _, (table,) = planned(tmp_path, [file], augment=augment)
    frames = [Atoms(n, p) for n, p in zip(*(_split(table, name) for name in ("atomic_numbers", "positions")))]
    ase.io.write(tmp_path / "b.xyz", frames, format="extxyz", columns=["symbols", "positions"])
    plan, again = planned(tmp_path, ["b.xyz"], "again", augment=augment)
    assert identities(again) == identities([table])  # and no copies of copies
    assert (plan.counts["read"], plan.counts["rattled"], plan.counts["duplicates"]) == (18, 12, 12)


def _split(table, name):
    return np.split(table.arrays[name], table.arrays["atom_offsets"][1:-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"copies": 3}, "settings.augment.rattle.copies: planned 2, now 3"),
        ({"sigma": 0.1}, "settings.augment.rattle.sigma: planned 0.05, now 0.1"),
        ({"seed": 1}, "settings.augment.rattle.seed: planned 0, now 1"),
        (None, "settings.augment: planned"),
    ],
)
def test_another_rattle_is_another_job(file, tmp_path, change, said):
    first, _ = planned(tmp_path, [file], augment={"rattle": {"copies": 2}})
    assert planned(tmp_path, [file], augment={"rattle": {"copies": 2, "seed": 0}})[0] == first
    changed = {} if change is None else {"augment": {"rattle": {"copies": 2, **change}}}
    with pytest.raises(InputError, match="holds another job") as error:
        planned(tmp_path, [file], **changed)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        ("{}", "augment.rattle: missing"),
        ("{rattle: {}}", "augment.rattle.copies: missing"),
        ("{rattle: {copies: 0}}", "augment.rattle.copies: should be greater than or equal to 1, got 0"),
        ("{rattle: {copies: 2.5}}", "augment.rattle.copies: should be a valid integer"),
        ("{rattle: {copies: 1, sigma: 5}}", "augment.rattle.sigma: should be less than or equal to 1, got 5"),
        ("{rattle: {copies: 1, sigma: 0}}", "augment.rattle.sigma: should be greater than 0"),
        ("{rattle: {copies: 1, sigma: .nan}}", "augment.rattle.sigma: should be"),
        ("{rattle: {copies: 1, seed: -1}}", "augment.rattle.seed: should be greater than or equal to 0"),
        ("{ratle: {copies: 1}}", "augment.ratle: unknown key; did you mean rattle?"),
        ("{rattle: {copies: 1, sgima: 1}}", "augment.rattle.sgima: unknown key; did you mean sigma?"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path, augment, said):
    (tmp_path / "job.yaml").write_text(f"inputs: [a.extxyz]\noutput: out\naugment: {augment}\n")
    with pytest.raises(InputError) as error:
        load_job(tmp_path / "job.yaml")
    assert f"line 3: {said}" in str(error.value)


def test_a_rattled_job_that_is_killed_goes_on(file, tmp_path):
    (tmp_path / "job.yaml").write_text("inputs: [a.extxyz]\noutput: out\naugment: {rattle: {copies: 20}}\nworkers: 1\n")
    with Running("label", tmp_path / "job.yaml") as job:
        folder = OutputFolder(tmp_path / "out")
        while not (folder.plan_file.exists() and next(folder.sidecars(folder.plan()), None)):
            assert job.client.poll() is None, job.client.communicate()
            time.sleep(0.01)
        job.client.kill()
    assert run("label", tmp_path / "job.yaml", timeout=280).returncode == 0
    again = run("label", tmp_path / "job.yaml")
    assert "nothing to do" in again.stdout and "rattled copies" in again.stdout
    found = open_dataset(tmp_path / "out")
    assert len(found) == 6 * 21 == len(np.unique(found["identity"][:], axis=0))
    parent, *copies = found["gfn1/energy"][:21]
    assert np.isfinite(copies).all() and (np.array(copies) > parent).mean() > 0.9  # the parent is near its minimum


def test_from_python(parents, tmp_path):
    frames = (Atoms(s.numbers, s.positions) for s in parents[:3])
    mlipq.label(frames, tmp_path / "out", workers=1, augment={"rattle": {"copies": 1, "seed": 3}})
    found = open_dataset(tmp_path / "out")
    assert len(found) == 6
    expected = [next(rattled(s, Rattle(copies=1, seed=3))).identity() for s in parents[:3]]
    assert [found.find(identity) for identity in expected] == [1, 3, 5]
