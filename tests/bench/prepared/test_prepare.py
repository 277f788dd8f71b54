"""The suite's datasets: ordinary ones, equal when made twice, and without a way for test labels to be learned from."""

import multiprocessing
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from dft_charges import give_dft_charges
from preparing import (
    FRAMES,
    TARGET,
    TESTED,
    base,
    content,
    identities,
    molecules,
    part,
    prepared,
    suite_of,
    write_base,
)

from mlipq.bench.plan import plan_runs
from mlipq.bench.prepared import Prepared, prepare_dataset
from mlipq.bench.prepared.draws import draw
from mlipq.bench.results import read_structures
from mlipq.errors import InputError
from mlipq.labeling.augment import rattled
from mlipq.labeling.job import Rattle
from mlipq.store import Manifest, Table, open_dataset, pack, structure_at
from mlipq.store.checking.verify import verify_dataset
from mlipq.store.elements import bits_of, element_bits
from mlipq.store.statistics import compositions_of
from mlipq.structures.structure import identity_hex
from mlipq.training.config import DataSettings
from mlipq.training.data.source import choose_rows

DRAWS = [(size, seed) for size in (20, 50) for seed in (0, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("suite")


@pytest.fixture(scope="module")
def dataset(folder) -> Path:
    return base(folder / "base")


@pytest.fixture(scope="module")
def made(folder, dataset) -> Prepared:
    return prepared(dataset, folder / "made")


def test_what_is_written_are_sound_datasets(made):
    for path in (made.dataset, made.test):
        assert verify_dataset(path) == []
    assert made.extras == (None,) and made.sha256 == open_dataset(made.folder.parent / "base").sha256


def test_no_test_structure_is_in_what_training_reads(made, dataset):
    assert identities(made.test) == part(dataset, "test")
    assert identities(made.dataset) == part(dataset, "pool")
    assert "control/shuffled_charges" not in open_dataset(made.test).specs


@pytest.mark.parametrize(("size", "seed"), DRAWS)
def test_each_draw_divides_the_pool(made, size, seed):
    parts = [part(made.dataset, f"n{size}-s{seed}/{name}") for name in ("train", "validation", "rest")]
    assert [len(one) for one in parts] == [size * 9 // 10, size // 10, FRAMES - TESTED - size]
    assert set.union(*parts) == identities(made.dataset)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_smaller_draws_are_within_larger_ones(made, name):
    for seed in (0, 1):
        assert part(made.dataset, f"n20-s{seed}/{name}") < part(made.dataset, f"n50-s{seed}/{name}")
    assert part(made.dataset, f"n50-s0/{name}") != part(made.dataset, f"n50-s1/{name}")


def test_training_takes_the_parts_as_they_are(made):
    settings = DataSettings(
        dataset=str(made.dataset), split="n50-s1", train="train", validation="validation", tasks={"energy": TARGET}
    )
    opened = open_dataset(made.dataset)
    for rows, name in zip(choose_rows(opened, settings, 1), ("train", "validation"), strict=True):
        found = {tuple(words) for words in opened["identity"][rows].tolist()}
        assert found == part(made.dataset, f"n50-s1/{name}")


def test_arrays_are_those_of_the_dataset_and_the_derived_ones(made, dataset):
    before, pool = open_dataset(dataset), open_dataset(made.dataset)
    rows = [before.find(identity_hex(words)) for words in pool["identity"][:]]
    there, here = before.batch(rows), pool.batch(slice(None))
    for name in before.specs:
        gaps = {"equal_nan": True} if there[name].dtype.kind == "f" else {}
        assert np.array_equal(here[name], there[name], **gaps)
    assert pool.specs.keys() - before.specs.keys() == {
        "delta/energy",
        "control/shuffled_charges",
        "control/gaussian_charges",
    }
    assert np.array_equal(pool["delta/energy"][:], pool[TARGET][:] - pool["gfn1/energy"][:])


def test_structures_json_describes_the_test_in_its_order(made):
    assert read_structures(made.folder).identities == [
        identity_hex(words) for words in open_dataset(made.test)["identity"][:]
    ]


def test_made_twice_it_has_the_same_bytes(made, dataset, tmp_path):
    assert content(prepared(dataset, tmp_path / "again").folder) == content(made.folder)


def test_what_is_there_is_left_as_it_is(made, dataset):
    before = {path: path.stat().st_mtime_ns for path in made.dataset.rglob("*")}
    assert prepared(dataset, made.folder) == made
    assert {path: path.stat().st_mtime_ns for path in made.dataset.rglob("*")} == before


def test_more_sizes_and_seeds_and_modes_change_nothing_that_was_there(dataset, tmp_path):
    few = prepared(dataset, tmp_path, sizes=[20], seeds=1, modes=["energy"])
    before = content(few.folder)
    more = prepared(dataset, tmp_path)
    after = content(more.folder)
    manifest = before.pop("dataset/manifest.json")
    assert before.items() <= after.items() and manifest != after["dataset/manifest.json"]
    assert content(prepared(dataset, tmp_path, sizes=[20], seeds=1, modes=["energy"]).folder) == after


def _prepare_until_killed(dataset: Path, folder: Path, what: str) -> None:
    def progress(said: str, done: int, total: int) -> None:
        if said == what and done > total / 2:
            os.kill(os.getpid(), signal.SIGKILL)

    prepare_dataset(suite_of(dataset), folder, progress)


@pytest.mark.parametrize("what", ["pool", "test structures"])
def test_killed_and_called_again_it_ends_with_the_same_bytes(made, dataset, tmp_path, what):
    killed = multiprocessing.get_context("fork").Process(target=_prepare_until_killed, args=(dataset, tmp_path, what))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert list(tmp_path.glob(".tmp-*"))
    prepared(dataset, tmp_path)
    assert content(tmp_path) == content(made.folder)


def test_test_labels_change_nothing_that_training_reads(made, tmp_path):
    def poison(table: Table) -> None:
        tested = slice(None, None, FRAMES // TESTED)
        for name in (TARGET, "gfn1/energy"):
            table.arrays[name][tested] += 1e6
        for row in range(0, FRAMES, FRAMES // TESTED):
            table.arrays["gfn1/orbital_charges"][table.atoms_of(row)] += [5, -5, 0]

    other = prepared(base(tmp_path / "base", poison), tmp_path / "made")
    shards = [
        {name: data for name, data in content(one.dataset).items() if name != "manifest.json"} for one in (made, other)
    ]
    assert shards[0] == shards[1]
    assert content(made.test) != content(other.test)
    manifests = [
        Manifest.read(one.dataset / "manifest.json").model_dump(exclude={"provenance"}) for one in (made, other)
    ]
    assert manifests[0] == manifests[1]


def test_a_structure_without_the_target_is_never_drawn(tmp_path):
    def change(table: Table) -> None:
        table.arrays[TARGET][[0, 1, 2, 5]] = np.nan  # the first is for the test

    dataset = base(tmp_path / "base", change)
    made = prepared(dataset, tmp_path / "made", sizes=[80], seeds=3)
    unlabelled = {tuple(molecules().arrays["identity"][row].tolist()) for row in (1, 2, 5)}
    for seed in range(3):
        assert unlabelled <= part(made.dataset, f"n80-s{seed}/rest")
    assert len(identities(made.test)) == TESTED - 1
    assert any("left out: test structures without reference/pbe0_energy: 1" in note for note in made.notes)
    assert any(f"draw from the 87 of 90 structures of the pool that have {TARGET}" in note for note in made.notes)


class TestSomeHaveDftCharges:
    """Labels that a mode learns and only some structures have."""

    ROWS = np.arange(FRAMES)[np.arange(FRAMES) % 4 > 1]  # 60 of the pool, none of the test
    MODES = ("energy", "dft-charges", "charges+extra")

    @pytest.fixture(scope="class")
    @classmethod
    def some(cls, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("some")
        return base(folder / "base", lambda table: give_dft_charges(table, cls.ROWS))

    def test_all_modes_draw_from_those_that_have_them(self, some, tmp_path):
        made = prepared(some, tmp_path, modes=self.MODES)
        having = {tuple(words) for words in molecules().arrays["identity"][self.ROWS].tolist()}
        for size, seed in DRAWS:
            drawn = {name: part(made.dataset, f"n{size}-s{seed}/{name}") for name in ("train", "validation", "rest")}
            assert drawn["train"] | drawn["validation"] <= having
            assert len(drawn["train"] | drawn["validation"]) == size
            assert drawn["rest"] == identities(made.dataset) - drawn["train"] - drawn["validation"]
        assert len(identities(made.test)) == TESTED, "of test structures the target is enough"
        told = f"draw from the 60 of 90 structures of the pool that have {TARGET} and pbe/orbital_charges"
        assert any(told in note for note in made.notes), made.notes

    def test_too_few_of_them_are_refused(self, some, tmp_path):
        with pytest.raises(
            InputError, match=r"70 structures are to be drawn.* has 60 with .* and pbe/orbital_charges; .*modes"
        ):
            prepared(some, tmp_path / "made", modes=self.MODES, sizes=[20, 70])
        assert not (tmp_path / "made").exists()

    def test_a_folder_that_drew_from_others_is_refused(self, some, tmp_path):
        prepared(some, tmp_path / "all", modes=["energy"])
        with pytest.raises(InputError, match=r"its labels was none, and is now \['pbe/orbital_charges'\]"):
            prepared(some, tmp_path / "all", modes=self.MODES)
        prepared(some, tmp_path / "some", modes=self.MODES)
        before = content(tmp_path / "some")
        with pytest.raises(InputError, match=r"its labels was \['pbe/orbital_charges'\], and is now none"):
            prepared(some, tmp_path / "some", modes=["energy"])
        prepared(some, tmp_path / "some", modes=["energy"], labels=["pbe/orbital_charges"])
        assert content(tmp_path / "some") == before

    def test_where_all_have_them_nothing_changes(self, tmp_path):
        whole = base(tmp_path / "base", lambda table: give_dft_charges(table, np.arange(FRAMES)))
        without = content(prepared(whole, tmp_path / "made", modes=["energy"]).folder)
        assert content(prepared(whole, tmp_path / "made", modes=self.MODES).folder) == without

    def test_runs_on_other_draws_are_other_runs(self, some, tmp_path):
        few = suite_of(some, modes=self.MODES)
        runs = [
            {run.id: run.sha256 for run in plan_runs(suite, prepare_dataset(suite, tmp_path / str(number)), {})}
            for number, suite in enumerate((few, suite_of(some, modes=self.MODES[::2])))
        ]
        assert all(runs[0][name] != sha256 for name, sha256 in runs[1].items())


def test_a_draw_that_no_validation_structure_is_known_of_is_refused(tmp_path):
    pool = np.flatnonzero(np.arange(FRAMES) % (FRAMES // TESTED))
    drawn = draw(molecules().arrays["identity"][pool], 10, 0)
    (validation,) = pool[drawn == "validation"]

    def change(table: Table) -> None:
        table.arrays["atomic_numbers"][table.atoms_of(validation).start] = 35
        table.arrays["elements"][validation] |= bits_of(["Br"])

    dataset = base(tmp_path / "base", change)
    with pytest.raises(
        InputError, match="of n10-s0, each validation structure has an element that no training structure has"
    ):
        prepared(dataset, tmp_path / "made", sizes=[10], seeds=1)


def test_elements_that_few_have_are_left_out(dataset, tmp_path):
    before = compositions_of(open_dataset(dataset).select(split="pool").take(slice(None), ["atomic_numbers"]))
    counts = {z: int((before[:, z] > 0).sum()) for z in (1, 6, 7, 8, 16)}
    rarest = min((z for z in counts if counts[z]), key=counts.__getitem__)
    made = prepared(dataset, tmp_path, fewest=counts[rarest] + 1, sizes=[20])
    for path in (made.dataset, made.test):
        assert not (open_dataset(path)["atomic_numbers"][:] == rarest).any()
    assert any(f"fewer than {counts[rarest] + 1} of the pool" in note for note in made.notes)


def test_without_a_split_whole_groups_are_tested(tmp_path):
    made = prepared(base(tmp_path / "base", tested=None), tmp_path / "made")
    pool, test = (open_dataset(path)["group"][:].astype(str) for path in (made.dataset, made.test))
    assert not set(pool) & set(test)
    assert abs(len(test) - 0.2 * FRAMES) <= 5


def test_copies_of_test_molecules_are_no_extra_structures(tmp_path):
    table = molecules()
    parents = [structure_at(table, row) for row in range(FRAMES)]
    copies = [copy for parent in parents for copy in rattled(parent, Rattle(copies=1, sigma=0.2))]
    labels = {name: spec for name, spec in table.specs.items() if "/" in name and not name.startswith("info/")}
    for structure in parents:
        structure.info = {}
    specs = {name.removeprefix("reference/"): spec for name, spec in labels.items()}
    for copy, parent in zip(copies, parents, strict=True):
        copy.info, copy.extra = {}, dict(parent.extra)
    whole = pack([*parents, *copies], specs)
    folder = write_base(tmp_path / "base", whole, tested=None)
    made = prepared(folder, tmp_path / "made", sizes=[20], modes=["energy", "charges+extra"])
    names = {name for name in open_dataset(made.test)["name"][:]}
    rest = open_dataset(made.dataset).select(split="n20-s0/rest")["name"][:]
    assert names and not names & set(rest)
    assert len(rest) > FRAMES


def test_too_few_structures_for_a_size_are_refused_before_anything_is_written(dataset, tmp_path):
    with pytest.raises(
        InputError, match=r"sizes: 200 structures are to be drawn, but the pool of .* has 90 with reference"
    ):
        prepared(dataset, tmp_path / "made", sizes=[20, 200])
    assert not (tmp_path / "made").exists()


def test_a_pool_with_nothing_left_is_refused_for_extra_structures(dataset, tmp_path):
    with pytest.raises(InputError, match=r"once 90 structures are drawn, the pool of .* has none left"):
        prepared(dataset, tmp_path / "made", sizes=[90])
    prepared(dataset, tmp_path / "made", sizes=[90], modes=["energy", "charges"])


@pytest.mark.parametrize("keys", [{"split": "pbe"}, {"groups": ["aspirin"]}])
def test_a_split_or_group_that_is_not_there_is_refused(dataset, tmp_path, keys):
    with pytest.raises(InputError, match=r"no split 'pbe' with a part test.*random|no structure of group 'aspirin'"):
        prepared(dataset, tmp_path, **keys)


def test_a_folder_of_another_suite_is_refused(made, dataset, tmp_path):
    with pytest.raises(InputError, match="its fewest was 0, and is now 5"):
        prepared(dataset, made.folder, fewest=5)
    other = base(tmp_path / "base", lambda table: table.arrays[TARGET].__iadd__(1))
    with pytest.raises(InputError, match="its dataset was"):
        prepared(other, made.folder)


class TestExtra:
    """Structures of other datasets."""

    MODES = ("energy", "charges+extra", "shuffled+extra")

    @pytest.fixture(scope="class")
    @classmethod
    def other(cls, tmp_path_factory) -> Path:
        """Molecules of QM7 of which some have formulas of the test structures."""
        from mlipq import resources

        table = open_dataset(resources.samples().parent / "samples-gfn1" / "1.0.0").select(split="pool", max_atoms=18)
        return write_base(tmp_path_factory.mktemp("other") / "other", table.take(slice(FRAMES, 2 * FRAMES)), None)

    def keys(self, other: Path, **entry: object) -> dict[str, object]:
        return {"modes": self.MODES, "extra": [{"dataset": str(other), **entry}]}

    def test_test_molecules_among_them_are_refused(self, dataset, other, tmp_path):
        with pytest.raises(
            InputError,
            match=r"extra: [0-9]+ of 120 structures of .* may be test molecules .* formula and charge; the first is",
        ):
            prepared(dataset, tmp_path / "made", **self.keys(other))
        assert not (tmp_path / "made").exists()

    def test_or_left_out_and_counted(self, dataset, other, tmp_path):
        made = prepared(dataset, tmp_path, **self.keys(other, exclude_test=True))
        (path,) = made.extras
        assert verify_dataset(path) == []
        formulas = [
            {open_dataset(one).structure(row).formula for row in range(len(open_dataset(one)))}
            for one in (path, made.test)
        ]
        assert formulas[0] and not formulas[0] & formulas[1]
        left_out = FRAMES - len(open_dataset(path))
        assert left_out and any(
            f"may be test molecules by formula: {left_out} structures" in note for note in made.notes
        )
        assert made.extra_sha256s == (open_dataset(other).sha256,)

    def test_by_graph_isomers_stay(self, dataset, other, tmp_path):
        made = prepared(dataset, tmp_path, **self.keys(other, exclude_test=True, known_by="graph"))
        by_formula = prepared(dataset, tmp_path / "formula", **self.keys(other, exclude_test=True))
        assert identities(by_formula.extras[0]) < identities(made.extras[0])

    def test_by_graph_copies_of_a_frame_are_found_however_far_atoms_moved(self, dataset, tmp_path):
        table = molecules()
        table.arrays["positions"] += np.random.default_rng(0).normal(scale=0.5, size=table.arrays["positions"].shape)
        table.arrays["identity"] += np.uint64(1)
        copies = write_base(tmp_path / "copies", table, None)
        made = prepared(dataset, tmp_path / "made", **self.keys(copies, exclude_test=True, known_by="graph"))
        assert not set(open_dataset(made.extras[0])["name"][:]) & set(open_dataset(made.test)["name"][:])

    def test_foreign_elements_are_left_out_and_told(self, dataset, other, tmp_path):
        table = open_dataset(other).take(np.arange(FRAMES))
        table.arrays["atomic_numbers"][[table.atoms_of(row).stop - 1 for row in range(5)]] = 9
        table.arrays["elements"] = element_bits(table.arrays["atomic_numbers"], table.arrays["atom_offsets"])
        mixed = write_base(tmp_path / "mixed", table, None)
        made = prepared(dataset, tmp_path / "made", **self.keys(mixed, exclude_test=True))
        assert not (open_dataset(made.extras[0])["elements"][:] & bits_of(["F"])).any()
        counts = [
            int(found[1]) for note in made.notes if (found := re.search(r"mixed: left out, .*: ([0-9]+) struc", note))
        ]
        assert any("elements that the suite's own structures lack, F: " in note for note in made.notes)
        assert len(counts) == 2 and len(open_dataset(made.extras[0])) == FRAMES - sum(counts)
        with pytest.raises(InputError, match=r"extra: all structures of .* or have elements that .* lacks"):
            only = write_base(tmp_path / "only", table.take(np.arange(5)), None)
            prepared(dataset, tmp_path / "none", **self.keys(only, exclude_test=True))

    def test_no_other_label_comes_along(self, dataset, other, tmp_path):
        made = prepared(dataset, tmp_path, **self.keys(other, exclude_test=True))
        names = open_dataset(made.extras[0]).specs
        assert {"gfn1/orbital_charges", "control/shuffled_charges"} <= names.keys()
        assert not [name for name in names if name.startswith(("reference/", "info/", "delta/"))]

    def test_the_suites_own_dataset_holds_its_test_structures(self, dataset, tmp_path):
        with pytest.raises(InputError, match="may be test molecules"):
            prepared(dataset, tmp_path, **self.keys(dataset, known_by="graph"))

    def test_labels_that_a_mode_learns_must_be_there(self, dataset, tmp_path):
        table = molecules()
        for name in ("gfn1/orbital_charges", "gfn1/orbital_moments"):
            del table.arrays[name], table.specs[name]
        bare = write_base(tmp_path / "bare", table, None)
        with pytest.raises(InputError, match=r"has no gfn1/orbital_charges, which charges\+extra learns"):
            prepared(dataset, tmp_path / "made", **self.keys(bare, exclude_test=True))

    def test_modes_without_extra_structures_need_none(self, dataset, other, tmp_path):
        keys = self.keys(other) | {"modes": ("energy", "charges")}
        assert prepared(dataset, tmp_path, **keys).extras == ()
