"""Shards in both formats: exact round trips, equal bytes, peers' own readers, and what the schema refuses."""

import json
import struct
import warnings
import zipfile
from dataclasses import replace

import google_crc32c
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from molecules import SPECS, SUFFIXES, assert_same, g2_table, molecule, only_files, tables
from numcodecs import blosc

from mlipq.errors import CheckError, InputError
from mlipq.schema import ArraySpec
from mlipq.store import open_shard, pack, read_shard, shard_problems, write_shard
from mlipq.store.shards import files as files_module
from mlipq.store.shards import shard as shard_module
from mlipq.store.shards import zarr_array

EACH_FORMAT = pytest.mark.parametrize("suffix", SUFFIXES)
FOLDER_SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)


@EACH_FORMAT
@FOLDER_SHARED
@given(table=tables())
def test_round_trip_is_exact_and_bytes_repeat(tmp_path, suffix, table):
    path = tmp_path / f"part{suffix}"
    write_shard(path, table, {"partition": 3, "nested": {"é": [1, None]}})
    first = path.read_bytes()
    assert_same(table, read_shard(path))
    with open_shard(path) as shard:
        assert shard.attributes == {"partition": 3, "nested": {"é": [1, None]}}
    write_shard(path, table, {"partition": 3, "nested": {"é": [1, None]}})
    assert path.read_bytes() == first
    assert only_files(tmp_path) == [path.name]


@EACH_FORMAT
def test_many_chunks_round_trip(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(shard_module, "CHUNK_VALUES", 16)
    table = g2_table(0, 40, gfn1=True)
    write_shard(tmp_path / f"a{suffix}", table, {})
    assert_same(table, read_shard(tmp_path / f"a{suffix}"))
    rows = np.array([39, 0, 0, 17, 18, 3])
    with open_shard(tmp_path / f"a{suffix}") as shard:
        assert_same(table.take(rows), shard.take(rows, list(table.arrays)))


@EACH_FORMAT
def test_long_rows_round_trip_in_chunks_that_can_be_read(tmp_path, suffix, monkeypatch):
    for module in (shard_module, zarr_array):
        monkeypatch.setattr(module, "MAX_CHUNK_BYTES", 4_096)
    rows = [{"text": "é" * (length % 997), "vector": np.full(300, float(length))} for length in range(900, 1_000)]
    table = pack([molecule("CH4", i, info=info) for i, info in enumerate(rows)], {})
    write_shard(tmp_path / f"a{suffix}", table, {})
    assert_same(table, read_shard(tmp_path / f"a{suffix}"))


@EACH_FORMAT
def test_rows_too_long_for_a_chunk_are_not_written(tmp_path, suffix):
    table = pack([molecule("CH4", info={"matrix": np.zeros((3_000, 3_000))})], {})
    with pytest.raises(CheckError, match=r"not written: array info/matrix has rows of up to 72,000,000 bytes"):
        write_shard(tmp_path / f"a{suffix}", table, {})
    assert only_files(tmp_path) == []


@EACH_FORMAT
def test_no_structures_at_all(tmp_path, suffix):
    table = pack([], SPECS)
    write_shard(tmp_path / f"empty{suffix}", table, {})
    assert_same(table, read_shard(tmp_path / f"empty{suffix}"))


def test_plain_zarr_reads_a_shard(tmp_path):
    table = g2_table(gfn1=True)
    write_shard(tmp_path / "a.zarr.zip", table, {"made_by": "test"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(zarr.storage.ZipStore(tmp_path / "a.zarr.zip", mode="r"), mode="r")
        assert group.attrs["format"] == "mlipq-shard" and group.attrs["made_by"] == "test"
        for name, values in table.arrays.items():
            assert group[name].attrs["unit"] == table.specs[name].unit
            assert group[name][:].tolist() == values.tolist()
            codecs = [codec.to_dict()["name"] for codec in group[name].metadata.codecs]
            assert codecs[-1] == "crc32c"


def test_plain_h5py_reads_a_shard(tmp_path):
    table = g2_table(gfn1=True)
    write_shard(tmp_path / "a.h5", table, {})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["format"] == "mlipq-shard" and file.attrs["format_version"] == 1
        for name, values in table.arrays.items():
            dataset = file[name]
            assert dataset.attrs["description"] == table.specs[name].description
            found = dataset.asstr()[:] if values.dtype == object else dataset[:]
            assert found.tolist() == values.tolist()
            assert values.dtype == object or (dataset.fletcher32 and dataset.compression == "gzip")


def test_zip_entries_are_stored_sorted_and_undated(tmp_path):
    write_shard(tmp_path / "a.zarr.zip", g2_table(), {})
    with zipfile.ZipFile(tmp_path / "a.zarr.zip") as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names, key=lambda name: (name.endswith("zarr.json"), name))
    assert {(entry.date_time[0], entry.compress_type) for entry in entries} == {(1980, zipfile.ZIP_STORED)}


def broken(change):
    table = g2_table(gfn1=True)
    change(table)
    return table


def drop(name):
    return lambda table: (table.arrays.pop(name), table.specs.pop(name))


def put(name, change):
    def apply(table):
        table.arrays[name] = change(table.arrays[name].copy())

    return apply


def at(row, value):
    def change(values):
        values[row] = value
        return values

    return change


def respec(name, **changes):
    def apply(table):
        table.specs[name] = spec = replace(table.specs[name], **changes)
        table.arrays[name] = table.arrays[name].astype(spec.dtype)

    return apply


BROKEN = [
    (drop("identity"), "array identity is missing"),
    (respec("gfn1/forces", dtype="f8"), "gfn1/forces should be atom (3,) f4 eV/Å, but is atom (3,) f8 eV/Å"),
    (put("gfn1/forces", lambda v: v[:-1]), "rows, one a atom"),
    (put("gfn1/energy", at(3, np.nan)), "gfn1/energy should be finite, but is nan in row 3"),
    (put("positions", at((2, 1), np.inf)), "positions should be finite"),
    (put("reference/pbe_energy", at(3, np.inf)), "reference/pbe_energy should be finite"),
    (put("atom_offsets", at(0, 1)), "start at 0, but starts at 1"),
    (put("atom_offsets", at(-1, 5)), "should end at"),
    (put("atom_offsets", at(3, 10**6)), "should never fall"),
    (put("atom_offsets", lambda v: np.insert(v, 3, v[3])), "should rise by an atom, but stands after structure 3"),
    (put("name", at(0, "nul\0")), "array name should hold text"),
    (put("name", at(0, 7)), "array name should hold text"),
    (respec("gfn1/energy", unit="Hartree"), "gfn1/energy should be structure () f8 eV, but is structure () f8 Hartree"),
]


@EACH_FORMAT
@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_what_breaks_the_schema_is_neither_written_nor_read(tmp_path, suffix, change, said, monkeypatch):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(CheckError, match="was not written") as refused:
        write_shard(path, broken(change), {})
    assert said in str(refused.value) and only_files(tmp_path) == []
    if "text" in said:
        return  # no library would write these either
    monkeypatch.setattr(files_module, "table_problems", lambda table: [])
    write_shard(path, broken(change), {})
    monkeypatch.undo()
    assert any(said in problem for problem in shard_problems(path))
    with pytest.raises(CheckError) as unread:
        read_shard(path)
    assert said in str(unread.value) and str(path) in str(unread.value)


@EACH_FORMAT
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("atom_offsets"), "array atom_offsets"),
        (drop("atomic_numbers"), "atom_offsets should end at 0"),
        (put("positions", lambda v: v[:-1]), "array positions should have"),
        (put("positions", at((2, 1), np.inf)), "positions should be finite"),
    ],
)
def test_some_arrays_are_checked_as_all_are(tmp_path, suffix, change, said, monkeypatch):
    path = tmp_path / f"a{suffix}"
    monkeypatch.setattr(files_module, "table_problems", lambda table: [])
    write_shard(path, broken(change), {})
    with pytest.raises(CheckError, match=rf"a{suffix}.*{said}"):
        read_shard(path, ["positions"])


@pytest.mark.parametrize(
    "name",
    ["../x", "info/..", "info/.", "info/", "/x", "x", "a/b/c", "info/zarr.json", "info/a\\b", "info/a\nb", "name/x"],
)
def test_names_that_no_path_can_have_are_not_written(tmp_path, name):
    table = g2_table()
    table.arrays[name] = np.zeros(len(table))
    table.specs[name] = ArraySpec(name, "structure", (), "f8", "", "Odd")
    with pytest.raises(CheckError, match="is not in the schema"):
        write_shard(tmp_path / "a.h5", table, {})


def test_arrays_that_are_not_what_their_specification_says_are_not_written(tmp_path):
    with pytest.raises(CheckError, match=r"gfn1/forces should have rows \(3,\) f4, but has \(3,\) float64"):
        write_shard(tmp_path / "a.h5", broken(put("gfn1/forces", lambda v: v.astype("f8"))), {})


def test_nan_is_allowed_where_the_schema_says_so(tmp_path):
    table = broken(put("gfn1/homo_lumo_gap", at(0, np.nan)))
    put("reference/pbe_energy", at(0, np.nan))(table)
    write_shard(tmp_path / "a.zarr.zip", table, {})
    assert shard_problems(tmp_path / "a.zarr.zip") == []


@EACH_FORMAT
def test_files_that_are_no_shards(tmp_path, suffix):
    with pytest.raises(InputError, match="No such file"):
        read_shard(tmp_path / f"absent{suffix}")
    for content in (b"", b"not a shard", b"PK\x05\x06" + 18 * b"\0"):
        (tmp_path / f"odd{suffix}").write_bytes(content)
        with pytest.raises(CheckError, match=f"odd{suffix}"):
            read_shard(tmp_path / f"odd{suffix}")
    with pytest.raises(InputError, match=r"ends in \.zarr\.zip or \.h5"):
        read_shard(tmp_path / "shard.npz")


def test_hdf5_links_out_of_the_file_are_refused(tmp_path):
    write_shard(tmp_path / "a.h5", g2_table(), {})
    write_shard(tmp_path / "b.h5", g2_table(), {})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["positions"]
        file["positions"] = h5py.ExternalLink("b.h5", "positions")
    with pytest.raises(CheckError, match=r"a\.h5: positions is a ExternalLink"):
        read_shard(tmp_path / "a.h5")


def test_hdf5_arrays_kept_elsewhere_are_refused(tmp_path):
    table = g2_table()
    shape = table.arrays["positions"].shape
    for kind in ("virtual", "external"):
        path = tmp_path / f"{kind}.h5"
        write_shard(path, table, {})
        write_shard(tmp_path / "other.h5", table, {})
        with h5py.File(path, "a") as file:
            attributes = dict(file["positions"].attrs)
            del file["positions"]
            if kind == "virtual":
                layout = h5py.VirtualLayout(shape, "f8")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "positions", shape)
                dataset = file.create_virtual_dataset("positions", layout)
            else:
                dataset = file.create_dataset("positions", shape, "f8", external=[(str(tmp_path / "raw"), 0, 10**6)])
            dataset.attrs.update(attributes)
        with pytest.raises(CheckError, match="positions should be an array inside the file"):
            read_shard(path)


def test_an_hdf5_array_that_claims_more_than_is_stored_is_refused(tmp_path):
    write_shard(tmp_path / "a.h5", g2_table(), {})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        attributes = dict(file["positions"].attrs)
        del file["positions"]
        dataset = file.create_dataset("positions", (10**12, 3), "f8", chunks=(1000, 3), fletcher32=True)
        dataset.attrs.update(attributes)
    with pytest.raises(CheckError, match="positions should have 1000000000 chunks, but has 0"):
        read_shard(tmp_path / "a.h5")


def rezip(path, change):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    pairs = change(entries)
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in pairs:
            archive.writestr(name, data)


def with_json(name, edit):
    def change(entries):
        metadata = json.loads(entries[name])
        edit(metadata)
        return {**entries, name: json.dumps(metadata).encode()}.items()

    return change


def claim(metadata, shape):
    metadata.update(shape=shape)
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = shape


def recoded(metadata, *names):
    """Put other compressors in the place of Blosc."""
    serializer, _, checksum = metadata["codecs"]
    compressors = [{"name": name, "configuration": {"level": 5}} for name in names]
    metadata["codecs"] = [serializer, *compressors, checksum]


def claiming(chunk, n_bytes):
    """Return a chunk whose Blosc header claims so many bytes, under a checksum that is right."""
    return sealed(chunk[:4] + n_bytes.to_bytes(4, "little") + chunk[8:-4])


def sealed(frame):
    """Return a chunk of these bytes, whatever they are, under a checksum that is right."""
    return frame + google_crc32c.value(frame).to_bytes(4, "little")


def emptied(chunk):
    """Return a chunk that says to be a copy of its values, which are not there: Blosc would copy what memory holds."""
    n_bytes = int.from_bytes(chunk[4:8], "little")
    return sealed(chunk[:2] + b"\x12" + chunk[3:4] + struct.pack("<3I", n_bytes, n_bytes, n_bytes + 16))


def inflated(chunk, n_bytes):
    """Return the chunk of a text array with so many bytes of nothing behind its texts."""
    texts = blosc.decompress(chunk[:-4]) + bytes(n_bytes)
    return sealed(blosc.compress(texts, b"zstd", 3, blosc.NOSHUFFLE, typesize=1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: [*e.items(), ("name/c/0", e["name/c/0"])], "two entries of one name"),
        (lambda e: [(k, v) for k, v in e.items() if k != "positions/c/0/0"], "chunks of its arrays"),
        (lambda e: [*e.items(), ("positions/c/9/0", b"")], "chunks of its arrays"),
        (with_json("positions/zarr.json", lambda m: m["codecs"].pop()), "array positions should have codecs"),
        (with_json("positions/zarr.json", lambda m: recoded(m, "gzip", "gzip")), "array positions should have codecs"),
        (with_json("name/zarr.json", lambda m: recoded(m, "gzip")), "array name should have codecs .*vlen-utf8.*blosc"),
        (lambda e: {**e, "positions/c/0/0": claiming(e["positions/c/0/0"], 2**30)}.items(), "but claims 1073741824"),
        (
            lambda e: {**e, "positions/c/0/0": emptied(e["positions/c/0/0"])}.items(),
            "a chunk of 16 bytes claims to have",
        ),
        (lambda e: {**e, "name/c/0": emptied(e["name/c/0"])}.items(), "a chunk of 16 bytes claims to have"),
        (lambda e: {**e, "name/c/0": bytes(4)}.items(), "array name cannot be read"),
        (lambda e: {**e, "name/c/0": inflated(e["name/c/0"], 2**26)}.items(), "up to 67108864 bytes, but claims 671"),
        (
            lambda e: [(k.replace("info/number", "name/x"), v) for k, v in e.items()],
            "array '?name/x",
        ),
        (
            with_json("positions/zarr.json", lambda m: m["codecs"][1].update(name="odd")),
            "array positions should have codecs",
        ),
        (with_json("positions/zarr.json", lambda m: m.update(shape=[10**12, 3])), "claim 24,000,000,"),
        (with_json("positions/zarr.json", lambda m: m.update(shape=[10**6, 3])), "chunks of its arrays"),
        (
            with_json("positions/zarr.json", lambda m: claim(m, [10**12, 3])),
            "array positions has chunks .* larger than",
        ),
        (with_json("positions/zarr.json", lambda m: m.update(shape=[10**12])), "positions"),
        (with_json("positions/zarr.json", lambda m: m.update(fill_value=1.0)), "otherwise than mlipq does: fill_value"),
        (with_json("positions/zarr.json", lambda m: m.update(codec="x")), "otherwise than mlipq does: codec"),
        (
            with_json("positions/zarr.json", lambda m: m.pop("data_type")),
            "positions is not described as an array of Zarr",
        ),
        (with_json("positions/zarr.json", lambda m: claim(m, [0, 3])), "positions has shape .* in chunks of"),
        (with_json("name/zarr.json", lambda m: claim(m, [19])), "should hold 19 texts, but holds 20"),
        (with_json("name/zarr.json", lambda m: claim(m, [21])), "should hold 21 texts, but holds 20"),
        (with_json("name/zarr.json", lambda m: claim(m, [10**7])), "array name has chunks .* larger than"),
        (
            with_json("positions/zarr.json", lambda m: m["attributes"].pop("level")),
            "array positions should say its level",
        ),
        (with_json("zarr.json", lambda m: m["attributes"].update(format="other")), "not an mlipq shard"),
        (with_json("zarr.json", lambda m: m["attributes"].update(format_version=2)), "format version 2"),
        (lambda e: {**e, "zarr.json": b"{" * 100_000}.items(), "cannot be read"),
    ],
)
def test_altered_zips_are_refused(tmp_path, change, said):
    path = tmp_path / "a.zarr.zip"
    write_shard(path, g2_table(), {})
    rezip(path, change)
    with pytest.raises(CheckError, match=said) as refused:
        read_shard(path)
    assert str(path) in str(refused.value)


def test_compressed_entries_are_refused(tmp_path):
    path = tmp_path / "a.zarr.zip"
    write_shard(path, g2_table(), {})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(CheckError, match="is compressed"):
        read_shard(path)
