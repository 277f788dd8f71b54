"""Jobs that label some structures of a dataset: of a part of a split, and so many of these, drawn by a seed."""

import numpy as np
import pytest
from labelled import labelled

from mlipq.errors import InputError
from mlipq.hub.split import split_dataset
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import make_job
from mlipq.labeling.plan import make_plan
from mlipq.labeling.sources import find_sources
from mlipq.store import open_dataset, read_shard


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Sixty molecules with GFN1-xTB labels, eleven of them for testing."""
    folder = labelled(tmp_path_factory.mktemp("choose"))
    split_dataset(folder, "random", "test=11,pool=rest", seed=1)
    return folder


def chosen(dataset, tmp_path, out="out", **choice):
    """Identities of the structures that a job with this choice labels, in order."""
    job = make_job(
        {
            "inputs": [{"path": str(dataset), "choose": choice}],
            "output": out,
            "labeler": {"name": "pbe", "forces": False},
        },
        "a test",
    )
    folder = OutputFolder(tmp_path / out)
    plan = make_plan(find_sources(job, tmp_path), job, folder)
    tables = [read_shard(folder.packed_input(part.index)) for part in plan.partitions]
    return [words.tobytes() for table in tables for words in table.arrays["identity"]]


def identities(dataset, **selection):
    return [words.tobytes() for words in open_dataset(dataset).select(**selection)["identity"][:]]


def test_a_part_of_a_split_in_the_order_of_the_dataset(dataset, tmp_path):
    assert chosen(dataset, tmp_path, split="random/test") == identities(dataset, split="random/test")
    assert chosen(dataset, tmp_path, "all") == identities(dataset)


def test_more_of_them_have_the_fewer_and_another_seed_draws_others(dataset, tmp_path):
    pool = set(identities(dataset, split="random/pool"))
    draws = {n: chosen(dataset, tmp_path, f"n{n}", split="random/pool", number=n) for n in (5, 20, 49)}
    assert {n: len(draw) for n, draw in draws.items()} == {5: 5, 20: 20, 49: 49}
    assert set(draws[5]) < set(draws[20]) < set(draws[49]) == pool
    other = chosen(dataset, tmp_path, "other", split="random/pool", number=20, seed=1)
    assert set(other) < pool and set(other) != set(draws[20])
    assert draws[5] != [identity for identity in identities(dataset) if identity in pool][:5]  # not just the first


def test_two_choices_of_one_dataset_go_together_with_their_labels(dataset, tmp_path):
    choices = [{"split": "random/pool", "number": 4}, {"split": "random/test", "number": 2}, {"number": 60}]
    inputs = [{"path": str(dataset), "choose": choice} for choice in choices[:2]]
    job = make_job({"inputs": inputs, "output": "out", "labeler": {"name": "pbe"}}, "a test")
    folder = OutputFolder(tmp_path / "out")
    plan = make_plan(find_sources(job, tmp_path), job, folder)
    assert plan.n_structures == 6 and plan.counts["read"] == 6 and plan.counts["duplicates"] == 0
    assert [entry["choose"] for entry in plan.settings["input_choice"]] == [{**c, "seed": 0} for c in choices[:2]]
    table = read_shard(folder.packed_input(0))
    whole = open_dataset(dataset)
    rows = [whole.find(words.tobytes()) for words in table.arrays["identity"]]
    np.testing.assert_array_equal(table.arrays["gfn1/energy"], whole["gfn1/energy"][rows])
    assert make_plan(find_sources(job, tmp_path), job, folder) == plan
    more = make_job(
        {"inputs": [{"path": str(dataset), "choose": choices[2]}], "output": "out", "labeler": {"name": "pbe"}}, ""
    )
    with pytest.raises(InputError, match=r"settings\.input_choice"):
        make_plan(find_sources(more, tmp_path), more, folder)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            {"split": "random/train"},
            r"'random/train' should be a part of a split; this dataset has random/pool, random/test",
        ),
        ({"split": "random/test", "number": 12}, r"12 structures are to be labelled, but it has 11 in random/test"),
        ({"number": 61}, r"61 structures are to be labelled, but it has 60$"),
    ],
)
def test_what_the_dataset_has_not_is_refused(dataset, tmp_path, choice, said):
    with pytest.raises(InputError, match=said):
        chosen(dataset, tmp_path, **choice)
    assert not (tmp_path / "out").exists()


def test_structures_of_a_file_are_not_chosen(tmp_path):
    (tmp_path / "h.xyz").write_text("1\ncharge=0\nH 0 0 0\n")
    job = make_job({"inputs": [{"path": "h.xyz", "choose": {"number": 1}}], "output": "out"}, "a test")
    with pytest.raises(InputError, match=r"h\.xyz: structures are chosen from a dataset, and this is a file"):
        find_sources(job, tmp_path)
