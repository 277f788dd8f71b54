"""Files that someone made on purpose: refused with an error that names them, before memory is taken for what they claim."""

import io
import json
import os
import resource
import struct
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from google_crc32c import value as crc32c
from molecules import g2_table, make_dataset
from numcodecs import VLenUTF8, blosc

from mlipq.errors import CheckError, InputError
from mlipq.store import Manifest, open_shard, read_shard, write_shard
from mlipq.store.shards import shard as shard_module


@pytest.fixture
def path(tmp_path):
    write_shard(tmp_path / "a.zarr.zip", g2_table(), {})
    return tmp_path / "a.zarr.zip"


def entries_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def records(data):
    """Where the records of a zip's directory start."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        place, count = archive.start_dir, len(archive.infolist())
    for _ in range(count):
        yield place
        name, extra, comment = struct.unpack_from("<3H", data, place + 28)
        place += 46 + name + extra + comment


def test_entries_that_overlap_are_refused(path):
    """The directory says that two entries are the same bytes: the trick of zip bombs."""
    data = bytearray(path.read_bytes())
    first, second, *_ = records(data)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    with pytest.raises(CheckError, match=rf"{path}: entry .* should start at byte \d+, behind the one before, .* at 0"):
        read_shard(path)


def test_nothing_is_hidden_between_or_before_entries(path):
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.start_dir
    path.write_bytes(b"#!/bin/sh\n" + data)
    with pytest.raises(CheckError, match="does not say where its directory is"):
        read_shard(path)
    path.write_bytes(data[:-2] + struct.pack("<H", 6) + b"hidden")
    with pytest.raises(CheckError, match="does not end as a zip does"):
        read_shard(path)
    hidden = data[:start] + b"hidden" + data[start:-6] + struct.pack("<I", start + 6) + data[-2:]
    path.write_bytes(hidden)
    with pytest.raises(CheckError, match="should end at its directory"):
        read_shard(path)


@pytest.mark.parametrize("place", [6, 8, 14, 18, 22, 26, 28, 30])
def test_what_precedes_an_entry_agrees_with_the_directory(path, place):
    """Some programs believe the one, some the other."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data[archive.getinfo("positions/c/0/0").header_offset + place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckError, match=rf"{path}: array positions.*its header in the zip"):
        read_shard(path)


def test_a_key_that_stands_twice_in_the_metadata_is_refused(path):
    entries = entries_of(path)
    entries["positions/zarr.json"] = b'{"shape": [1, 3], ' + entries["positions/zarr.json"][1:]
    rezip(path, entries)
    with pytest.raises(CheckError, match=r"positions.*key 'shape' stands there twice"):
        read_shard(path)


def sealed(raw, **blosc_settings):
    """A chunk of these bytes, with a checksum that is right."""
    frame = blosc.compress(
        raw, **{"cname": b"zstd", "clevel": 3, "shuffle": blosc.NOSHUFFLE, "typesize": 1, **blosc_settings}
    )
    return frame + crc32c(frame).to_bytes(4, "little")


def text_chunk(texts):
    return sealed(VLenUTF8().encode(np.array(texts, dtype=object)))


def counted(*lengths, letters=b"abc"):
    """Texts as they are stored, with lengths that may lie: the number of texts, and before each how long it is."""
    return struct.pack("<I", 20) + b"".join(struct.pack("<I", length) + letters for length in lengths)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (counted(*[3] * 19, 2**32 - 1), "corrupt buffer"),
        (counted(*[3] * 19), "corrupt buffer|input buffer"),
        (counted(2**31), "corrupt buffer"),
        (b"", "chunk 0: error during blosc decompression"),
        (struct.pack("<I", 2**32 - 1), "should hold 20 texts, but holds 4294967295"),
        (counted(*[1] * 20, letters=b"\xff"), "codec can't decode"),
        (counted(*[1] * 20, letters=b"\0"), "should hold text without NUL"),
    ],
)
def test_texts_whose_lengths_lie(path, raw, said):
    entries = entries_of(path)
    assert json.loads(entries["info/smiles/zarr.json"])["shape"] == [20]
    entries["info/smiles/c/0"] = sealed(raw)
    rezip(path, entries)
    with pytest.raises(CheckError, match=f"{path}: array info/smiles.*({said})"):
        read_shard(path)


@pytest.mark.parametrize("settings", [{"cname": b"lz4"}, {"shuffle": blosc.BITSHUFFLE}, {"clevel": 0}, {"typesize": 8}])
def test_a_frame_says_itself_how_it_was_compressed(path, settings):
    """Blosc reads that from the frame, not from the metadata: zarr-python does so too, and the values are the same."""
    entries, before = entries_of(path), read_shard(path)
    raw = before.arrays["charge"].astype("<i4").tobytes()
    entries["charge/c/0"] = sealed(raw, **settings)
    rezip(path, entries)
    np.testing.assert_array_equal(read_shard(path).arrays["charge"], before.arrays["charge"])


def told(entries, name, **said):
    entries[name] = json.dumps({**json.loads(entries[name]), **said}).encode()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("zarr.json", {"consolidated_metadata": {"kind": "inline"}}, "a group is described otherwise"),
        ("info/zarr.json", {"node_type": "group", "shape": [3]}, "a group is described otherwise"),
        ("zarr.json", {"attributes": [1]}, "an object of JSON was expected"),
        ("zarr.json", {"attributes": {"format": "x" * 10_000_000}}, "is not an mlipq shard"),
        (
            "charge/zarr.json",
            {"attributes": {"level": "structure", "unit": ["e"], "description": ""}},
            "should say its level",
        ),
        ("charge/zarr.json", {"attributes": {"level": "x" * 10_000_000}}, "should say its level"),
        ("info/number/zarr.json", {"attributes": {"level": "structure", "description": ""}}, "should say its level"),
        ("charge/zarr.json", {"attributes": "e"}, "not described as an array"),
        ("charge/zarr.json", {"shape": [20] * 100_000}, "charge"),
        ("charge/zarr.json", {"shape": [2**62] * 2}, "charge"),
        ("charge/zarr.json", {"codecs": [{"name": "y" * 10_000_000}]}, "should have codecs"),
    ],
)
def test_metadata_that_lie_or_never_end(path, name, change, said):
    entries = entries_of(path)
    told(entries, name, **change)
    rezip(path, entries)
    with pytest.raises(CheckError, match=said) as caught:
        read_shard(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.parametrize("z", [0, 119, 200, 255])
def test_elements_that_are_none(path, z):
    """Tables of elements are looked up by these numbers."""
    entries = entries_of(path)
    numbers = read_shard(path).arrays["atomic_numbers"]
    numbers[5] = z
    entries["atomic_numbers/c/0"] = sealed(numbers.tobytes())
    rezip(path, entries)
    with pytest.raises(
        CheckError, match=rf"array atomic_numbers should hold elements, 1 to 118, but holds {z} in row 5"
    ):
        read_shard(path)


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.h5", "manifest.json"])
def test_what_is_no_file_is_not_read(tmp_path, name):
    """From a pipe nothing comes, and from a device no end."""
    read = Manifest.read if name == "manifest.json" else open_shard
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is no file"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match=f"{name} is no file"):
        read(tmp_path / name)


def bomb(entries, n_chunks):
    """Make of ``info/smiles`` an array of so many chunks, each of one text of 60 MB."""
    said = json.loads(entries["info/smiles/zarr.json"])
    said.update(shape=[n_chunks])
    said["chunk_grid"]["configuration"]["chunk_shape"] = [1]
    entries["info/smiles/zarr.json"] = json.dumps(said).encode()
    chunk = text_chunk(["\0" * 60_000_000])
    del entries["info/smiles/c/0"]
    entries.update({f"info/smiles/c/{number}": chunk for number in range(n_chunks)})
    return entries


READ = """
import re, sys
from pathlib import Path
from mlipq.errors import CheckError, InputError
from mlipq.store import read_shard
from mlipq.store.shards import hdf5_shard, shard
shard.MAX_SHARD_BYTES = hdf5_shard.MAX_SHARD_BYTES = int(sys.argv[2])
try:
    read_shard(Path(sys.argv[1]))
except CheckError as error:
    print(error)
# of this program: what getrusage tells counts the tests that started it
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024, "MB")
"""


def read_elsewhere(path, most):
    """Read in a process of its own, where a shard holds ``most`` bytes; return what it said, and its memory in MB."""
    limit = (8 << 30, 8 << 30)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(most)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    assert done.returncode == 0, done.stderr
    said, _, memory = done.stdout.strip().rpartition("\n")
    return said, int(memory.split()[0])


def test_a_zip_bomb_takes_no_memory(path):
    rezip(path, bomb(entries_of(path), 60))  # 3.6 GB of text
    assert path.stat().st_size < 1_000_000
    said, memory = read_elsewhere(path, shard_module.MAX_SHARD_BYTES)
    assert "claim 3,600,0" in said and "2,147,483,648 at most" in said and str(path) in said
    assert memory < 400


def test_one_hdf5_text_told_many_times_takes_little_memory(tmp_path):
    """A text is stored once and referred to by every row."""
    path = tmp_path / "a.h5"
    write_shard(path, g2_table(), {})
    data = bytearray(path.read_bytes())
    with h5py.File(path, "a") as file:
        attributes = dict(file["info/smiles"].attrs)
        del file["info/smiles"]
        dataset = file.create_dataset("info/smiles", (20_000,), h5py.string_dtype())
        dataset[0] = "x" * 1_000_000
        dataset.attrs.update(attributes)
        place = dataset.id.get_offset()
    data = bytearray(path.read_bytes())
    data[place : place + 16 * 20_000] = data[place : place + 16] * 20_000
    path.write_bytes(data)
    said, memory = read_elsewhere(path, 1 << 28)
    assert "claim 2" in said and "268,435,456 at most" in said
    assert memory < 1000


def test_what_is_refused_for_its_size_is_not_written_either(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_module, "MAX_SHARD_BYTES", 5_000)
    with pytest.raises(CheckError, match=r"a\.zarr\.zip was not written: its arrays take .* 5,000 at most"):
        write_shard(tmp_path / "a.zarr.zip", g2_table(), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])
def test_what_is_written_is_not_refused_for_its_size(tmp_path, monkeypatch, suffix):
    """The writer counts no less than the reader."""
    table = g2_table()
    for limit in (1_000, 20_000, 30_000, 40_000, 60_000):
        monkeypatch.setattr(shard_module, "MAX_SHARD_BYTES", limit)
        try:
            write_shard(tmp_path / f"a{suffix}", table, {})
        except CheckError:
            continue
        assert len(read_shard(tmp_path / f"a{suffix}")) == len(table)


def test_a_huge_directory_is_not_read(path):
    data = path.read_bytes()
    filler = bytearray(b"PK\1\2" + bytes(42)) * 400_000
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(filler), start, 0)
    path.write_bytes(data[:start] + filler + end)
    with pytest.raises(CheckError, match=r"its directory has 18,?400,?000 bytes"):
        open_shard(path)


@pytest.fixture
def manifest(tmp_path):
    folder = make_dataset(tmp_path / "ds", [g2_table(0, 6)], [".zarr.zip"])
    return folder / "manifest.json"


def edited(manifest, edit):
    said = json.loads(manifest.read_text())
    edit(said)
    manifest.write_text(json.dumps(said))


SHARD = "shards/part-00000.zarr.zip"


def document(file):
    return {"file": file, "bytes": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda m: m["shards"][0].update(file="manifest.json"), "not one of the files that a manifest lists"),
        (lambda m: m.update(documents=[{"file": "pulled.json", "bytes": 1, "sha256": "0" * 64}]), "pulled.json is not"),
        (lambda m: m["shards"][0].update(file=".git/config"), "in no hidden folder"),
        (lambda m: m["shards"][0].update(file="./a.zarr.zip"), "stays inside it"),
        (lambda m: m["shards"][0].update(file="shards//a.zarr.zip"), "stays inside it"),
        (lambda m: m["shards"][0].update(file="a\x1b[2J.zarr.zip"), "stays inside it"),
        (lambda m: m["shards"][0].update(file="a\x9b2J.zarr.zip"), "stays inside it"),
        (lambda m: m["shards"][0].update(file="a\n.zarr.zip"), "stays inside it"),
        (lambda m: m["shards"][0].update(file="piz\u202e.zarr.zip"), "stays inside it"),
        (lambda m: m["shards"][0].update(file="a" * 300), "stays inside it"),
        (lambda m: m.update(documents=[{"file": "Manifest.JSON", "bytes": 1, "sha256": "0" * 64}]), "Manifest.JSON is not"),
        (lambda m: m.update(documents=[document("README.md"), document("ReadMe.md")]), "file readme.md is listed twice"),
        (lambda m: m.update(documents=[document("caf\xe9"), document("cafe\u0301")]), "file caf\xe9 is listed twice"),
        (lambda m: m.update(documents=[document("Shards")]), "shards is listed as a file, and as a folder"),
        (lambda m: m.update(documents=[document("a"), document("a-b"), document("a/b")]), "a is listed as a file"),
        (lambda m: m["shards"][0].update(bytes=2**33, n_structures=2**28, n_atoms=2**28), "cannot hold"),
        (
            lambda m: m.update(splits={"random": {**document("a.csv"), "bytes": 10**9, "counts": {"test": 3}}}),
            "a split of 3 structures cannot have 1,000,000,000 bytes",
        ),
        (
            lambda m: m.update(documents=[{"file": "shards", "bytes": 1, "sha256": "0" * 64}]),
            "shards is listed as a file, and as a folder",
        ),
        (lambda m: m["shards"][0].update(n_structures=10**12, n_atoms=10**12), "cannot hold 1,000,000,000,000 structures"),
        (lambda m: m["shards"][0].update(n_structures=10**30), "cannot hold"),
        (lambda m: m["shards"][0].update(bytes=10**30), "shards.0.bytes"),
        (lambda m: m["shards"][0].update(elements=["Xx"]), "elements are listed by their symbols"),
        (lambda m: m["shards"][0].update(elements=["O", "H"]), "elements are listed by their symbols"),
        (lambda m: m["arrays"][0].update(dtype="O"), "should be .* but is"),
        (lambda m: m["arrays"][-1].update(dtype="O8"), "which no shard holds"),
        (lambda m: m["arrays"][-1].update(shape=[10**9, 10**9]), "which no shard holds"),
        (lambda m: m["arrays"][-1].update(shape=[-1]), "which no shard holds"),
        (lambda m: m["arrays"][-1].update(level="offsets"), "should have rows for structures or atoms"),
    ],
)  # fmt: skip
def test_manifests_that_lie_are_refused(manifest, edit, said):
    edited(manifest, edit)
    with pytest.raises(CheckError, match=f"{manifest} is not a valid manifest: .*{said}"):
        Manifest.read(manifest)


def test_a_key_that_stands_twice_in_the_manifest_is_refused(manifest):
    manifest.write_bytes(b'{"shards": [], ' + manifest.read_bytes()[1:])
    with pytest.raises(CheckError, match=r"manifest\.json is not a valid manifest: key 'shards' stands there twice"):
        Manifest.read(manifest)


def test_a_manifest_larger_than_any_is_not_read(manifest):
    with manifest.open("r+b") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(CheckError, match="larger than any manifest"):
        Manifest.read(manifest)


@pytest.mark.parametrize("twice", ["key", "file"])
def test_one_of_very_many_stands_twice(manifest, twice):
    """Found in a time that grows no faster than their number: at its square these would take minutes."""
    said = json.loads(manifest.read_text())
    if twice == "file":
        said["shards"] = [{**said["shards"][0], "file": f"{min(number, 19_998)}.zarr.zip"} for number in range(20_000)]
        manifest.write_text(json.dumps(said))
    else:
        keys = ", ".join(f'"{min(number, 199_998)}": 1' for number in range(200_000))
        manifest.write_text(f"{{{keys}}}")
    with pytest.raises(CheckError, match=r"key '199998' stands there twice|file 19998\.zarr\.zip is listed twice"):
        Manifest.read(manifest)


def test_names_that_never_end(manifest):
    edited(manifest, lambda m: m["shards"][0].update(sha256="x" * 10_000_000))
    with pytest.raises(CheckError, match=r"shards\.0\.sha256") as caught:
        Manifest.read(manifest)
    assert len(str(caught.value)) < 2000
