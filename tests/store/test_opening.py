"""Parts of a dataset: chosen shards, and versions of which not all was pulled."""

import warnings

import numpy as np
import pytest
from molecules import SUFFIXES, g2_table, make_dataset

from mlipq.errors import InputError
from mlipq.store import Manifest, Table, open_dataset
from mlipq.store.manifest import PULLED

CUTS = [(0, 7), (7, 9), (9, 20), (20, 25)]


@pytest.fixture(params=SUFFIXES)
def folder(request, tmp_path):
    folder = make_dataset(tmp_path / "ds", [g2_table(*cut) for cut in CUTS], [request.param] * 4)
    manifest = Manifest.read(folder / "manifest.json")
    manifest.model_copy(update={"name": "g2", "version": "1.0.0"}).write(folder / "manifest.json")
    return folder


def pulled(folder, *numbers):
    """Leave only these shards, as after ``mlipq data pull --shards``."""
    (folder / PULLED).write_text("{}")
    for number, entry in enumerate(Manifest.read(folder / "manifest.json").shards):
        if number not in numbers:
            (folder / entry.file).unlink()


def names_of(*numbers):
    tables = [g2_table(*CUTS[number]) for number in numbers]
    return Table.concatenate(tables).arrays["name"].tolist()


def test_a_partly_pulled_version_shows_what_is_there(folder):
    whole = open_dataset(folder)
    identities = whole["identity"][:]
    pulled(folder, 1, 3)
    with pytest.warns(UserWarning) as said:
        ds = open_dataset(folder)
    assert [str(one.message) for one in said] == [
        f"{folder}: 2 of 4 shards are not here (numbers 0, 2), and with them 18 of 25 structures. Only the others are "
        "shown; to get them all: mlipq data pull g2@1.0.0, or the URL that it was pulled from"
    ]
    assert said[0].filename == __file__  # it points at whoever opened it
    assert [entry.file for entry in ds.missing] == [entry.file for entry in whole.manifest.shards[0:3:2]]
    assert repr(ds) == f"<Dataset: 7 structures in 2 of 4 shards, {len(ds.specs)} arrays>"
    assert ds["name"][:].tolist() == names_of(1, 3) and len(list(ds)) == len(ds) == 7
    assert ds.find(identities[8].tobytes()) == 1 and ds.find(identities[0].tobytes()) is None
    assert ds.manifest.n_structures == 7
    assert ds.select(max_atoms=4).missing == ds.missing


def test_a_partly_pulled_version_is_materialised_as_it_is(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))
    key = open_dataset(folder).cache_key
    pulled(folder, 1, 3)
    with pytest.warns(UserWarning):
        ds = open_dataset(folder).materialise()
    assert ds["name"][:].tolist() == names_of(1, 3) and len(ds.missing) == 2
    assert ds.cache_key != key


def test_a_version_of_which_nothing_is_there(folder):
    pulled(folder)
    with pytest.warns(UserWarning, match="4 of 4 shards are not here"):
        ds = open_dataset(folder)
    assert len(ds) == 0 and list(ds) == [] and ds.batch([])["positions"].shape == (0, 3)
    assert list(ds.batches(10, seed=0)) == [] and len(ds.select(contains="C", quality=0)) == 0


def test_a_version_that_is_all_there_says_nothing(folder):
    pulled(folder, 0, 1, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = open_dataset(folder)
    assert ds.missing == [] and ds["name"][:].tolist() == names_of(0, 1, 2, 3)


def test_shards_are_chosen_by_number(folder):
    ds = open_dataset(folder, shards=[3, 1, 3])
    assert ds["name"][:].tolist() == names_of(1, 3)
    assert [entry.n_structures for entry in ds.missing] == [7, 11]
    np.testing.assert_array_equal(ds["positions"][:], open_dataset(folder)["positions"][[7, 8, *range(20, 25)]])
    assert len(open_dataset(folder, shards=[])) == 0
    pulled(folder, 1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_dataset(folder, shards=np.array([1, 3]))) == 7
    with pytest.warns(UserWarning, match=r"1 of 4 shards are not here \(numbers 2\), and with them 11 of 25"):
        assert len(open_dataset(folder, shards=range(1, 4))) == 7


@pytest.mark.parametrize("number", [4, -1])
def test_shards_that_the_manifest_does_not_list(folder, number):
    with pytest.raises(InputError, match=f"there is no shard {number}: the manifest lists 4, numbered from 0"):
        open_dataset(folder, shards=[0, number])


def test_one_file_has_no_shards_to_choose_from(folder):
    path = open_dataset(folder).files[0]
    with pytest.raises(InputError, match="is one shard; shards are chosen where a folder"):
        open_dataset(path, shards=[0])


def test_a_shard_that_is_missing_elsewhere_is_an_error(folder):
    path = open_dataset(folder).files[2]
    path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = open_dataset(folder)
    assert ds.missing == [] and len(ds) == 25
    with pytest.raises(InputError, match=f"{path.name} cannot be opened: No such file"):
        ds["name"][:]
