"""Selections from the bundled structures against brute force over ASE objects."""

import hashlib
import pickle
import shutil
from functools import partial
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.data import chemical_symbols
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molecules import assert_same, make_dataset

from mlipq.errors import CheckError, InputError
from mlipq.schema import Flag
from mlipq.store import Dataset, Manifest, Table, cached_datasets, export, join_specs, open_dataset, pack, write_shard
from mlipq.store.columns import conform
from mlipq.store.manifest import Split
from mlipq.store.reader.streaming import streamed_dataset
from mlipq.store.shards.shard import Shard
from mlipq.store.shards.source import LocalFile
from mlipq.store.splits import split_bytes
from mlipq.structures import identity_hex

FILES = ["qm7", "gscdb138", "tmqm", "crystals", "mopac_pm7"]
PARTS = ["train", "test", ""]
FLAGS = [0, 0, Flag.F_SMALL_GAP, Flag.F_CLOSE_ATOMS | Flag.F_SPIN_DEFAULT, Flag.F_FORCE_CHECK]


def with_flags(table: Table, seed: int) -> Table:
    """Flags as labeling sets them, beside those of reading."""
    rng = np.random.default_rng(seed)
    table.arrays["quality"] |= rng.choice(FLAGS, len(table)).astype("u4")
    return table


MIXED = [".zarr.zip", ".h5", ".zarr.zip", ".zarr.zip", ".h5", ".zarr.zip"]


def make_folder(folder: Path, samples, suffixes: list[str]) -> Path:
    """A shard of each sample file, one of them empty, and two splits."""
    structures = {structure.identity(): structure for file in FILES for structure in samples(file)}
    files = [[one for one in samples(file) if structures[one.identity()] is one] for file in FILES]  # each once
    tables = [with_flags(pack(rows, {}), seed) for seed, rows in enumerate(files)]
    tables.insert(2, pack([], {}))
    make_dataset(folder, tables, suffixes)
    identities = open_dataset(folder)["identity"][:]
    (folder / "splits").mkdir()
    splits = {}
    for seed, name in enumerate(["random", "other"]):
        parts = np.random.default_rng(seed).choice(PARTS, len(identities))
        data = split_bytes(identities[parts != ""], parts[parts != ""])
        file = f"splits/{name}.csv"
        (folder / file).write_bytes(data)
        counts = {part: int((parts == part).sum()) for part in PARTS[:2]}
        splits[name] = Split(file=file, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), counts=counts)
    manifest = Manifest.read(folder / "manifest.json")
    manifest.model_copy(update={"splits": splits}).write(folder / "manifest.json")
    return folder


@pytest.fixture(scope="module")
def folder(samples, tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "ds", samples, MIXED)


def streamed(folder: Path) -> Dataset:
    """As from afar: through byte sources, and a callable for other files."""
    manifest = Manifest.read(folder / "manifest.json")
    sources = [partial(LocalFile, folder / entry.file) for entry in manifest.shards]
    return streamed_dataset(manifest, "http://host/ds", sources, partial(read_in, folder))


def read_in(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


@pytest.fixture(scope="module", params=["shards", "materialised", "streamed"])
def ds(request, samples, folder, tmp_path_factory):
    if request.param == "streamed":
        return streamed(make_folder(tmp_path_factory.mktemp("afar") / "ds", samples, [".zarr.zip"] * 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        ds = open_dataset(folder)
        return ds.materialise() if request.param == "materialised" else ds


@pytest.fixture(scope="module")
def everything(folder):
    """What the dataset holds, as one table in memory."""
    tables = [table for table in open_dataset(folder).tables() if len(table)]
    specs = join_specs([table.specs for table in tables])
    return Table.concatenate([conform(table, specs) for table in tables])


@pytest.fixture(scope="module")
def facts(ds, folder):
    """Of each structure: what ASE says of it, its flags, and the lines of the splits."""
    parts = {
        name: dict(line.split(",") for line in (folder / f"splits/{name}.csv").read_text().split()[1:])
        for name in ("random", "other")
    }
    return [
        {
            "elements": set(atoms.get_chemical_symbols()),
            "atoms": len(atoms),
            "quality": int(atoms.info["quality"]),
            "parts": {name: parts[name].get(identity_hex(words)) for name in parts},
        }
        for atoms, words in zip(ds, ds["identity"][:], strict=True)
    ]


def brute_force(facts, contains=None, only=None, max_atoms=None, quality=None, split=None) -> list[int]:
    rows = []
    for row, fact in enumerate(facts):
        name, _, part = (split or "").partition("/")
        if (
            (contains is None or set(contains) <= fact["elements"])
            and (only is None or fact["elements"] <= set(only))
            and (max_atoms is None or fact["atoms"] <= max_atoms)
            and (quality is None or fact["quality"] & ~quality == 0)
            and (split is None or fact["parts"][name] == part)
        ):
            rows.append(row)
    return rows


common = st.sampled_from(["H", "C", "N", "O", "S", "Fe", "Cl"])
symbols = common | st.sampled_from(chemical_symbols[1:])
conditions = st.fixed_dictionaries(
    {},
    optional={
        "contains": st.lists(symbols, max_size=3),
        "only": st.lists(symbols, max_size=3).map(lambda more: ["H", "C", "N", "O", *more]) | st.lists(symbols),
        "max_atoms": st.integers(-1, 120),
        "quality": st.integers(0, 2**13 - 1) | st.just(~int(Flag.F_SMALL_GAP)) | st.sampled_from(Flag),
        "split": st.sampled_from(["random/train", "random/test", "other/test"]),
    },
)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@SHARED
@given(asked=conditions)
def test_any_selection_is_as_by_brute_force(ds, facts, asked):
    assert ds.select(**asked).rows.tolist() == brute_force(facts, **asked)


@SHARED
@given(first=conditions, second=conditions)
def test_a_selection_from_a_selection_meets_both(ds, facts, first, second):
    selected = ds.select(**first).select(**second)
    assert selected.rows.tolist() == sorted({*brute_force(facts, **first)} & {*brute_force(facts, **second)})


@pytest.mark.parametrize("element", ["H", "Fe", "I"])
def test_one_symbol_needs_no_list(ds, facts, element):
    assert ds.select(contains=element).rows.tolist() == brute_force(facts, contains=[element]) != []
    assert ds.select(only=element).rows.tolist() == brute_force(facts, only=[element])


@settings(SHARED, max_examples=20)
@given(asked=conditions, data=st.data())
def test_a_selection_reads_as_a_dataset(ds, everything, facts, asked, data):
    rows = brute_force(facts, **asked)
    selected, expected = ds.select(**asked), everything.take(rows)
    assert len(selected) == len(rows)
    assert_same(Table.concatenate(list(selected.tables())), expected)
    assert [len(atoms) for atoms in selected] == np.diff(expected.arrays["atom_offsets"]).tolist()
    np.testing.assert_array_equal(selected.atom_offsets, expected.arrays["atom_offsets"])
    np.testing.assert_array_equal(selected["positions"][:], expected.arrays["positions"])
    if rows:
        picked = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=8))
        assert_same(selected.take(picked), expected.take(np.arange(len(rows))[picked]))
        row = data.draw(st.integers(0, len(rows) - 1))
        assert selected[row] == ds[rows[row]]
        assert selected.find(expected.arrays["identity"][row].astype("<u8").tobytes()) == row
    outside = next((row for row in range(len(facts)) if row not in set(rows)), None)
    if outside is not None:
        assert selected.find(identity_hex(everything.arrays["identity"][outside])) is None


def test_another_process_has_the_same_selection(ds):
    selected = ds.select(contains="N", split="random/train")
    copy = pickle.loads(pickle.dumps(selected))
    assert copy.rows.tolist() == selected.rows.tolist()
    assert copy["name"][:].tolist() == selected["name"][:].tolist()
    assert copy.select(split="other/test").rows.tolist() == selected.select(split="other/test").rows.tolist()


@pytest.fixture
def reads(monkeypatch):
    """Which array was read from which shard."""
    seen = set()
    read = Shard.read

    def counted(shard, name, start, stop):
        seen.add((shard.name.rpartition("/")[2].partition(".")[0], name))
        return read(shard, name, start, stop)

    monkeypatch.setattr(Shard, "read", counted)
    return seen


CHEAP = {"atom_offsets", "elements", "quality", "identity"}


@pytest.mark.parametrize(
    ("asked", "arrays"),
    [
        ({"max_atoms": 20}, {"atom_offsets"}),
        ({"contains": ["H"]}, {"atom_offsets", "elements"}),
        ({"quality": 0}, {"atom_offsets", "quality"}),
        ({"split": "random/test"}, {"atom_offsets", "identity"}),
        ({"max_atoms": 20, "only": ["H", "C"], "quality": 3, "split": "random/test"}, CHEAP),
    ],
)
def test_only_the_arrays_that_decide_are_read(folder, reads, asked, arrays):
    open_dataset(folder).select(**asked)
    assert {name for _, name in reads} == arrays


def test_shards_that_cannot_match_are_not_opened(folder, reads):
    ds = open_dataset(folder)
    listed = {f"part-{number:05d}": set(entry.elements) for number, entry in enumerate(ds.manifest.shards)}
    holding = {shard for shard, elements in listed.items() if "Si" in elements}
    assert 0 < len(holding) < len(listed) - 1
    selected = ds.select(contains="Si")
    assert {shard for shard, _ in reads} == holding
    names = selected["name"][:]
    assert len(names) == len(selected) and {shard for shard, _ in reads} == holding
    reads.clear()
    absent = next(symbol for symbol in chemical_symbols[1:] if symbol not in ds.manifest.elements)
    assert len(ds.select(only=absent)) == len(ds.select(contains=["H", absent])) == 0
    assert reads == set()


def test_elements_are_not_read_where_the_manifest_says_enough(folder, reads):
    open_dataset(folder).select(only=chemical_symbols[1:])
    assert {name for _, name in reads} <= {"atom_offsets"}


def test_a_single_shard_is_selected_from_too(folder, facts):
    ds = open_dataset(folder / "shards" / "part-00001.h5")
    offset = open_dataset(folder).manifest.shards[0].n_structures
    rows = brute_force(facts, contains=["O"])
    assert ds.select(contains="O").rows.tolist() == [row - offset for row in rows if offset <= row < offset + len(ds)]
    with pytest.raises(InputError, match="should be a part of a split; this dataset has none"):
        ds.select(split="test")


@pytest.mark.parametrize("symbol", ["X", "fe", "HCNO", ""])
def test_what_is_no_element(ds, symbol):
    for asked in ({"contains": symbol}, {"only": [symbol]}):
        with pytest.raises(InputError, match="is no element; symbols look like Fe or C"):
            ds.select(**asked)


@pytest.mark.parametrize("named", ["test", "random", "random/valid", "third/test", ""])
def test_parts_that_are_not_there(ds, named):
    known = "other/test, other/train, random/test, random/train"
    with pytest.raises(InputError, match=f"{named!r} should be a part of a split; this dataset has {known}"):
        ds.select(split=named)


def test_the_only_split_needs_no_name(folder, tmp_path, facts):
    shutil.copytree(folder, tmp_path / "ds")
    manifest = Manifest.read(folder / "manifest.json")
    one = manifest.model_copy(update={"splits": {"random": manifest.splits["random"]}})
    one.write(tmp_path / "ds" / "manifest.json")
    ds = open_dataset(tmp_path / "ds")
    assert ds.select(split="test").rows.tolist() == brute_force(facts, split="random/test")
    assert ds.select(split="random/test").rows.tolist() == brute_force(facts, split="random/test")
    (tmp_path / "ds/splits/random.csv").write_bytes(b"identity,part\n")
    with pytest.raises(CheckError, match=r"splits/random\.csv: expected .* restore it"):
        open_dataset(tmp_path / "ds").select(split="test")
    (tmp_path / "ds/splits/random.csv").unlink()
    with pytest.raises(InputError, match=r"splits/random\.csv cannot be opened"):
        open_dataset(tmp_path / "ds").select(split="test")
    assert len(ds.select(max_atoms=5).select(split="train").select(split="test")) == 0  # read before, and kept


def test_a_selection_says_so(ds):
    selected = ds.select(max_atoms=5)
    assert repr(selected) == f"<Dataset: {len(selected)} selected structures in 6 shards, {len(ds.specs)} arrays>"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_selection_is_materialised_alone(cache, folder, everything, facts):
    asked = {"contains": ["N"], "quality": 0}
    selected = open_dataset(folder).select(**asked)
    made = []
    mapped = selected.materialise(lambda done, total: made.append((done, total)))
    rows = brute_force(facts, **asked)
    assert made[-1] == (len(rows), len(rows))
    assert_same(Table.concatenate(list(mapped.tables())), everything.take(rows))
    assert mapped.rows.tolist() == rows and mapped.materialise() is mapped
    further = mapped.select(max_atoms=15)
    assert further.rows.tolist() == brute_force(facts, **asked, max_atoms=15)
    assert_same(further.take(slice(None)), everything.take(further.rows))
    (entry,) = cached_datasets()
    assert (entry.key, entry.structures) == (selected.cache_key, len(rows)) == (mapped.cache_key, len(mapped))
    open_dataset(folder).select(**asked).materialise(lambda done, total: pytest.fail("made again"))


def test_a_selection_from_afar_is_not_materialised(samples, tmp_path):
    ds = streamed(make_folder(tmp_path / "ds", samples, [".zarr.zip"] * 6))
    with pytest.raises(InputError, match="pull it"):
        ds.select(contains="N").materialise()


def test_each_selection_has_its_own_entry(cache, folder):
    ds = open_dataset(folder)
    keys = {ds.cache_key, ds.select(contains="N").cache_key, ds.select(contains="Fe").cache_key}
    assert len(keys) == 3
    whole = ds.materialise()
    assert whole.select(contains="N").materialise().cache_key == ds.cache_key and len(cached_datasets()) == 1


def test_shards_outside_a_selection_are_not_needed(cache, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "ds")
    ds = open_dataset(tmp_path / "ds")
    selected = ds.select(contains="Si")
    for number, path in enumerate(ds.files):
        if "Si" not in ds.manifest.shards[number].elements:
            path.unlink()
    assert len(selected.materialise()) == len(selected) > 0
    other = ds.select(contains=["Si", "C"])
    damaged = next(path for path in ds.files if path.exists())
    write_shard(damaged, pack([], {}), {})
    with pytest.raises(CheckError, match=f"{damaged.name}: expected sha256"):
        other.materialise()


def test_a_selection_is_exported(folder, tmp_path, everything):
    selected = open_dataset(folder).select(contains="Fe", max_atoms=60)
    expected = everything.take(selected.rows)
    assert export(selected, tmp_path / "iron.extxyz", "extxyz").structures == len(selected) > 0
    frames = ase.io.read(tmp_path / "iron.extxyz", ":")
    numbers = np.concatenate([frame.numbers for frame in frames])
    np.testing.assert_array_equal(numbers, expected.arrays["atomic_numbers"])
    for to in ("h5", "zarr"):
        export(selected, tmp_path / to, to)
        assert_same(open_dataset(tmp_path / to).take(slice(None)), expected)
