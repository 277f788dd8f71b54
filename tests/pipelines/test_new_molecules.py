"""New molecules: what is proposed keeps away from the test part, and the script makes the same file whatever happens to it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import ase.build
import new_molecules
import numpy as np
import pytest
from ase import Atoms
from generation.graphs import UnclearBondsError, bonded, perceived, skeleton, smiles_of
from generation.job import Generation, generate
from generation.pool import Pool, read_pool
from generation.proposals import Proposals
from molecule_datasets import dataset_of
from published import publish_structures
from rdkit import Chem

import mlipq
from mlipq.errors import InputError
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import make_job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import find_sources
from mlipq.store import read_shard
from mlipq.structures import ReadOptions, find_inputs, from_atoms, read_structures

SOME = 600


def proposed(pool, number, seed=0):
    return list(islice(Proposals(pool, seed), number))


def smiles_in(samples):
    """SMILES of all samples whose bonds are clear."""
    for structure in samples("qm7"):
        try:
            yield smiles_of(perceived(bonded(structure.numbers, structure.positions)))
        except UnclearBondsError:
            continue


def pool_of(names, test=(), **info):
    """A pool of molecules of the G2 set."""
    pool = Pool()
    for name in (*test, *names):
        structure = from_atoms(Atoms(ase.build.molecule(name), info={"charge": 0, **info.get(name, {})}))
        structure.group = structure.group or structure.default_group
        pool.add_test(structure) if name in test else pool.add(structure, is_parent=True)
    return pool


# --- which graphs


@pytest.fixture(scope="module")
def stream(pool):
    return proposed(pool, SOME)


def test_no_proposal_is_a_molecule_of_the_dataset(samples, pool, stream):
    assert pool.counts["test structures"] == 50 and len(pool.parents) > 140
    taken = set(smiles_in(samples))
    made = [proposal.smiles for proposal in stream]
    assert len(taken) > 190 and taken.isdisjoint(made) and len(set(made)) == SOME


def test_proposals_stay_within_the_pool_in_elements_sizes_and_kinds(pool, stream):
    molecules = [Chem.MolFromSmiles(proposal.smiles) for proposal in stream]
    assert {atom.GetSymbol() for molecule in molecules for atom in molecule.GetAtoms()} == {"C", "N", "O", "S"}
    assert max(molecule.GetNumHeavyAtoms() for molecule in molecules) == 7
    assert max(Chem.AddHs(molecule).GetNumAtoms() for molecule in molecules) <= pool.most_atoms <= 23
    assert not any("." in proposal.smiles for proposal in stream)
    assert not any(Chem.GetFormalCharge(molecule) for molecule in molecules)
    peroxide = Chem.MolFromSmarts("OO")  # of which the pool has none
    assert not any(parent.molecule.HasSubstructMatch(peroxide) for parent in pool.parents)
    assert not any(molecule.HasSubstructMatch(peroxide) for molecule in molecules)


def test_the_stream_depends_on_pool_and_seed_alone(pool, stream):
    assert proposed(pool, 100) == stream[:100]
    other = {proposal.smiles for proposal in proposed(pool, 100, seed=1)}
    assert len(other & {proposal.smiles for proposal in stream[:100]}) < 30


@pytest.mark.parametrize(
    ("molecules", "made", "refused"),
    [
        # with ethanol's kinds of atoms and bonds, and no more than its nine atoms
        ({"names": ["CH3CH2OH"]}, {"CO", "CC", "OCO"}, {"in the dataset"}),
        ({"names": ["CH3CH2OH", "CH3OH"]}, {"CC", "OCO"}, {"in the dataset"}),
        ({"names": ["CH3CH2OH"], "test": ["CH3OH"]}, {"CC", "OCO"}, {"in the dataset", "in the test part"}),
        (
            {"names": ["CH3CH2OH"], "test": ["H2O"], "H2O": {"group": "CO"}},
            {"CC", "OCO"},
            {"in the dataset", "in the test part"},
        ),
    ],
)
def test_all_that_one_parent_gives_but_for_what_is_taken(molecules, made, refused):
    """A small pool ends; and what is kept back does come out where nobody forbids it."""
    stream = Proposals(pool_of(**molecules), 0)
    assert {proposal.smiles for proposal in stream} == made and stream.counts["proposed"] == len(made)
    assert {"in the dataset", "in the test part"} & {*stream.counts} == refused


def test_what_cannot_be_a_parent_is_counted():
    odd = {"CH3": {"spin_multiplicity": 2}, "NH3": {"charge": 1, "spin_multiplicity": 2}}
    pool = pool_of(["CH3CH2OH", "CH3", "NH3", "CH3CN", "CH3CN"], test=["C6H6"], **odd)
    assert [parent.smiles for parent in pool.parents] == ["CCO", "CC#N"]
    assert pool.counts["not a neutral, closed-shell molecule"] == 2 and pool.counts["parents"] == 2


# --- which datasets


def test_conformers_of_test_molecules_are_no_parents(tmp_path):
    """A dataset whose test part has the same molecules as its pool, in other conformers."""
    structures = []
    for number in range(12):
        atoms = ase.build.molecule(("CH3CH2OH", "C6H6")[number % 2])
        atoms.rattle(0.02, seed=number)
        structures.append(from_atoms(atoms))
    dataset = mlipq.open_dataset(dataset_of(tmp_path, structures, ["test"] * 4 + ["pool"] * 8))
    with pytest.raises(InputError, match=r"no molecule to begin with \(.*2 also in the test part"):
        read_pool(dataset, "mine", "test")
    assert len(read_pool(dataset, None, "test").parents) == 2  # each graph once


# --- the script


def command(dataset, output, *more):
    """The command line of an undisturbed run."""
    said = (dataset, "--split", "mine", "-o", output, "--number", 28, "--seed", 3, "--steps", 1, "--workers", 1, *more)
    return [str(text) for text in said]


@pytest.fixture
def script(monkeypatch, capfd):
    """Run the script in this process: exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["new_molecules.py", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        try:
            new_molecules.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, before)
        return code, *capfd.readouterr()

    return run


def start(*arguments, **environment):
    """Run the script in a process of its own."""
    path = Path(new_molecules.__file__)
    return subprocess.Popen(
        [sys.executable, path, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    """Molecules made without any disturbance; not to be changed."""
    output = tmp_path_factory.mktemp("made") / "new.extxyz.gz"
    generate(Generation(str(dataset), "mine", "test", output, number=28, seed=3, steps=1), workers=1)
    return output


@pytest.fixture(scope="module")
def frames(made):
    (file,) = find_inputs([made.name], made.parent)
    return list(read_structures(file, ReadOptions()))


def test_each_geometry_has_the_bonds_of_its_group(dataset, made, frames, pool):
    assert len(frames) == 28 == len({frame.identity() for frame in frames}) == len({frame.group for frame in frames})
    parents = {parent.name: parent.smiles for parent in pool.parents}
    proposals = {f"new-3-{proposal.attempt}": proposal for proposal in proposed(pool, 50, seed=3)}
    for frame in frames:
        molecule = bonded(frame.numbers, frame.positions)
        assert skeleton(molecule) == skeleton(Chem.AddHs(Chem.MolFromSmiles(frame.group)))
        assert skeleton(molecule) not in pool.test | pool.known
        assert (frame.charge, frame.multiplicity, frame.quality, frame.info["seed"]) == (0, 1, 0, 3)
        assert parents[frame.info["parent"]] == frame.info["parent_smiles"]
        assert proposals[frame.name].smiles == frame.group == Chem.CanonSmiles(frame.group)
    report = json.loads(made.with_name("new.extxyz.gz.json").read_text())
    assert report["molecules"] == 28 and sum(report["geometries"].values()) == report["attempts"]["proposed"] == 50
    assert report["settings"]["dataset"] == mlipq.open_dataset(dataset).sha256
    assert sorted(path.name for path in made.parent.iterdir()) == ["new.extxyz.gz", "new.extxyz.gz.json"]


def test_relaxation_leaves_small_forces(frames):
    for frame in frames[:3]:
        labels = mlipq.label_atoms(Atoms(frame.numbers, frame.positions, info={"charge": 0, "spin_multiplicity": 1}))
        assert labels["quality"] == 0
        assert (
            np.linalg.norm(labels["gfn1/forces"], axis=1).max() < 3.0
        )  # eV/Å, after one step; qm7 itself has up to 2.5


def test_they_are_inputs_of_a_job_with_their_group(made, frames, tmp_path):
    job = make_job({"inputs": [str(made)], "output": str(tmp_path / "out")}, "a test")
    folder = OutputFolder(tmp_path / "out")
    plan = make_plan(find_sources(job, tmp_path), job, folder)
    packed = [read_shard(folder.packed_input(part.index)) for part in plan.partitions]
    assert [group for table in packed for group in table.arrays["group"]] == [frame.group for frame in frames]
    assert {"info/parent", "info/parent_smiles", "info/moves", "info/seed"} <= set(packed[0].arrays)
    assert plan.counts["charge_default"] == plan.counts["spin_default"] == 0


def test_again_there_is_nothing_to_do(script, dataset, made):
    stamp = made.stat().st_mtime_ns
    code, out, _ = script(*command(dataset, made, "--json"))
    assert code == 0 and json.loads(out)["did_nothing"] and made.stat().st_mtime_ns == stamp


def test_parts_that_a_run_killed_at_its_end_left_are_removed(script, dataset, made, tmp_path):
    for name in ("new.extxyz.gz", "new.extxyz.gz.json"):
        (tmp_path / name).write_bytes(made.with_name(name).read_bytes())
    (tmp_path / "new.extxyz.gz.parts").mkdir()
    (tmp_path / "new.extxyz.gz.parts" / "part-00000.json").write_text("{}")
    code, out, _ = script(*command(dataset, tmp_path / "new.extxyz.gz"))
    assert code == 0 and "nothing to do" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.extxyz.gz", "new.extxyz.gz.json"]


def test_two_processes_make_the_same_file(script, dataset, made, tmp_path):
    code, out, err = script(*command(dataset, tmp_path / "two.extxyz", "--workers", 2))
    assert code == 0 and "Label them:" in out, err
    assert (tmp_path / "two.extxyz").read_bytes() == gzip.decompress(made.read_bytes())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_makes_the_same_file(script, dataset, made, tmp_path, how):
    output = tmp_path / "new.extxyz.gz"
    first = tmp_path / "new.extxyz.gz.parts" / "part-00000.json"
    process = start(*command(dataset, output, "--number", 400))  # still at work when the signal comes, however late
    while not first.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert not output.exists()
    if how != signal.SIGKILL:
        assert process.returncode == 3 and "the same command goes on" in err and "Traceback" not in err
    stamp = first.stat().st_mtime_ns
    code, _, err = script(*command(dataset, output, "--seed", 4))
    assert code == 2 and "seed: planned 3, now 4" in err and first.stat().st_mtime_ns == stamp
    (first.parent / ".tmp-0123").write_bytes(b"of a killed writer")
    first.with_name("part-00001.json").write_text('{"frames": [')  # of a disk that lied
    code, _, err = script(*command(dataset, output))
    assert code == 0, err
    assert output.read_bytes() == made.read_bytes() and not first.parent.exists()


def test_more_than_the_pool_can_give_is_a_warning(script, tmp_path):
    frames = [from_atoms(ase.build.molecule(name)) for name in ("CH3OH", "C2H6")]
    folder = publish_structures(tmp_path, frames, per_shard=2)
    output = tmp_path / "new.extxyz"
    code, out, err = script(folder, "-o", output, "--number", 1000, "--workers", 1, "--json")
    assert code == 0 and "have no more to give" in err
    assert json.loads(out)["molecules"] == output.read_text().count("group=") < 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent", "-o", "new.extxyz"), "absent"),
        (("HERE", "--split", "theirs", "-o", "new.extxyz"), "theirs"),
        (("HERE", "--split", "mine", "--test", "tset", "-o", "new.extxyz"), "no part 'tset'; there are: pool, test"),
        (("HERE", "-o", "new.xyz"), "end in .extxyz.gz or .extxyz"),
        (("HERE", "-o", "new.extxyz", "--steps", "-1"), "should be at least 0, got -1"),
        (("HERE", "-o", "new.extxyz", "--number", "0"), "should be at least 1, got 0"),
        (("HERE", "-o", "new.extxyz", "--number", "many"), "whole number"),
        (("HERE", "-o", "/proc/new.extxyz"), "/proc/new.extxyz.parts"),
    ],
)
def test_what_cannot_be_done_is_said(script, dataset, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    named = [str(dataset) if text == "HERE" else text for text in arguments]
    code, _, err = script(*named, *(() if "--number" in arguments else ("--number", "5")), "--workers", 1)
    assert code == 2 and said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_may_be_given_by_name(script, tmp_path):
    code, _, err = script("samples-gfn1@1.0.0", "--split", "theirs", "-o", tmp_path / "new.extxyz", "--number", "5")
    assert code == 2 and "no split 'theirs'; it has qm7" in err


def test_a_dataset_pulled_in_part_is_refused(script, dataset, tmp_path):
    """Test molecules could be in the shard that is missing."""
    part = tmp_path / "part"
    shutil.copytree(dataset, part)
    (part / "pulled.json").write_text("{}")
    sorted((part / "shards").iterdir())[0].unlink()
    code, _, err = script(part, "--split", "mine", "-o", tmp_path / "new.extxyz", "--number", "5")
    assert code == 2 and "was pulled in part" in err


def test_a_file_of_another_origin_is_not_overwritten(script, dataset, made, tmp_path):
    mine = tmp_path / "new.extxyz"
    mine.write_text("precious")
    code, _, err = script(*command(dataset, mine))
    assert code == 2 and "made otherwise" in err and mine.read_text() == "precious"
    code, _, err = script(*command(dataset, made, "--number", 31))
    assert code == 2 and "number: planned 28, now 31" in err


def test_without_rdkit_it_says_what_to_install(dataset, tmp_path):
    (tmp_path / "rdkit").mkdir()
    (tmp_path / "rdkit" / "__init__.py").write_text("raise ModuleNotFoundError('hidden', name='rdkit')")
    process = start(*command(dataset, tmp_path / "new.extxyz"), PYTHONPATH=str(tmp_path))
    _, err = process.communicate()
    assert process.returncode == 2 and "mlipq[generate]" in err and "Traceback" not in err
