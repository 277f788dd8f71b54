"""From what the user typed to the files that are read."""

import gzip
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import ase.io
import h5py
import pytest
from ase.build import molecule

from mlipq.errors import InputError
from mlipq.structures import InputFile, find_inputs

XYZ = (Path(__file__).parent / "data" / "qm7.extxyz").read_bytes()


@pytest.fixture
def base(tmp_path):
    """Make a folder tree of structures among other things."""
    for name in ("a.xyz", "sub/b.extxyz", "sub/deep/c.xyz", ".hidden.xyz", ".git/d.xyz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(XYZ)
    (tmp_path / "sub" / "e.xyz.gz").write_bytes(gzip.compress(XYZ))
    ase.io.write(tmp_path / "sub" / "f.cif", molecule("H2O", cell=[9, 9, 9], pbc=True))
    for name, content in {
        "README.md": "# hello",
        "run.log": "done",
        "x.json": "[1]",
        "n.txt": "12\n",
        "t.csv": "a,b",
    }.items():
        (tmp_path / "sub" / name).write_text(content)
    return tmp_path


def names(files: list[InputFile]) -> list[str]:
    return [file.source_file for file in files]


def problems(inputs, base) -> list[str]:
    with pytest.raises(InputError) as caught:
        find_inputs(inputs, base)
    return str(caught.value).splitlines()[1:]


EVERYTHING = ["a.xyz", "sub/b.extxyz", "sub/deep/c.xyz", "sub/e.xyz.gz", "sub/f.cif"]


def test_a_folder_is_searched_for_structures(base):
    files = find_inputs(["."], base)
    assert names(files) == EVERYTHING
    assert [(file.kind, file.compression) for file in files][3:] == [("extxyz", "gz"), ("cif", "")]
    assert all(file.path.is_file() for file in files)


@pytest.mark.parametrize(
    "inputs", [["sub/deep/c.xyz", "a.xyz", "sub", "a.xyz"], ["**/*.*xyz*", "sub/f.cif"], ["a.xyz", "./sub/"]]
)
def test_order_and_repetition_change_nothing(base, inputs):
    assert names(find_inputs(inputs, base)) == EVERYTHING


def test_no_file_twice_through_links(base):
    (base / "link.xyz").symlink_to(base / "a.xyz")
    assert len(find_inputs(["."], base)) == len(EVERYTHING)


def test_absolute_inputs_below_the_base_are_named_relative_to_it(base):
    assert names(find_inputs([base / "sub"], base)) == EVERYTHING[1:]


def test_absolute_inputs_elsewhere_are_named_relative_to_their_common_folder(base, tmp_path_factory):
    job = tmp_path_factory.mktemp("job")
    assert names(find_inputs([base / "sub"], job)) == ["b.extxyz", "deep/c.xyz", "e.xyz.gz", "f.cif"]
    assert names(find_inputs([base / "a.xyz", base / "sub/deep"], job)) == ["a.xyz", "sub/deep/c.xyz"]
    relative = os.path.relpath(base / "a.xyz", job)
    assert names(find_inputs([relative], job)) == [Path(relative).as_posix()]


def test_two_files_never_share_a_name(base, tmp_path_factory):
    job = tmp_path_factory.mktemp("job")
    shutil.copy(base / "a.xyz", job / "a.xyz")
    found = names(find_inputs(["a.xyz", base / "a.xyz"], job))
    assert len(set(found)) == 2 and (base / "a.xyz").resolve().as_posix() in found


def test_a_name_with_glob_characters_is_a_file_first(base):
    shutil.copy(base / "a.xyz", base / "a[1].xyz")
    assert names(find_inputs(["a[1].xyz"], base)) == ["a[1].xyz"]


def test_format_by_content_where_the_suffix_lies(base):
    ase.io.write(base / "lie.xyz", molecule("H2O"), format="gen")
    shutil.copy(base / "a.xyz", base / "lie.cif")
    shutil.copy(base / "a.xyz", base / "nosuffix")
    kinds = {file.source_file: file.kind for file in find_inputs(["lie.xyz", "lie.cif", "nosuffix"], base)}
    assert kinds == {"lie.xyz": "gen", "lie.cif": "extxyz", "nosuffix": "extxyz"}


def test_datasets(base):
    dataset = base / "data" / "version"
    (dataset / "shards").mkdir(parents=True)
    (dataset / "manifest.json").write_text("{}")
    shutil.copy(base / "a.xyz", dataset / "shards" / "ignored.xyz")
    with zipfile.ZipFile(base / "data" / "part.zarr.zip", "w") as archive:
        archive.writestr("zarr.json", "{}")
    h5py.File(base / "data" / "part.h5", "w").close()
    expected = [("data/part.h5", "dataset"), ("data/part.zarr.zip", "dataset"), ("data/version", "dataset")]
    assert [(f.source_file, f.kind) for f in find_inputs(["data"], base)] == expected
    assert [(f.source_file, f.kind) for f in find_inputs(["data/version", "data/part.*"], base)] == expected


def test_outputs_of_jobs_are_not_searched(base):
    (base / "out" / "inputs").mkdir(parents=True)
    (base / "out" / "plan.json").write_text("{}")
    shutil.copy(base / "a.xyz", base / "out" / "inputs" / "part.xyz")
    assert names(find_inputs(["."], base)) == EVERYTHING
    (base / "out" / "manifest.json").write_text("{}")
    assert names(find_inputs(["."], base)) == EVERYTHING
    assert find_inputs(["out"], base)[0].kind == "dataset"


def test_every_problem_is_listed_at_once(base):
    (base / "empty.xyz").touch()
    (base / "blank.xyz").write_text(" \n\n")
    (base / "cut.xyz.gz").write_bytes(gzip.compress(XYZ)[:15])
    (base / "void").mkdir()
    (base / "broken.zarr.zip").write_bytes(b"nothing")
    (base / "dangling.xyz").symlink_to(base / "nowhere")
    inputs = [
        "missing.xyz",
        "*.pdb",
        "empty.xyz",
        "blank.xyz",
        "cut.xyz.gz",
        "void",
        "broken.zarr.zip",
        "dangling.xyz",
        "sub/t.csv",
    ]
    expected = [
        "no such file or folder",
        "no file matches",
        "is empty",
        "is empty",
        "truncated",
        "holds no file",
        "damaged",
        "no such file",
    ]
    found = problems([*inputs, "a.xyz"], base)
    assert len(found) == len(inputs)
    for line, name, reason in zip(found, inputs, [*expected, "begins with 'a,b'"], strict=True):
        assert str(base / name) in line and reason in line


def test_no_input_at_all(tmp_path):
    assert problems([], tmp_path) == ["no input given; name files, folders or globs"]


def test_damaged_structure_files_in_a_folder_are_listed_and_others_passed_over(base):
    (base / "sub" / "empty.xyz").touch()
    (base / "sub" / "prose.xyz").write_text("Dear reader,\n")
    (base / "sub" / "table.csv.gz").write_bytes(gzip.compress(b"a,b"))
    found = problems(["sub"], base)
    assert len(found) == 2
    assert "the file is empty" in found[0]
    assert "named like extxyz, but not one; it begins with 'Dear reader,'" in found[1]


def _tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(Path(__file__).parent / "data" / "qm7.extxyz", "qm7.extxyz")


@pytest.mark.parametrize(
    "name, make, reason",
    [
        ("a.traj", lambda path: path.write_bytes(pickle.dumps({"positions": []}, protocol=2)), "pickled"),
        ("a.pckl", lambda path: path.write_bytes(b"PickleTrajectory\x80\x02"), "pickled"),
        ("a.xyz.zst", lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd1234"), "zstd -d"),
        ("a.tar.gz", _tar, "tar archive"),
        ("a.zip", lambda path: zipfile.ZipFile(path, "w").writestr("a.xyz", XYZ), "zip archive"),
        ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01"), "NumPy"),
        ("a.py", lambda path: path.write_text("print('hello')"), "not a structure file"),
        ("a.sdf", lambda path: path.write_text("hello\n"), "named like sdf"),
        ("notes.rst", lambda path: path.write_text("# 12"), "begins with '# 12'"),
    ],
)
def test_files_that_are_refused_with_a_reason(tmp_path, name, make, reason):
    make(tmp_path / name)
    (problem,) = problems([name], tmp_path)
    assert str(tmp_path / name) in problem and reason in problem


def test_a_bundle_trajectory_is_refused(tmp_path):
    ase.io.write(tmp_path / "a.bundle", molecule("H2O"), format="bundletrajectory")
    (problem,) = problems(["a.bundle"], tmp_path)
    assert "holds no file with structures" in problem


FIND = """
import sys
from pathlib import Path
from mlipq.errors import InputError
from mlipq.structures import find_inputs
try:
    find_inputs(["a.xyz", "sub"], Path(sys.argv[1]))
except InputError as error:
    print(error)
"""
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Lets root read no more than others may."""


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything")
def test_unreadable_files_and_folders(base):
    (base / "a.xyz").chmod(0)
    (base / "sub" / "deep").chmod(0)
    command = [*(POWERLESS if os.geteuid() == 0 else []), sys.executable, "-c", FIND, str(base)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    finally:
        (base / "sub" / "deep").chmod(0o700)
    assert len(found) == 2 and all("ermission denied" in line for line in found)
