"""What ``mlipq data diff`` finds, and which version step it asks for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled import labelled, whole

from mlipq.errors import InputError
from mlipq.hub.diff import Difference, Step, compare
from mlipq.hub.refs import Version
from mlipq.hub.split import add_split, split_dataset
from mlipq.hub.tolerances import TOLERANCES
from mlipq.schema import GFN1_ARRAYS, PBE_ARRAYS
from mlipq.store import Table, open_dataset, write_shard
from mlipq.store.tally import Tally
from mlipq.structures.structure import identity_hex


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    return labelled(tmp_path_factory.mktemp("old"))


@pytest.fixture
def changed(old, tmp_path) -> Callable[..., Path]:
    """Write the dataset with a change, in shards of 13 structures and in another order."""

    def make(change: Callable[[Table], Table | None] = lambda table: None, name: str = "new") -> Path:
        table = whole(old)
        table = table.take(np.random.default_rng(1).permutation(len(table)))
        table = change(table) or table
        (tmp_path / name / "shards").mkdir(parents=True)
        tally = Tally()
        for number, start in enumerate(range(0, len(table), 13)):
            rows = table.take(np.arange(start, min(start + 13, len(table))))
            file = f"shards/part-{number:05d}.zarr.zip"
            tally.add(file, *write_shard(tmp_path / name / file, rows, {}), rows)
        manifest = open_dataset(old).manifest.model_copy(update={"shards": tally.entries, "arrays": tally.arrays()})
        manifest.write(tmp_path / name / "manifest.json")
        return tmp_path / name

    return make


def between(old: Path, new: Path) -> Difference:
    return compare(open_dataset(old), open_dataset(new))


def test_order_and_shards_do_not_matter(old, changed):
    found = between(old, changed())
    assert (found.kept, found.added, found.removed, found.step) == (60, 0, 0, None)


def test_datasets_with_nothing_in_common(old, changed):
    new = changed(lambda table: table.take(np.arange(20)), "new")
    rest = changed(lambda table: table.take(np.arange(20, 60)), "rest")
    found = between(new, rest)
    assert (found.kept, found.added, found.removed, found.relabelled, found.step) == (0, 40, 20, {}, Step.MAJOR)


def test_structures_added_and_removed(old, changed):
    new = changed(lambda table: table.take(np.arange(5, 60)))
    gone = {identity_hex(identity) for identity in whole(old).arrays["identity"]} - {
        identity_hex(identity) for identity in whole(new).arrays["identity"]
    }
    found = between(old, new)
    assert (found.kept, found.removed, found.step) == (55, 5, Step.MAJOR)
    assert set(found.examples_removed) == gone
    back = between(new, old)
    assert (back.kept, back.added, back.step) == (55, 5, Step.MINOR)
    assert set(back.examples_added) == gone


@pytest.mark.parametrize("name", [name for name in TOLERANCES if name.startswith("gfn1/")])
@pytest.mark.parametrize("times", [-0.5, 3.0])
def test_labels_may_differ_by_their_tolerances(old, changed, name, times):
    def shift(table: Table) -> None:
        row = table.atoms_of(7).start if table.specs[name].level == "atom" else 7
        table.arrays[name][row] += times * TOLERANCES[name]

    found = between(old, changed(shift))
    assert found.labels[name].largest == pytest.approx(abs(times) * TOLERANCES[name], rel=1e-2)
    assert found.labels[name].structures == (abs(times) > 1)
    assert found.step == (Step.MAJOR if abs(times) > 1 else None)


def test_every_float_of_a_labeler_has_a_tolerance():
    assert set(TOLERANCES) == {spec.name for spec in (*GFN1_ARRAYS, *PBE_ARRAYS) if spec.dtype.startswith("f")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gfn1/homo_lumo_gap", np.nan),
        ("info/col3", 1e-300),
        ("name", "other"),
        ("group", "other"),
        ("quality", 1024),
        ("gfn1/uhf", 2),
    ],
)
def test_anything_else_is_equal_or_relabelled(old, changed, name, value):
    def put(table: Table) -> None:
        table.arrays[name][7] = (
            value if isinstance(value, str | int) or np.isnan(value) else table.arrays[name][7] + 1e-13
        )

    found = between(old, changed(put))
    assert list(found.relabelled) == [name]
    assert (found.relabelled[name].structures, found.step) == (1, Step.MAJOR)


def test_missing_values_are_equal(old, changed):
    def put(table: Table) -> None:
        table.arrays["info/col3"][:] = np.nan

    new = changed(put)
    assert between(new, new).step is None


def test_arrays_come_go_and_change_their_meaning(old, changed):
    def rename(table: Table) -> None:
        for of in (table.arrays, table.specs):
            of["info/other"] = of.pop("info/col3")
        table.specs["info/other"] = replace(table.specs["info/other"], name="info/other")
        table.specs["gfn1/dipole"] = replace(table.specs["gfn1/dipole"], level_of_theory="GFN2-xTB")

    found = between(old, changed(rename))
    assert (found.arrays.added, found.arrays.removed) == (["info/other"], ["info/col3"])
    assert found.arrays.changed == ["gfn1/dipole"]
    assert found.step is Step.MAJOR


def test_splits(old, tmp_path):
    one, other = labelled(tmp_path / "one"), labelled(tmp_path / "other")
    ids = open_dataset(one)["identity"][:]
    parts = np.array(["test"] * 10 + [""] * 50)
    for folder in (one, other):
        add_split(folder, "same", ids, parts, "")
    add_split(one, "grows", ids, parts, "")
    add_split(other, "grows", ids, ["test"] * 10 + ["train"] * 50, "")
    assert (between(one, other).splits.extended, between(one, other).step) == (["grows"], Step.MINOR)
    assert (between(other, one).splits.changed, between(other, one).step) == (["grows"], Step.MAJOR)
    split_dataset(other, "random")
    assert between(one, other).splits.added == ["random"]
    assert between(other, one).splits.removed == ["random"]


@pytest.mark.parametrize(
    ("old_version", "new_version", "step"),
    [
        ("1.0.0", "1.0.1", Step.PATCH),
        ("1.0.9", "1.1.0", Step.MINOR),
        ("1.9.9", "2.0.0", Step.MAJOR),
        ("0.1.0", "1.0.0", Step.MAJOR),
    ],
)
def test_steps_between_versions(old_version, new_version, step):
    assert Step.between(Version.parse(old_version), Version.parse(new_version)) is step


def test_whole_numbers_that_no_float_tells_apart(old, changed):
    def put(value: int) -> Callable[[Table], None]:
        def change(table: Table) -> None:
            table.arrays["source_index"][:] = 0
            table.arrays["info/big"] = np.full(len(table), value)
            table.specs["info/big"] = replace(table.specs["source_index"], name="info/big")

        return change

    one, other = changed(put(2**62)), changed(put(2**62 + 1), "other")
    assert between(one, other).relabelled["info/big"].structures == 60
    assert between(one, one).step is None


@pytest.mark.filterwarnings("ignore:.*shards are not here")
def test_a_dataset_pulled_in_part_is_not_compared(old, changed):
    part = changed()
    (part / "pulled.json").write_text("{}")
    (part / "shards" / "part-00001.zarr.zip").unlink()
    with pytest.raises(InputError, match="pulled in part"):
        between(old, part)


def test_the_command_line_says_what_changed_and_exits_with_1(old, changed, mlipq):
    new = changed(lambda table: table.arrays["gfn1/energy"].__setitem__(3, -1.0))
    ended = mlipq("data", "diff", old, new)
    assert ended.code == 1
    assert "relabelled by up to" in ended.out
    assert "at least a major step" in ended.out
    ended = mlipq("data", "diff", old, new, "--json")
    assert (ended.code, ended.json["step"], ended.json["labels"]["gfn1/energy"]["structures"]) == (1, "major", 1)
    same = mlipq("data", "diff", old, old)
    assert (same.code, "nothing changed" in same.out) == (0, True)
