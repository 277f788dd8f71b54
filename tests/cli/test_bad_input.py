"""Bad input: a bad file stops the job before anything is written; a bad structure goes to the ledger, and the rest goes on."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from command import WATER, run_apart

import mlipq as package

METHANE = (
    "C 0 0 0\nH 0.6291 0.6291 0.6291\nH -0.6291 -0.6291 0.6291\nH 0.6291 -0.6291 -0.6291\nH -0.6291 0.6291 -0.6291\n"
)


def frame(atoms: str, comment: str) -> str:
    lines = atoms.strip().splitlines()
    return "\n".join([str(len(lines)), f"Properties=species:S:1:pos:R:3 {comment}", *lines, ""])


class TestFiles:
    """Exit code 2, all of them listed, nothing written."""

    def test_all_bad_files_are_listed_at_once(self, mlipq, water):
        folder = water.parent
        (folder / "empty.xyz").touch()
        (folder / "notes.txt").write_text("Dear diary,\n")
        (folder / "cut.xyz.gz").write_bytes(gzip.compress((WATER * 50).encode())[:-20])
        (folder / "without").mkdir()
        before = sorted(folder.rglob("*"))
        ended = mlipq(
            "label", "water.xyz", "absent.xyz", "empty.xyz", "notes.txt", "cut.xyz.gz", "without", "-o", "out"
        )
        assert ended.code == 2
        for message in (
            "5 of the inputs cannot be used; nothing was done",
            "absent.xyz: no such file or folder",
            "empty.xyz: the file is empty",
            "notes.txt: not a structure file that ASE reads; it begins with 'Dear diary,'",
            "cut.xyz.gz: the compressed file is truncated; copy or download it again",
            "without: the folder holds no file with structures",
        ):
            assert message in ended.err
        assert sorted(folder.rglob("*")) == before

    def test_a_file_cut_far_from_its_beginning(self, mlipq, tmp_path):
        noise = np.random.default_rng(1).normal(size=(20000, 3))
        frames = "".join(frame(f"He {x:.6f} {y:.6f} {z:.6f}", "charge=0 spin_multiplicity=1") for x, y, z in noise)
        (tmp_path / "cut.xyz.gz").write_bytes(gzip.compress(frames.encode())[:-1000])
        ended = mlipq("plan", "cut.xyz.gz", "-o", "out")
        assert ended.code == 2
        assert "cut.xyz.gz: the compressed file is truncated" in ended.err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("output", ["water.xyz", "water.xyz/out"])
    def test_an_output_that_cannot_be_a_folder(self, mlipq, water, output):
        ended = mlipq("plan", "water.xyz", "-o", output)
        assert ended.code == 2
        assert f"{output}" in ended.err
        assert water.read_text() == WATER

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
    def test_an_output_that_cannot_be_written(self, mlipq, water):
        ended = mlipq("plan", "water.xyz", "-o", "/proc/self/out")
        assert ended.code == 2
        assert "/proc/self/out" in ended.err

    def test_the_users_own_files_are_never_taken_for_leftovers(self, mlipq, water):
        own = water.parent / "inputs" / "water.xyz"
        own.parent.mkdir()
        water.rename(own)
        ended = mlipq("plan", "inputs", "-o", ".")
        assert ended.code == 2
        assert "the output must be a new or empty folder, or that of an earlier run" in ended.err
        assert own.read_text() == WATER
        assert mlipq("plan", "inputs", "-o", "inputs").code == 2
        assert own.read_text() == WATER

    def test_an_output_inside_an_input_is_not_read_again(self, mlipq, water):
        folder = water.parent / "molecules"
        folder.mkdir()
        water.rename(folder / "water.xyz")
        first = mlipq("plan", "molecules", "-o", "molecules/out", "--json")
        again = mlipq("plan", "molecules", "-o", "molecules/out", "--json")
        assert (first.code, again.code) == (0, 0)
        assert again.json == first.json


BAD = {
    1: (
        "O 0 0 0\nH 0 nan 0.9\nH 0 0.9 0",
        "name=nan charge=0 spin_multiplicity=1",
        "bad_coordinates",
        "correct the file",
    ),
    2: (
        "O 0 0 0\nH 0 0 0.9\nH 0 0 0.9",
        "name=clash charge=0 spin_multiplicity=1",
        "atoms_too_close",
        "check the file's units",
    ),
    3: ("U 0 0 0", "name=heavy charge=0 spin_multiplicity=1", "unknown_element", "H (1) to Rn (86)"),
    4: (
        "X 0 0 0\nH 0 0 0.9",
        "name=dummy charge=0 spin_multiplicity=1",
        "unknown_element",
        "dummy atoms must be taken out",
    ),
    5: (
        "O 0 0 0\nH 0 0 0.97",
        "name=parity charge=0 spin_multiplicity=1",
        "impossible_spin",
        "check the charge and the spin",
    ),
    6: ("H 0 0 0", "name=bare charge=2 spin_multiplicity=1", "bad_charge", "correct the charge"),
    7: ("O 0 0 0\nH 0 0 0.97", "name=half charge=0.5 spin_multiplicity=1", "fractional_charge", "--charge-key"),
    8: ("He 0 0 0", "name=disagree charge=0 spin_multiplicity=1 uhf=2", "spin_disagrees", "--spin-key"),
    9: (
        "Si 0 0 0\nSi 1.3575 1.3575 1.3575",
        'name=crystal charge=0 spin_multiplicity=1 pbc="T T T" Lattice="0 2.715 2.715 2.715 0 2.715 2.715 2.715 0"',
        "periodic",
        "--ignore-pbc",
    ),
}
"""Frame in its file: atoms, comment, class of the failure, advice that the message must hold."""


@pytest.fixture(scope="class")
def job(tmp_path_factory):
    """One job with everything bad in it, between two good molecules, which a second file repeats."""
    folder = tmp_path_factory.mktemp("bad")
    good = frame(METHANE, "name=methane charge=0 spin_multiplicity=1 dft=-2.0")
    bad = "".join(frame(atoms, comment) for atoms, comment, _, _ in BAD.values())
    (folder / "all.extxyz").write_text(WATER.replace("name=water", "name=water dft=-1.0") + bad + good)
    (folder / "second.extxyz").write_text(
        WATER.replace("name=water", "name=same dft=-1.0")
        + good.replace("-2.0", "-3.0").replace("name=methane", "name=other")
    )
    arguments = ["all.extxyz", "second.extxyz", "-o", "out", "--reference", "dft=dft:energy:eV:PBE0", "--workers", "1"]
    return folder, arguments, run_apart("label", *arguments, "--json", cwd=folder)


@pytest.mark.usefixtures("job")
class TestStructures:
    """One job, labelled once."""

    def test_the_good_ones_are_labelled(self, job):
        folder, _, ended = job
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.err
        dataset = package.open_dataset(folder / "out")
        assert list(dataset["name"][:]) == ["water", "methane"]
        alone = package.label_atoms(dataset[0])
        assert dataset["gfn1/energy"][0] == pytest.approx(alone["gfn1/energy"], abs=1e-8)
        assert list(dataset["reference/dft"][:]) == [-1.0, -2.0]

    def test_every_bad_one_has_its_row(self, job):
        folder, _, ended = job
        with (folder / "out" / "failures.csv").open(newline="") as file:
            rows = {int(row["source_index"]): row for row in csv.DictReader(file)}
        assert sorted(rows) == sorted(BAD)
        for index, (_, comment, error, advice) in BAD.items():
            row = rows[index]
            assert row["source_file"] == "all.extxyz"
            assert row["name"] == comment.split()[0].removeprefix("name=")
            assert row["error"] == error
            assert advice in row["message"]
        assert sum(ended.json["failed"].values()) == len(BAD)

    def test_a_repeated_structure_is_kept_once_and_a_conflict_listed(self, job):
        folder, _, ended = job
        assert ended.json["counts"]["duplicates"] == 2
        assert ended.json["counts"]["conflicts"] == 1
        (conflict,) = package.open_dataset(folder / "out").manifest.conflicts
        assert (conflict.kept, conflict.dropped) == ("all.extxyz frame 10", "second.extxyz frame 1")
        assert conflict.labels == ["dft: -2.0 there, -3.0 here"]

    def test_the_failures_are_told_on_the_command_line(self, job, mlipq):
        out = job[0] / "out"
        told = mlipq("info", out, "--failures").out
        assert "all.extxyz frame 9 (crystal): periodic: " in told
        assert f"{len(BAD)} structures failed; the ledger is {out}/failures.csv" in told
        assert len(mlipq("info", out, "--failures", "--json").json) == len(BAD)

    def test_strict_makes_failures_the_exit_code(self, job, mlipq, monkeypatch):
        folder, arguments, _ = job
        monkeypatch.chdir(folder)
        ended = mlipq("label", *arguments, "--strict")
        assert ended.code == 1
        assert "there was nothing to do" in ended.out

    def test_the_energy_of_an_export_is_not_guessed(self, job, mlipq, tmp_path):
        out, exported = job[0] / "out", tmp_path / "all.xyz"
        ended = mlipq("export", out, "--to", "extxyz", "-o", exported)
        assert ended.code == 2
        assert "choose one: --energy gfn1/energy or --energy reference/dft" in ended.err
        assert not exported.exists()
        assert mlipq("export", out, "--to", "extxyz", "-o", exported, "--energy", "reference/dft").code == 0
        assert " energy=-2.0 " in exported.read_text()

    def test_retry_tries_a_class_again_and_spares_the_rest(self, job):
        folder = job[0]
        before = package.open_dataset(folder / "out")["gfn1/energy"][:]
        ended = run_apart("label", "out", "--retry", "periodic", "--json", cwd=folder)
        assert ended.code == 0, ended.err
        assert ended.json["failed"]["periodic"] == 1
        assert not ended.json["did_nothing"]
        assert np.array_equal(package.open_dataset(folder / "out")["gfn1/energy"][:], before)
