"""Planning: what goes into which partition, what is left out and listed, and what stops it with nothing written."""

import gzip
import json
import shutil

import ase.build
import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import Job, run

import mlipq
from mlipq.errors import InputError
from mlipq.labeling import plan as planning
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import make_job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import MemorySource, find_sources
from mlipq.store import open_dataset, read_shard, write_shard
from mlipq.structures import ReadOptions

PBE0 = {"field": "energy_pbe0", "kind": "energy", "unit": "eV", "level_of_theory": "PBE0"}


def plan(tmp_path, inputs, out="out", **content):
    job = make_job({"inputs": [str(path) for path in inputs], "output": out, **content}, "a test")
    folder = OutputFolder(tmp_path / out)
    return folder, make_plan(find_sources(job, tmp_path), job, folder)


def refused(tmp_path, inputs, *said, out="out", **content):
    """Planning must stop with all of this in its message, and leave the output folder as it was: absent."""
    with pytest.raises(InputError) as error:
        plan(tmp_path, inputs, out, **content)
    for text in said:
        assert text in str(error.value)
    assert not (tmp_path / out.split("/")[0]).exists()


def rows(path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def frames(samples):
    return [
        Atoms(s.numbers, s.positions, info={"charge": s.charge, "name": s.name, "energy_pbe0": -1.0 - n})
        for n, s in enumerate(samples("qm7")[:12])
    ]


@pytest.fixture
def file(frames, tmp_path):
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    return tmp_path / "a.xyz"


# --- partitions


class Recorded(planning._Packer):
    """The packer with costs of our choice, that only records where it cuts."""

    def __init__(self, costs):
        self._costs, self.sizes = iter(costs), []
        super().__init__(None, self, {})

    def cost(self, _):
        return next(self._costs)

    def close(self):
        if self._open:
            self.sizes.append((len(self._open), self._seconds))
        self._open, self._seconds, self._atoms = [], 0.0, 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(1e-3, 300), min_size=1, max_size=300))
def test_a_partition_closes_at_a_32nd_between_a_quarter_and_120_seconds(costs):
    packer = Recorded(costs)
    structure = type("OneStructure", (), {"numbers": np.ones(1)})
    for _ in costs:
        packer.add(structure)
    packer.close()
    expected, planned, part = [], 0.0, []
    for cost in costs:
        planned += cost
        part.append(cost)
        if sum(part) >= min(max(planned / 32, 0.25), 120.0):
            expected.append(len(part))
            part = []
    assert [size for size, _ in packer.sizes] == expected + [len(part)] * bool(part)


def test_a_long_job_has_partitions_of_two_minutes_and_a_short_one_of_a_quarter_second():
    packer = Recorded([0.125] * 80_000)
    structure = type("OneStructure", (), {"numbers": np.ones(1)})
    for _ in range(80_000):
        packer.add(structure)
    seconds = [seconds for _, seconds in packer.sizes]
    assert seconds[:32] == [0.25] * 32 and seconds[-1] == 120.0 and seconds == sorted(seconds)


def test_a_partition_of_cheap_structures_closes_at_20_000_atoms():
    packer = Recorded([1e-3] * 90)
    structure = type("OneStructure", (), {"numbers": np.ones(1_000)})
    for _ in range(90):
        packer.add(structure)
    packer.close()
    assert [size for size, _ in packer.sizes] == [20, 20, 20, 20, 10]


def test_partitions_do_not_depend_on_the_number_of_workers(file, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PARTITION_SECONDS", (0.01, 120.0))
    one, first = plan(tmp_path, [file], "one", workers=1)
    other, second = plan(tmp_path, [file], "other", workers=64)
    assert first == second and len(first.partitions) > 2
    for part in first.partitions:
        assert one.packed_input(part.index).read_bytes() == other.packed_input(part.index).read_bytes()
    assert first.n_structures == 12 == sum(len(read_shard(one.packed_input(p.index))) for p in first.partitions)


# --- what is left out


def test_a_structure_that_is_there_twice_is_kept_once_and_listed(frames, file, tmp_path):
    ase.io.write(tmp_path / "b.xyz", [frames[3], frames[5].copy(), frames[3]], format="extxyz")
    folder, found = plan(tmp_path, [file, tmp_path / "b.xyz"], reference={"pbe0": PBE0})
    assert (found.counts["read"], found.counts["duplicates"], found.counts["conflicts"]) == (15, 3, 0)
    assert found.n_structures == 12
    listed = [
        (row["source_file"], row["source_index"], row["first_source_index"]) for row in rows(folder.duplicates_file)
    ]
    assert listed == [("b.xyz", 0, 3), ("b.xyz", 1, 5), ("b.xyz", 2, 3)]


def test_different_labels_of_one_structure_are_a_conflict_with_both_sources(frames, file, tmp_path):
    other = frames[3].copy()
    other.info["energy_pbe0"] = -99.0
    unlabelled = frames[4].copy()
    del unlabelled.info["energy_pbe0"]
    ase.io.write(tmp_path / "b.xyz", [other, unlabelled, frames[5]], format="extxyz")
    folder, found = plan(tmp_path, [file, tmp_path / "b.xyz"], reference={"pbe0": PBE0})
    assert (found.counts["duplicates"], found.counts["conflicts"]) == (3, 2)
    conflict, missing, same = rows(folder.duplicates_file)
    assert conflict["conflict"] == "pbe0: -4.0 there, -99.0 here"
    assert (conflict["first_source_file"], conflict["first_source_index"]) == ("a.xyz", 3)
    assert "pbe0: -5.0 there, missing here" in missing["conflict"] and same["conflict"] == ""
    kept = read_shard(folder.packed_input(0))
    assert kept.arrays["reference/pbe0"][3] == -4.0


def test_what_is_wrong_with_one_structure_is_in_the_ledger_and_the_rest_goes_on(frames, tmp_path):
    bad = [frame.copy() for frame in frames[:6]]
    bad[1].positions[0] = np.nan
    bad[2].numbers[0] = 0
    bad[3].info["charge"] = 0.5
    ase.io.write(tmp_path / "a.xyz", bad, format="extxyz")
    folder, found = plan(tmp_path, ["a.xyz"])
    ledger = rows(folder.rejected_file)
    assert [row["source_index"] for row in ledger] == [1, 2, 3] and found.counts["rejected"] == 3
    assert all(row["error"] and row["message"] and row["source_file"] == "a.xyz" for row in ledger)
    assert found.n_structures == 3


# --- what stops it


def test_every_damaged_input_is_listed_and_nothing_is_written(file, tmp_path):
    lines = file.read_text().splitlines()
    (tmp_path / "half.xyz").write_text("\n".join(lines[:-3]))
    (tmp_path / "junk.xyz").write_text("\n".join([*lines[:-2], "C nowhere 0 0", lines[-1]]))
    inputs = [tmp_path / "half.xyz", file, tmp_path / "junk.xyz"]
    refused(tmp_path, inputs, "half.xyz", "junk.xyz", "nothing was written", out="deep/er/out")


def test_missing_empty_and_truncated_inputs(file, tmp_path):
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "cut.xyz.gz").write_bytes(gzip.compress(file.read_bytes())[:-400])
    inputs = [file, "absent.xyz", "empty.xyz", "cut.xyz.gz"]
    refused(tmp_path, inputs, "absent.xyz: no such file", "empty.xyz", "cut.xyz.gz", "truncated", "nothing was done")


def test_a_damaged_dataset_as_input(file, tmp_path):
    folder, _ = plan(tmp_path, [file], "packed")
    shard = tmp_path / "cut.zarr.zip"
    shard.write_bytes(folder.packed_input(0).read_bytes()[:-200])
    refused(tmp_path, [file, shard], "cut.zarr.zip")
    data = bytearray(folder.packed_input(0).read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    refused(tmp_path, [file, shard], "cut.zarr.zip")


def test_a_reference_label_that_no_structure_has(file, tmp_path):
    wrong = {**PBE0, "field": "enrgy_pbe0"}
    refused(
        tmp_path,
        [file],
        "reference pbe0: none of the 12 structures has a field 'enrgy_pbe0'",
        "energy_pbe0",
        reference={"pbe0": wrong},
    )


def test_a_folder_of_the_users_own_is_left_alone(file, tmp_path):
    (tmp_path / "out" / "inputs").mkdir(parents=True)
    precious = tmp_path / "out" / "inputs" / "mine.xyz"
    precious.write_text("precious")
    with pytest.raises(InputError, match=r"holds other files \(mine\.xyz\)"):
        plan(tmp_path, [file])
    assert precious.read_text() == "precious" and len(list((tmp_path / "out").rglob("*"))) == 2


# --- planning again


def test_planning_again_is_the_same_plan_also_after_a_touch(file, tmp_path):
    folder, first = plan(tmp_path, [file])
    stamp = folder.plan_file.stat().st_mtime_ns
    file.touch()  # another date, the same content
    assert plan(tmp_path, [file])[1] == first and folder.plan_file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labeler": {"accuracy": 0.1}}, "settings.labeler.accuracy: planned 1.0, now 0.1"),
        ({"format": "h5"}, 'settings.format: planned "zarr", now "h5"'),
        ({"charge": {"default": 1}}, "settings.charge.default: planned 0, now 1"),
    ],
)
def test_other_settings_are_refused_by_name(file, tmp_path, change, said):
    plan(tmp_path, [file])
    with pytest.raises(InputError, match="holds another job") as error:
        plan(tmp_path, [file], **change)
    assert said in str(error.value) and str(error.value).count("planned") == 1


def test_other_inputs_are_refused_by_name(frames, file, tmp_path):
    plan(tmp_path, [file])
    ase.io.write(tmp_path / "b.xyz", frames[:2], format="extxyz")
    with pytest.raises(InputError, match=r"inputs\.b\.xyz: planned nothing, now"):
        plan(tmp_path, [file, tmp_path / "b.xyz"])
    ase.io.write(file, frames[:11], format="extxyz")
    with pytest.raises(InputError, match=r"inputs\.a\.xyz: planned .*, now"):
        plan(tmp_path, [file])


def test_a_plan_left_half_done_is_made_again(file, tmp_path):
    """Killed after ``inputs/`` was renamed into place and before ``plan.json`` was."""
    folder, first = plan(tmp_path, [file])
    folder.plan_file.unlink()
    (folder.inputs / "part-00000.zarr.zip").write_bytes(b"of another plan")
    (folder.path / ".tmp-plan-0123").mkdir()
    assert plan(tmp_path, [file])[1] == first and Job(folder.path).leftovers() == []


# --- atoms in memory


def memory_plan(tmp_path, atoms):
    job = make_job({"inputs": ["memory"], "output": "out"}, "a test")
    return make_plan([MemorySource(atoms, job.read_options())], job, OutputFolder(tmp_path / "out"))


def test_atoms_in_memory_also_from_a_generator(frames, tmp_path):
    first = memory_plan(tmp_path, frames)
    assert first.n_structures == 12
    assert memory_plan(tmp_path, (frame for frame in frames)) == first
    with pytest.raises(InputError, match="holds another job"):
        memory_plan(tmp_path, (frame for frame in frames[:11]))
    assert Job(tmp_path / "out").leftovers() == []


def test_an_error_of_the_users_generator_is_the_users(frames, tmp_path):
    def broken():
        yield from frames[:3]
        raise FileNotFoundError("of the user")

    with pytest.raises(FileNotFoundError, match="of the user"):
        memory_plan(tmp_path, broken())
    assert not (tmp_path / "out").exists()


# --- datasets as input


@pytest.fixture(scope="module")
def labelled(frames, tmp_path_factory):
    """A small labelled dataset."""
    folder = tmp_path_factory.mktemp("labelled")
    mlipq.label([frame.copy() for frame in frames[:6]], folder / "out", workers=1, reference={"pbe0": PBE0})
    return folder / "out"


@pytest.mark.parametrize("suffix", [".zarr.zip", ".h5"])
def test_a_dataset_is_labelled_with_its_arrays_copied_through(samples, labelled, tmp_path, suffix):
    table = read_shard(labelled / "shards" / "part-00000.zarr.zip")
    kept = [name for name in table.arrays if not name.startswith("gfn1/")]
    bare = type(table)({name: table.arrays[name] for name in kept}, {name: table.specs[name] for name in kept})
    write_shard(tmp_path / f"bare{suffix}", bare, {})
    manifest = mlipq.label(str(tmp_path / f"bare{suffix}"), tmp_path / "out", workers=1)
    assert manifest.n_structures == 6
    found = read_shard(tmp_path / "out" / "shards" / "part-00000.zarr.zip")
    assert found.specs == table.specs
    for name, values in table.arrays.items():
        same = (
            found.arrays[name].tolist() == values.tolist()
            if values.dtype == object
            else np.array_equal(found.arrays[name], values, equal_nan=values.dtype.kind == "f")
        )
        assert same, name


@pytest.mark.parametrize("form", ["zarr", "h5"])
def test_a_folder_that_is_a_dataset_is_planned_exactly(labelled, tmp_path, form):
    """A dataset folder without labels of ours: what ``import`` makes."""
    source = open_dataset(labelled)
    (table,) = source.tables()
    kept = {name: values for name, values in table.arrays.items() if not name.startswith("gfn1/")}
    bare = type(table)(kept, {name: table.specs[name] for name in kept})
    suffix = {"zarr": ".zarr.zip", "h5": ".h5"}[form]
    (tmp_path / "set" / "shards").mkdir(parents=True)
    write_shard(tmp_path / "set" / "shards" / f"part-00000{suffix}", bare, {})
    entry = mlipq.store.ShardEntry.of(tmp_path / "set", f"shards/part-00000{suffix}", bare)
    source.manifest.model_copy(update={"shards": [entry], "arrays": list(bare.specs.values())}).write(
        tmp_path / "set" / "manifest.json"
    )
    folder, found = plan(tmp_path, ["set"])
    assert found.n_structures == 6
    packed = read_shard(folder.packed_input(0))
    assert packed.specs == bare.specs
    assert all(
        np.array_equal(packed.arrays[name], values) for name, values in bare.arrays.items() if values.dtype != object
    )


def test_a_dataset_that_is_labelled_already_is_refused(labelled, tmp_path):
    refused(tmp_path, [labelled], "already labelled by gfn1")
    shutil.copy(labelled / "shards" / "part-00000.zarr.zip", tmp_path)
    refused(tmp_path, ["part-00000.zarr.zip"], "already labelled by gfn1")


def test_exit_codes(file, tmp_path):
    missing = run("label", tmp_path / "absent.xyz", "-o", tmp_path / "out")
    assert missing.returncode == 2 and "absent.xyz" in missing.stderr and not (tmp_path / "out").exists()
    assert run("plan", file, "-o", tmp_path / "out").returncode == 0
    other = run("plan", file, "-o", tmp_path / "out", "--accuracy", 0.1)
    assert other.returncode == 2 and "accuracy" in other.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"charge": {"key": "chrage"}}, "charge key 'chrage'"), ({"spin": {"key": "spn:2S"}}, "spin key 'spn:2S'")],
)
def test_a_named_key_that_no_structure_has_stops_the_plan(tmp_path, setting, said):
    ase.io.write(tmp_path / "a.xyz", [ase.build.molecule("H2O"), ase.build.molecule("CH4")], format="extxyz")
    with pytest.raises(InputError, match=said):
        plan(tmp_path, ["a.xyz"], **setting)
    assert not (tmp_path / "out").exists()


def test_fields_that_look_like_charge_or_label_are_named(tmp_path):
    water = ase.build.molecule("H2O")
    water.info.update(net_charge=-1, REF_energy=-3.0)
    ase.io.write(tmp_path / "a.xyz", [water], format="extxyz")
    _, found = plan(tmp_path, ["a.xyz"])
    assert found.unread == ["net_charge"]
    assert found.unmapped == ["REF_energy"]


def test_a_ledger_holds_whatever_names_hold(tmp_path):
    water = ase.build.molecule("H2O")
    water.info["name"] = 'two\rlines, a "quote" and \ud800'
    water.info["charge"] = 0.5
    sources = [MemorySource([water, ase.build.molecule("CH4")], ReadOptions())]
    folder = OutputFolder(tmp_path / "out")
    make_plan(sources, make_job({"inputs": ["memory"], "output": "out"}, "test"), folder)
    (row,) = rows(folder.rejected_file)
    assert row["name"] == water.info["name"]
