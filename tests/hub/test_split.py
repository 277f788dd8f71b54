"""Splits: sizes, groups, elements, arrays; the same everywhere, whatever the order of the dataset."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import RELEASE, labelled
from published import publish_structures, rewrite_manifest

from mlipq.errors import InputError
from mlipq.hub import split as splitting
from mlipq.hub.publishing.publish import publish
from mlipq.hub.split import add_split, split_dataset
from mlipq.labeling.augment import rattled
from mlipq.labeling.job import Rattle
from mlipq.store import Manifest, open_dataset
from mlipq.structures.structure import identity_hex

identities = st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), max_size=60, unique=True).map(
    lambda rows: np.array(rows, dtype=np.uint64).reshape(-1, 2)
)


@pytest.fixture
def folder(tmp_path) -> Path:
    return labelled(tmp_path)


def parts_of(folder: Path, name: str) -> dict[str, str]:
    """Read a split with nothing but Python: identity to part."""
    lines = (folder / "splits" / f"{name}.csv").read_text().splitlines()
    assert lines[0] == "identity,part"
    return dict(line.split(",") for line in lines[1:])


def test_a_split_is_a_file_that_the_manifest_describes(folder):
    split = split_dataset(folder, "random", "test=11,pool=rest", name="eleven", seed=3)
    assert Manifest.read(folder / "manifest.json").splits == {"eleven": split}
    data = (folder / split.file).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (split.bytes, split.sha256)
    assert split.counts == {"pool": 49, "test": 11}
    assert split.made_by == "random, seed 3: test=11,pool=rest"
    dataset = open_dataset(folder)
    parts = parts_of(folder, "eleven")
    assert parts.keys() == {identity_hex(identity) for identity in dataset["identity"][:]}
    chosen = {identity_hex(identity) for identity in dataset.select(split="test")["identity"][:]}
    assert chosen == {identity for identity, part in parts.items() if part == "test"}


@pytest.mark.parametrize("by", ["random", "group"])
def test_a_part_is_divided_again_and_no_other_structure_is_in_any(folder, by):
    split_dataset(folder, by, "test=0.3,pool=rest", name="outer")
    outer = parts_of(folder, "outer")
    pool = {identity for identity, part in outer.items() if part == "pool"}
    split = split_dataset(folder, by, "test=10,pool=rest", name="inner", within="outer/pool")
    inner = parts_of(folder, "inner")
    assert inner.keys() == pool
    assert set(inner.values()) == {"test", "pool"}
    assert split.made_by == f"{by} within outer/pool, seed 0: test=10,pool=rest"


@pytest.mark.parametrize(
    ("by", "within", "message"),
    [
        ("elements", "outer/pool", "at random or by group, not by elements"),
        ("random", "outer/none", "none"),
        ("random", "pool", "name a part of a split"),
        ("random", "random/pool", "another name"),
    ],
)
def test_what_cannot_be_divided_again(folder, by, within, message):
    for name in ("outer", "random"):
        split_dataset(folder, "random", "test=0.3,pool=rest", name=name)
    elements = ["C"] if by == "elements" else []
    with pytest.raises(InputError, match=message):
        split_dataset(folder, by, within=within, elements=elements)


def test_splits_stay_beside_each_other_and_one_of_the_same_name_is_replaced(folder):
    split_dataset(folder, "random", seed=1)
    first = parts_of(folder, "random")
    split_dataset(folder, "group")
    assert parts_of(folder, "random") == first
    split_dataset(folder, "random", seed=2)
    assert parts_of(folder, "random") != first
    assert sorted(Manifest.read(folder / "manifest.json").splits) == ["group", "random"]


@given(identities, st.integers(-5, 2**63), st.permutations(range(60)))
def test_a_random_split_depends_on_identities_and_seed_alone(ids, seed, order):
    order = np.array([number for number in order if number < len(ids)], dtype=int)
    one = splitting._random(ids, "train=0.8,val=0.1,test=0.1", seed)
    other = splitting._random(ids[order], "train=0.8,val=0.1,test=0.1", seed)
    assert one[order].tolist() == other.tolist()


def test_a_split_stays_what_it_is():
    """Golden: a later version of mlipq, Python or NumPy must not deal structures out in another way."""
    ids = np.arange(20, dtype=np.uint64).reshape(10, 2)
    parts = splitting._random(ids, "train=0.5,test=0.5", 0)
    assert "".join(part[1] for part in parts) == "rerrrreeee"


@given(st.integers(0, 10_000))
def test_fractions_that_add_up_to_one_leave_no_structure_out(n):
    for parts in ("train=0.8,val=0.1,test=0.1", "a=.333,b=.333,c=.334", "a=0.7,b=0.3"):
        sizes = splitting._sizes(parts, n)
        assert sum(sizes.values()) == n
        assert all(
            abs(size - n * float(part.split("=")[1])) <= 1
            for size, part in zip(sizes.values(), parts.split(","), strict=True)
        )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("train=0.8,train=0.2", "name of its own"),
        ("=0.8", "name of its own"),
        ("train=0.9,test=0.2", "ask for"),
        ("train=61", "ask for 61 structures, but there are 60"),
        ("train=half", "fraction"),
        ("a=rest,b=rest", "rest"),
        ("train=-1", "fraction"),
        ("tr ain=0.5", "part is named"),
        ("train=0", "no structure would be in train"),
    ],
)
def test_parts_that_cannot_be_made_are_refused(folder, parts, said):
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(InputError, match=said):
        split_dataset(folder, "random", parts)
    assert (folder / "manifest.json").read_bytes() == before


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=80), st.integers(0, 99))
def test_a_group_is_never_torn(groups, seed):
    parts = splitting.parts_by_group(np.array(groups, dtype=object), "train=0.6,val=0.2,test=0.2", seed)
    for group in set(groups):
        assert len({part for part, its in zip(parts, groups, strict=True) if its == group}) == 1


def test_groups_meet_the_sizes_as_nearly_as_they_can(folder):
    counts = split_dataset(folder, "group", "train=40,test=rest").counts
    largest = np.unique(open_dataset(folder)["group"][:].astype(str), return_counts=True)[1].max()
    assert abs(counts["train"] - 40) <= largest


def test_elements_are_held_out(folder):
    split = split_dataset(folder, "elements", "train=0.5,val=rest", elements=["S", "O"])
    dataset, parts = open_dataset(folder), parts_of(folder, "elements")
    for row, identity in enumerate(dataset["identity"][:]):
        has_one = {"S", "O"} & set(dataset[row].get_chemical_symbols())
        assert (parts[identity_hex(identity)] == "test") == bool(has_one)
    assert split.counts.keys() == {"train", "val", "test"}
    assert "S or O" in split.made_by


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"by": "elements"}, "--elements Fe,Co"),
        ({"by": "random", "elements": ["Fe"]}, "only there"),
        ({"by": "elements", "elements": ["Fe"]}, "no structure has any of Fe"),
        ({"by": "elements", "elements": ["Xx"]}, "is no element"),
        ({"by": "elements", "elements": ["S"], "parts": "test=rest"}, "is what is held out"),
        ({"by": "info/nothing"}, "there is none"),
        ({"by": "gfn1/energy"}, "it is f8"),
        ({"by": "gfn1/forces"}, r"it is f4 \(3,\), one row per atom"),
        ({"by": "group", "parts": "train=0.999,test=0.001"}, "no structure would be in test"),
        ({"by": "random", "parts": "train=60,test=rest"}, "no structure would be in test"),
        ({"by": "random", "name": "My Split"}, "a split is named"),
        ({"by": "random", "name": "../x"}, "a split is named"),
    ],
)
def test_splits_that_cannot_be_made_are_refused(folder, how, said):
    with pytest.raises(InputError, match=said):
        split_dataset(folder, **how)


def test_an_array_names_the_parts(folder):
    split = split_dataset(folder, "multiplicity")
    assert split.counts == {"1": 60}
    with pytest.raises(InputError, match="leave out --parts"):
        split_dataset(folder, "multiplicity", "a=0.5")


def test_any_parts_can_be_given_from_python(folder):
    dataset = open_dataset(folder)
    parts = ["heavy" if len(atoms) > 15 else "" for atoms in dataset]
    split = add_split(folder, "by-size", dataset["identity"][:], parts, "structures of more than 15 atoms")
    assert split.counts == {"heavy": sum(map(bool, parts))}
    assert len(dataset) > split.counts["heavy"] == len(open_dataset(folder).select(split="by-size/heavy")) > 0


def test_splits_outlive_finishing_once_more(folder, mlipq):
    split = split_dataset(folder, "random")
    assert mlipq("finish", folder).code == 0
    assert Manifest.read(folder / "manifest.json").splits == {"random": split}


def test_a_published_version_is_not_split(folder, tmp_path):
    publish(folder, **RELEASE, to=str(tmp_path / "to"))
    with pytest.raises(InputError, match=r"g-set@1\.0\.0, which never changes"):
        split_dataset(tmp_path / "to" / "g-set" / "1.0.0", "random")


def test_the_command_line(folder, mlipq):
    ended = mlipq("data", "split", folder, "--by", "elements", "--elements", "S, O", "--name", "so")
    assert (ended.code, "S or O" in ended.out, len(parts_of(folder, "so"))) == (0, True, 60)
    assert mlipq("data", "split", folder, "--by", "random", "--parts", "a=61").code == 2
    ended = mlipq("data", "split", folder, "--by", "random", "--json")
    assert ended.json["counts"] == {"test": 6, "train": 48, "val": 6}


def test_splits_made_at_once_are_all_kept(folder):
    known = open_dataset(folder)["identity"][:]
    names = [f"split-{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add_split(folder, name, known, ["all"] * len(known), "at once"), names))
    assert Manifest.read(folder / "manifest.json").splits.keys() == set(names)


@pytest.fixture
def with_copies(samples, tmp_path):
    """Ten molecules of the samples and two rattled copies of each, unpublished."""
    rattle = Rattle(copies=2, sigma=0.05, seed=0)
    structures = [one for parent in samples("qm7")[:10] for one in (parent, *rattled(parent, rattle))]
    folder = publish_structures(tmp_path, structures, per_shard=30)
    rewrite_manifest(folder, name="", version="")
    return folder


@pytest.mark.parametrize(
    "how",
    [{"by": "random"}, {"by": "elements", "elements": ["N"], "parts": "train=0.5,val=0.5"}],
    ids=["random", "elements"],
)
def test_rattled_copies_are_not_parted_from_their_parents(with_copies, how):
    with pytest.raises(InputError, match="--by group keeps them together"):
        split_dataset(with_copies, **how)


def test_rattled_copies_go_where_their_parents_go(with_copies):
    split_dataset(with_copies, "group", "test=0.3,pool=rest")
    dataset = open_dataset(with_copies)
    parts = dataset.split("group").of(dataset["identity"][:]).reshape(10, 3)
    assert (parts == parts[:, :1]).all() and set(parts[:, 0]) == {"test", "pool"}
    split_dataset(with_copies, "elements", elements=["N"])
    parts = open_dataset(with_copies).split("elements").of(dataset["identity"][:]).reshape(10, 3)
    assert (parts == parts[:, :1]).all() and set(parts[:, 0]) == {"test", "pool"}
