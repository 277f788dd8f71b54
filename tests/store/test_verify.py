"""What verify finds: files that are not those of the manifest, statements that are not true, readers that hang or crash."""

import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from molecules import g2_table, make_dataset

from mlipq.errors import InputError
from mlipq.store import Manifest, open_shard, sha256_file, write_shard
from mlipq.store.checking import verify as verify_module
from mlipq.store.checking.verify import verify_dataset
from mlipq.store.manifest import PULLED, FileEntry, Split
from mlipq.store.splits import split_bytes
from mlipq.store.statistics import summarise
from mlipq.store.tally import Tally

FILES = ["shards/part-0.zarr.zip", "shards/part-1.h5"]


def balanced(start, stop):
    table = g2_table(start, stop, gfn1=True)
    charges = table.arrays["gfn1/orbital_charges"]
    for row in range(len(table)):
        charges[table.atoms_of(row)] -= charges[table.atoms_of(row)].mean(axis=0)
    return table


def entry_of(folder, file):
    return {"file": file, "bytes": (folder / file).stat().st_size, "sha256": sha256_file(folder / file)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A dataset with everything that a manifest can say."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("shards", "splits"):
        (folder / name).mkdir()
    tables = [balanced(0, 8), balanced(8, 14)]
    tables[0].arrays["quality"][:3] = 1 << 10
    tally = Tally()
    for file, table in zip(FILES, tables, strict=True):
        tally.add(file, *write_shard(folder / file, table, {}), table)
    found = summarise(tables, lambda names: tables)
    identities = np.concatenate([table.arrays["identity"] for table in tables])
    (folder / "splits/half.csv").write_bytes(split_bytes(identities, ["train", "test"] * 7))
    (folder / "README.md").write_text("# G2\n")
    Manifest(
        shards=tally.entries,
        arrays=tally.arrays(),
        statistics=found.statistics,
        reference_energies=found.reference_energies,
        quality=dict(tally.flags),
        scf_attempts=dict(tally.attempts),
        splits={"half": Split(**entry_of(folder, "splits/half.csv"), counts={"train": 7, "test": 7})},
        documents=[FileEntry(**entry_of(folder, "README.md"))],
    ).write(folder / "manifest.json")
    return folder


@pytest.fixture
def folder(published, tmp_path):
    return Path(shutil.copytree(published, tmp_path / "ds"))


def edit(folder, change):
    said = json.loads((folder / "manifest.json").read_text())
    change(said)
    (folder / "manifest.json").write_text(json.dumps(said))


def rewrite(folder, file, change):
    """Change a shard and say so in the manifest, as a publisher would who is careless or worse."""
    path = folder / file
    with open_shard(path) as shard:
        table, _ = shard.load()
    change(table.arrays)
    write_shard(path, table, {})
    told_anew(folder, file)


def told_anew(folder, file):
    """Let the manifest say what a shard's file is now."""
    edit(folder, lambda m: next(e for e in m["shards"] if e["file"] == file).update(entry_of(folder, file)))


def test_a_sound_dataset_has_no_problems(folder):
    seen = []
    assert verify_dataset(folder, lambda done, total: seen.append((done, total))) == []
    assert seen == [(1, 2), (2, 2)]
    assert [verify_dataset(folder / file) for file in FILES] == [[], []]


def spec_of(said, name):
    return next(spec for spec in said["arrays"] if spec["name"] == name)


UNTRUE = [
    [
        (lambda m: m["shards"][0].update(elements=["H"]), "part-0.zarr.zip: elements: the shards have H Li.* says H$"),
        (lambda m: m["shards"][1].update(n_atoms=99), "part-1.h5: atoms: the shards have .* the manifest says 99"),
    ],
    [(lambda m: m["shards"][0].update(n_structures=7), "part-0.*: structures: the shards have 8, the manifest says 7")],
    [
        (lambda m: m["arrays"].pop(), "array .*: the shards have ArraySpec.* says none"),
        (lambda m: spec_of(m, "info/number").update(unit="m"), "array info/number: the shards .*unit=''.*unit='m'"),
        (lambda m: m.update(quality={}), "quality F_SMALL_GAP: the shards have 3, the manifest says none"),
        (lambda m: m["scf_attempts"].update({"77": 4}), "scf_attempts 77: the shards have none, the manifest says 4"),
        (lambda m: m["statistics"].pop("gfn1/forces"), "statistics of gfn1/forces: .* says none"),
        (lambda m: m["statistics"]["gfn1/energy"].update(mean=5.0), "statistics of gfn1/energy"),
        (lambda m: m["reference_energies"]["gfn1/energy"]["fitted"].update(H=0.0), "energies of gfn1/energy"),
        (lambda m: m.update(outliers=[{"identity": "0" * 32, "array": "gfn1/energy", "z_score": 9.0}]), "outlier 0000"),
        (lambda m: m["splits"]["half"]["counts"].update(test=8), "half.csv holds .* but the manifest says"),
    ],
    [
        (lambda m: m["statistics"]["gfn1/energy"].update(minimum=-1e9), "statistics of gfn1/energy"),
        (lambda m: m["reference_energies"]["gfn1/energy"]["isolated"].update(H=0.0), "energies of gfn1/energy"),
    ],
]


@pytest.mark.parametrize("changes", UNTRUE)
def test_what_a_manifest_says_falsely_is_found(folder, changes):
    """Each false statement is one line, and there are no others."""
    for change, _ in changes:
        edit(folder, change)
    problems = verify_dataset(folder)
    found = [[problem for problem in problems if re.search(said, problem)] for _, said in changes]
    assert [len(lines) for lines in found] == [1] * len(changes) and len(problems) == len(changes), problems


def test_means_may_differ_in_their_last_digits(folder):
    def shift(m):
        for found in m["statistics"].values():
            found["mean"] *= 1 + 1e-13

    edit(folder, shift)
    assert verify_dataset(folder) == []


def test_a_split_of_strangers_is_found(folder):
    data = split_bytes(balanced(20, 22).arrays["identity"], ["train", "test"])
    (folder / "splits/half.csv").write_bytes(data)
    said = {**entry_of(folder, "splits/half.csv"), "counts": {"train": 1, "test": 1}}
    edit(folder, lambda m: m["splits"].update(half=said))
    (problem,) = verify_dataset(folder)
    assert "split half: 2 structures are in no shard" in problem


def test_files_that_are_missing_cut_off_or_changed(folder, monkeypatch):
    """None of them is opened."""
    monkeypatch.setattr(verify_module, "_started", pytest.fail)
    files = ["splits/half.csv", "README.md", *FILES]
    sound = {file: (folder / file).read_bytes() for file in files}
    for file, data in sound.items():
        (folder / file).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [problem.partition("…")[0][:-16] for problem in verify_dataset(folder)] == [f"{f}: sha256 " for f in files]
    for file, data in sound.items():
        (folder / file).write_bytes(data + b"more")
    assert verify_dataset(folder) == [
        f"{file}: {len(data) + 4} bytes, the manifest says {len(data)}" for file, data in sound.items()
    ]
    for file in files:
        (folder / file).unlink()
    assert verify_dataset(folder) == [f"{file}: missing" for file in files]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("positions", lambda v: v.__setitem__((0, 0), 5.0), "structure 0: its identity"),
        ("elements", lambda v: v.__setitem__((2, 0), 2), "structure 2: elements are not those"),
        ("gfn1/orbital_charges", lambda v: v.__setitem__((0, 0), 9.0), "structure 0: gfn1/orbital_charges add up to"),
    ],
)
def test_labels_that_do_not_add_up(folder, name, change, said):
    rewrite(folder, FILES[0], lambda arrays: change(arrays[name]))
    assert any(f"{FILES[0]}: {said}" in problem for problem in verify_dataset(folder))


def test_the_same_structure_in_two_shards_is_found(tmp_path):
    folder = make_dataset(tmp_path / "ds", [balanced(0, 4), balanced(0, 4)], [".zarr.zip", ".zarr.zip"])
    assert "4 structures are in it twice, by their identities" in verify_dataset(folder)


def test_of_a_version_pulled_in_part_what_is_there_is_checked(folder):
    (folder / FILES[1]).unlink()
    assert verify_dataset(folder) == [f"{FILES[1]}: missing"]
    (folder / PULLED).write_text("{}")
    assert verify_dataset(folder) == []
    rewrite(folder, FILES[0], lambda arrays: arrays["positions"].__setitem__((0, 0), 5.0))
    assert "its identity" in verify_dataset(folder)[0]


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        verify_dataset(tmp_path / "absent")


def endless(path):
    """Alter an HDF5 file so that its library searches its heap for ever: a free space of no bytes."""
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL")
    size = int.from_bytes(data[place + 8 : place + 16], "little")
    stop, place = place + size, place + 16
    while place < stop:
        index, length = (
            int.from_bytes(data[place : place + 2], "little"),
            int.from_bytes(data[place + 8 : place + 16], "little"),
        )
        if index == 0:
            data[place + 8 : place + 16] = bytes(8)
            break
        place += 16 + -(-length // 8) * 8
    path.write_bytes(data)


@pytest.fixture
def hung(folder):
    endless(folder / FILES[1])
    told_anew(folder, FILES[1])
    edit(folder, lambda m: m["shards"].reverse())  # what comes after it is read too
    return folder


def test_a_shard_whose_reader_hangs_is_a_problem_and_the_rest_is_read(hung, monkeypatch):
    monkeypatch.setattr(verify_module, "SECONDS", 3.0)
    rewrite(hung, FILES[0], lambda arrays: arrays["positions"].__setitem__((0, 0), 5.0))
    first, *others = verify_dataset(hung)
    assert f"{FILES[1]}: its reader hung and was stopped after 3 s; do not open this file" in first
    assert any(f"{FILES[0]}: structure 0: its identity" in problem for problem in others)


def test_a_shard_whose_reader_dies_is_a_problem(hung, monkeypatch):
    """Killed while it is at work, as a crash or the memory limit of the machine would."""
    started = []

    class Watched(verify_module.Child):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            started.append(self.pid)

    monkeypatch.setattr(verify_module, "Child", Watched)

    def kill():
        while not started:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(started[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    problems = verify_dataset(hung)
    killer.join()
    assert len(problems) == 1 and f"{FILES[1]}: its reader crashed (" in problems[0]
    assert len(started) == 2


def test_a_reader_that_does_not_start_is_no_fault_of_the_shard(folder, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(InputError, match="does not start"):
        verify_dataset(folder)
