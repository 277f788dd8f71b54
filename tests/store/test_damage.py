"""Shards that were cut off or altered: an error that names the file, or the same arrays; never other values."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from molecules import SUFFIXES, assert_same, g2_table

from mlipq.errors import CheckError
from mlipq.store import open_dataset, read_shard, write_shard

EACH_FORMAT = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    table = g2_table(0, 12, gfn1=True)
    for suffix in SUFFIXES:
        write_shard(folder / f"a{suffix}", table, {})
    return table, {suffix: (folder / f"a{suffix}").read_bytes() for suffix in SUFFIXES}


@EACH_FORMAT
def test_a_file_cut_off_anywhere_is_an_error(tmp_path, suffix, sound):
    _, content = sound
    path = tmp_path / f"cut{suffix}"
    data = content[suffix]
    for length in np.linspace(0, len(data) - 1, 60, dtype=int):
        path.write_bytes(data[:length])
        with pytest.raises(CheckError, match=f"cut{suffix}"):
            read_shard(path)


FLIP = """
import collections, os, random, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from molecules import assert_same
from mlipq.errors import CheckError
from mlipq.store import read_shard

def outcome(table, path):
    try:
        found = read_shard(path)
    except CheckError as error:
        assert str(path) in str(error), error
        return 10
    assert_same(table, found)
    return 11

sound, path = Path(sys.argv[1]), Path(sys.argv[2])
data, table, draw = sound.read_bytes(), read_shard(sound), random.Random(7)
outcomes = collections.Counter()
for _ in range(100):
    flipped = bytearray(data)
    flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(flipped)
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_PROF, 0.5)  # of its own time, however busy the machine is
        os._exit(outcome(table, path))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    outcomes[{10: "refused", 11: "harmless", -signal.SIGPROF: "hung"}.get(status, status)] += 1
print(*(f"{outcome} {n}" for outcome, n in outcomes.items()))
"""


@EACH_FORMAT
def test_flipped_bits_are_refused_or_harmless(tmp_path, suffix, sound):
    """Each in a process with a time limit: in an altered global heap, libhdf5 may search for ever."""
    _, content = sound
    (tmp_path / f"sound{suffix}").write_bytes(content[suffix])
    arguments = [tmp_path / f"sound{suffix}", tmp_path / f"flipped{suffix}", Path(__file__).parent]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FLIP, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    outcomes = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    hung = outcomes.pop("hung", 0)
    assert hung <= (3 if suffix == ".h5" else 0)
    assert outcomes.keys() == {"refused", "harmless"} and sum(outcomes.values()) + hung == 100, (
        done.stdout,
        done.stderr,
    )


@EACH_FORMAT
@pytest.mark.parametrize("name", ["positions", "gfn1/forces", "gfn1/energy"])
def test_a_damaged_chunk_names_file_and_array(tmp_path, suffix, name, sound):
    table, content = sound
    path = tmp_path / f"a{suffix}"
    start, stop = chunk_bytes(content[suffix], suffix, tmp_path, name)
    data = bytearray(content[suffix])
    data[(start + stop) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckError, match=f"a{suffix}.*array {name} cannot be read"):
        read_shard(path)
    ds = open_dataset(path)
    with pytest.raises(CheckError, match=f"a{suffix}.*array {name} cannot be read"):
        ds.batch([3])
    np.testing.assert_array_equal(ds["charge"][:], table.arrays["charge"])  # what is sound can still be read


def chunk_bytes(content, suffix, folder, name):
    """Where the first chunk of an array lies in the file, by the libraries' own account."""
    path = folder / f"whole{suffix}"
    path.write_bytes(content)
    if suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            chunk = file[name].id.get_chunk_info(0)
        return chunk.byte_offset, chunk.byte_offset + chunk.size
    import zipfile

    with zipfile.ZipFile(path) as archive:
        entry = next(e for e in archive.infolist() if e.filename.startswith(f"{name}/c/"))
    start = entry.header_offset + 30 + len(entry.filename)
    return start, start + entry.file_size


@EACH_FORMAT
def test_damaged_text_is_an_error(tmp_path, suffix, sound):
    """HDF5 protects text by no checksum of its own, so mlipq's must catch it."""
    table, content = sound
    path = tmp_path / f"a{suffix}"
    data = content[suffix]
    if suffix == ".h5":
        position = data.index("é7".encode())
        path.write_bytes(data[: position + 2] + b"8" + data[position + 3 :])
        with pytest.raises(CheckError, match="info/smiles"):
            read_shard(path)
        with pytest.raises(CheckError, match="info/smiles"):
            open_dataset(path)["info/smiles"][0]
    path.write_bytes(data)
    assert_same(table, read_shard(path))
