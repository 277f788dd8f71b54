"""Files that are damaged, forged or not of the format: one message that names the file, nothing written, no pickle run."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipq.errors import InputError
from mlipq.hub.importers import import_dataset

DATA = Path(__file__).parent / "data"
RMD17 = "rmd17_ethanol_train_01.npz"


def refused(tmp_path: Path, path: Path, name: str, match: str, level: str = "") -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=match) as error:
        import_dataset(path, name, tmp_path / "out", level)
    assert path.name in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def with_member(tmp_path: Path, name: str, content: bytes) -> Path:
    """The rMD17 file with other bytes for one array."""
    path = tmp_path / RMD17
    with zipfile.ZipFile(DATA / RMD17) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            target.writestr(member, content if member == f"{name}.npy" else source.read(member))
    return path


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


class Bomb:
    """Pickled, it makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_is_loaded(tmp_path):
    victim = tmp_path / "victim"
    array = np.array([Bomb(victim)] * 3, dtype=object)
    assert pickle.dumps(Bomb(victim))
    refused(tmp_path, with_member(tmp_path, "energies", npy(array, pickled=True)), "rmd17", "should hold numbers")
    assert not victim.exists()


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (117 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (header("(1000000000000,)") + bytes(24), "says it has 8,000,000,000,000 bytes, and the file holds 24"),
        (header("(-3,)") + bytes(24), "says it has -24 bytes"),
        (header("(3,)", "'|O'") + bytes(24), "should hold numbers"),
        (header("(3,)", "[('a', '<f8')]") + bytes(24), "should hold numbers"),
        (npy(np.zeros(4)), r"should have the shape \(3\), but has \(4,\)"),
        (npy(np.zeros((3, 1))), r"should have the shape \(3\), but has \(3, 1\)"),
        (b"no array", "cannot be read as rMD17"),
        (b"", "cannot be read as rMD17"),
    ],
)
def test_arrays_that_lie(tmp_path, content, match):
    refused(tmp_path, with_member(tmp_path, "energies", content), "rmd17", match)


def test_a_missing_array_is_named(tmp_path):
    path = tmp_path / RMD17
    np.savez(path, coords=np.zeros((1, 2, 3)))
    refused(tmp_path, path, "rmd17", "array nuclear_charges is missing; the file holds coords.npy")


@pytest.mark.parametrize(
    ("name", "file", "level"),
    [
        ("rmd17", RMD17, ""),
        ("ani1x", "ani1x.h5", ""),
        ("spice", "spice.hdf5", ""),
        ("aselmdb", "omol.aselmdb", "X"),
        ("asedb", "missing.db", "X"),
        ("gdb9", "missing.tar.bz2", ""),
    ],
)
def test_not_of_the_format_or_not_there(tmp_path, name, file, level):
    path = tmp_path / file
    refused(tmp_path, path, name, "cannot be read", level)
    path.write_bytes(b"")
    refused(tmp_path, path, name, path.name, level)
    path.write_bytes(b"<!DOCTYPE html><html><body>Not found</body></html>" * 300)
    refused(tmp_path, path, name, "cannot be read as", level)


@pytest.mark.parametrize(("name", "file"), [("rmd17", RMD17), ("ani1x", "ani1x.h5"), ("spice", "spice.hdf5")])
def test_cut_off(tmp_path, name, file):
    content = (DATA / file).read_bytes()
    path = tmp_path / file
    path.write_bytes(content[: len(content) // 2])
    refused(tmp_path, path, name, "cannot be read as")


def test_a_cut_archive_of_gdb9(tmp_path):
    path = tmp_path / "dsgdb9nsd.xyz.tar.bz2"
    with tarfile.open(path, "w:bz2") as archive:
        archive.add(DATA / "dsgdb9nsd_000001.xyz", "a.xyz")
    path.write_bytes(path.read_bytes()[:-30])
    refused(tmp_path, path, "gdb9", "cannot be read as GDB-9")


def test_hdf5_that_reads_other_files(tmp_path):
    (tmp_path / "secret").write_bytes(np.arange(6.0).tobytes())
    path = tmp_path / "ani1x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("H2")
        group["atomic_numbers"] = np.ones(2, "u1")
        group.create_dataset("coordinates", (1, 2, 3), "f8", external=[(str(tmp_path / "secret"), 0, 48)])
    refused(tmp_path, path, "ani1x", "should be an array in this file")
    with h5py.File(path, "w") as file:
        file["H2"] = h5py.ExternalLink("other.h5", "H2")
    refused(tmp_path, path, "ani1x", "'H2' should be a group")


def test_hdf5_that_asks_for_all_memory(tmp_path):
    path = tmp_path / "ani1x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("H2")
        group["atomic_numbers"] = np.ones(2, "u1")
        group.create_dataset("coordinates", (10**11, 2, 3), "f8", chunks=(10, 2, 3))
    refused(tmp_path, path, "ani1x", "should hold numbers in the shape")


@pytest.mark.parametrize("text", ["", "x", "1\ngdb 1", "1\ngdb 1 " + "0 " * 15 + "\nXx 0 0 0 0\n\nC C\nI I\n"])
def test_a_bad_molecule_of_gdb9_is_left_out(tmp_path, text):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/dsgdb9nsd_000001.xyz").write_bytes((DATA / "dsgdb9nsd_000001.xyz").read_bytes())
    (tmp_path / "in/dsgdb9nsd_000002.xyz").write_text(text)
    manifest = import_dataset(tmp_path / "in", "gdb9", tmp_path / "out")
    assert manifest.n_structures == 1 and manifest.failures == {"unreadable": 1}
    assert "no record of GDB-9" in (tmp_path / "out/failures.csv").read_text()


@pytest.mark.parametrize(("file", "name"), [("rmd17.tar.bz2", "rmd17"), ("spice.zip", "spice"), ("qm9.zip", "gdb9")])
def test_an_archive_is_to_be_unpacked(tmp_path, file, name):
    path = tmp_path / file
    path.write_bytes(b"PK")
    refused(tmp_path, path, name, "unpack it first; files of ")


def test_nothing_usable(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("nonsense")
    refused(tmp_path, path, "gdb9", "no structure in it; none can be used .unreadable 1.")


def test_folders_and_names(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path, tmp_path / "empty", "rmd17", r"no file of rMD17, .npz in it \(\*.npz\)")
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / RMD17).write_bytes((DATA / RMD17).read_bytes())
    with pytest.raises(InputError, match="have the same name"):
        import_dataset([tmp_path / "a", tmp_path / "b"], "rmd17", tmp_path / "out")
    (tmp_path / "a/mine").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        import_dataset(tmp_path / "b", "rmd17", tmp_path / "a")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_give_a_clean_error_or_a_dataset(tmp_path_factory, data):
    """Mutated npz and xyz; HDF5 and LMDB are left out, as their libraries do not survive all that."""
    file = data.draw(st.sampled_from([RMD17, "dsgdb9nsd_000001.xyz", "tmQM_X1.xyz"]))
    content = bytearray((DATA / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    folder = tmp_path_factory.mktemp("mutated")
    (folder / file).write_bytes(content)
    name = "rmd17" if file == RMD17 else "gdb9" if file.startswith("dsgdb9") else "tmqm"
    try:
        import_dataset(folder / file, name, folder / "out", "X" if name == "tmqm" else "")
    except InputError as error:
        assert file in str(error)
        assert [path.name for path in folder.iterdir()] == [file]
